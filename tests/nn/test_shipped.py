"""The networks that ship: small, described, and right about the sample patients, on which none was trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from vmat_rt.bundle import TRAINING_CASES, Bundle, find_bundle, list_installed_bundles
from vmat_rt.case import Volume
from vmat_rt.dicom.load import load_case
from vmat_rt.dicom.study import read_study
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.geometry.resample import resample
from vmat_rt.metrics.dose_error import compute_d95_gaps_gy, compute_dose_error
from vmat_rt.prediction import predict_dose
from vmat_rt.protocol import load_protocol
from vmat_rt.train.package import CARD

SAMPLES = Path(__file__).resolve().parents[2] / "sample_data"
NETWORKS = [bundle for bundle in list_installed_bundles() if bundle.manifest.kind == "network"]

# Sample study of each network, its protocol, and the largest mean error in the body and D95% gap of a target, Gy.
SAMPLE = {
    "prostate": ("prostate_simulated", "prostate_sib_70_56", 0.8, 1.0),
    "head_neck": ("head_neck_openkbp", "head_neck_70", 3.5, 3.5),
}


def test_networks_are_the_defaults_of_their_protocols() -> None:
    for bundle in NETWORKS:
        for protocol in bundle.manifest.protocols:
            assert find_bundle(protocol).manifest.name == bundle.manifest.name


@pytest.mark.parametrize("bundle", NETWORKS, ids=lambda b: b.manifest.name)
def test_a_shipped_network_is_small_and_says_what_it_is(bundle: Bundle) -> None:
    assert sum(path.stat().st_size for path in bundle.folder.rglob("*") if path.is_file()) <= 12e6
    card = bundle.read_bytes(CARD).decode()
    for heading in ("## Intended use", "## Data", "## Evaluation", "## Limits", "## Training"):
        assert heading in card
    assert "must not be used for treatment" in card
    if "simulated" in bundle.manifest.training.data:
        assert "SIMULATED" in card
    assert bundle.manifest.training.licence
    assert json.loads(bundle.read_bytes(TRAINING_CASES))
    with safe_open(bundle.folder / "weights.safetensors", "np") as stored:
        assert {stored.get_slice(name).get_dtype() for name in stored.keys()} == {"F16"}  # noqa: SIM118


@pytest.mark.parametrize("bundle", NETWORKS, ids=lambda b: b.manifest.name)
def test_a_shipped_network_on_the_sample_study(bundle: Bundle) -> None:
    study, protocol, error_gy, gap_gy = SAMPLE[bundle.manifest.name]
    case = load_case(read_study(SAMPLES / study), load_protocol(protocol))
    assert case.reference_dose is not None
    dose = predict_dose(case, bundle, "cpu").dose
    reference = Volume(dose.grid, resample(case.reference_dose, dose.grid, 0.0, "cubic").array)
    error = compute_dose_error(reference, dose, structure_fraction(case.body, dose.grid))
    assert error is not None
    assert error.mae_gy < error_gy
    gaps = compute_d95_gaps_gy({target: case.structures[target] for target in case.targets()}, reference, dose)
    assert all(gap is not None and abs(gap) < gap_gy for gap in gaps.values())
    assert np.isfinite(dose.array).all()
