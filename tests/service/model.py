"""A real geometric bundle, tiny: fitted on three phantoms in a second or two. Run as a program: model.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.dicom_phantom import write_study
from vmat_rt.baseline.boosting import TREES
from vmat_rt.baseline.fit import FitSettings, fit
from vmat_rt.baseline.scene import FeatureSettings
from vmat_rt.bundle import Bundle, GridRule, Manifest, TrainingSummary, write_bundle
from vmat_rt.case import Case
from vmat_rt.dicom.load import load_case
from vmat_rt.dicom.study import read_study
from vmat_rt.learned import learned_from
from vmat_rt.protocol import load_protocol
from vmat_rt.study.outside import treatment_of

PROTOCOL = "prostate_sib_70_56"
SITE = "phantom"
"""What the phantoms are of: the gate knows what a pelvis looks like, and they are ten centimetres wide."""


def write_protocol(folder: Path) -> Path:
    """The packaged protocol for phantoms, as a site's own file."""
    path = folder / "phantom.yaml"
    path.write_text(f"extends: {PROTOCOL}\nsite: {SITE}\n", encoding="utf-8")
    return path


def phantom_case(folder: Path, seed: str) -> Case:
    write_study(folder, seed=seed, dose=True)
    return load_case(read_study(folder), load_protocol(PROTOCOL))


def tiny_bundle(folder: Path) -> Bundle:
    settings = FeatureSettings(organs=("Rectum", "Bladder"), angles_deg=(0.0, 72.0, 144.0, 216.0, 288.0))
    plan = FitSettings(voxels_per_case=2000, rounds=20, leaves=15, held_out=2, threads=1)
    with TemporaryDirectory() as scratch:
        cases = [phantom_case(Path(scratch, str(n)), f"fit {n}") for n in range(3)]
        fitted = fit(cases, settings, plan)
    manifest = Manifest(
        schema_version=1,
        name="tiny",
        version="1",
        kind="geometric",
        protocol=PROTOCOL,
        grid=GridRule(kind="fixed", shape=(16, 40, 40), spacing_mm=(3.0, 3.0, 3.0)),
        inputs=fitted.names,
        learned=learned_from(SITE, map(treatment_of, cases)),
        settings={"features": settings.model_dump(mode="json")},
        training=TrainingSummary(
            data="phantoms", cases=3, date="2026-01-01", command="tests", hardware="any", licence="any"
        ),
        files={},
    )
    return write_bundle(folder, manifest, {TREES: fitted.pack()})


if __name__ == "__main__":
    tiny_bundle(Path(sys.argv[1]))
