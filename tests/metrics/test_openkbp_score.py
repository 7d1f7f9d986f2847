"""OpenKBP's scores against the challenge's own semantics, by an independent scorer on real patients."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tests.external import shared_folder
from vmat_rt.errors import GeometryError, InputError
from vmat_rt.metrics.openkbp_score import OpenKbpRegions, combine_scores, compute_dvh_metrics_gy, score_patient

SHAPE = (4, 5, 6)
EVERYWHERE = np.ones(SHAPE, np.bool_)


def load(folder: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_equals_the_reference_scorer_on_real_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shared_folder("openkbp")
    reader = load(folder, "read_openkbp")
    monkeypatch.setitem(sys.modules, "read_openkbp", reader)
    scorer = load(folder, "score_openkbp")
    random = np.random.default_rng(7)
    theirs, ours = [], []
    for _, path in reader.list_patients(folder, "validation")[:4]:
        patient = reader.read_patient(path)
        noise = gaussian_filter(random.standard_normal(reader.SHAPE), 2)
        prediction = patient["dose"] * random.uniform(0.9, 1.1) + 20 * noise  # not masked: dose outside costs
        theirs.append(scorer.score_patient(prediction, patient))
        regions = OpenKbpRegions(
            patient["possible_dose_mask"],
            {n: m for n, m in patient["masks"].items() if n in reader.OARS},
            {n: m for n, m in patient["masks"].items() if n in reader.TARGETS},
            float(np.prod(patient["spacing_mm"])),
        )
        ours.append(score_patient(prediction, patient["dose"], regions))
        assert ours[-1].dose_error_gy == pytest.approx(theirs[-1][0], abs=1e-9)
        assert dict(ours[-1].dvh_errors_gy) == pytest.approx(theirs[-1][1], abs=1e-9)
    dose_score, dvh_score = scorer.combine(theirs)
    combined = combine_scores(ours)
    assert combined.dose_score_gy == pytest.approx(dose_score, abs=1e-9)
    assert combined.dvh_score_gy == pytest.approx(dvh_score, abs=1e-9)
    assert combined.patients == 4


def test_dose_outside_the_mask_costs_over_the_mask_alone() -> None:
    possible = np.zeros(SHAPE, np.bool_)
    possible[0] = True
    prediction = np.zeros(SHAPE)
    prediction[3, 0, :3] = 10.0
    score = score_patient(prediction, np.zeros(SHAPE), OpenKbpRegions(possible, {}, {}, 30.0))
    assert score.dose_error_gy == pytest.approx(3 * 10 / 30)


def test_hottest_voxels_by_hand() -> None:
    """101 voxels of 0, 1, ..., 100 Gy and 25 mm^3: the hottest 4 leave the percentile 100 - 400 / 101."""
    dose = np.arange(101.0).reshape(1, 1, 101)
    regions = OpenKbpRegions(dose >= 0, {"Cord": dose >= 0}, {"PTV": dose >= 0}, 25.0)
    metrics = compute_dvh_metrics_gy(dose, regions)
    assert metrics["D_0.1_cc", "Cord"] == pytest.approx(100 - 400 / 101)
    assert metrics["mean", "Cord"] == pytest.approx(50)
    assert [metrics[m, "PTV"] for m in ("D_99", "D_95", "D_1")] == pytest.approx([1, 5, 99])


def test_a_structure_smaller_than_the_hottest_volume_has_its_minimum() -> None:
    dose = np.arange(120.0).reshape(SHAPE)
    small = dose < 3
    assert (
        compute_dvh_metrics_gy(dose, OpenKbpRegions(EVERYWHERE, {"Chiasm": small}, {}, 10.0))["D_0.1_cc", "Chiasm"] == 0
    )


def test_entries_are_pooled_over_patients() -> None:
    """One patient with two entries off by 1 Gy, one with three off by 6 Gy: 20 / 5, not (1 + 6) / 2."""
    one = score_patient(np.ones(SHAPE), np.zeros(SHAPE), OpenKbpRegions(EVERYWHERE, {"Cord": EVERYWHERE}, {}, 30.0))
    target = OpenKbpRegions(EVERYWHERE, {"Lens": ~EVERYWHERE}, {"PTV": EVERYWHERE}, 30.0)
    other = score_patient(np.full(SHAPE, 6.0), np.zeros(SHAPE), target)
    combined = combine_scores([one, other])
    assert combined.dvh_score_gy == pytest.approx(4.0)
    assert combined.dose_score_gy == pytest.approx(3.5)


def test_faults() -> None:
    regions = OpenKbpRegions(EVERYWHERE, {}, {}, 30.0)
    broken = np.zeros(SHAPE)
    broken[0, 0, :2] = np.nan
    with pytest.raises(InputError, match="2 of 120 voxels"):
        score_patient(broken, np.zeros(SHAPE), regions)
    with pytest.raises(GeometryError):
        score_patient(np.zeros((5, 4, 6)), np.zeros(SHAPE), regions)
    with pytest.raises(GeometryError, match="empty"):
        score_patient(np.zeros(SHAPE), np.zeros(SHAPE), OpenKbpRegions(~EVERYWHERE, {}, {}, 30.0))
    assert combine_scores([score_patient(np.zeros(SHAPE), np.zeros(SHAPE), regions)]).dvh_score_gy is None
    with pytest.raises(ValueError, match="no patient"):
        combine_scores([])
