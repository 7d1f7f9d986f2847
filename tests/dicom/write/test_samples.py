"""The sample studies stay as built, small and valid, and others see the same contours in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sample_data import build
from tests.dicom import judges
from tests.dicom.write.exports import contours_of, same_files
from tests.external import REPOSITORY, shared_folder
from vmat_rt.case import Structure
from vmat_rt.dicom.study import read_study
from vmat_rt.geometry.rasterize import even_odd_mask, volume_cc

SAMPLES = REPOSITORY / "sample_data"


def test_the_simulated_patient_is_rebuilt_byte_for_byte(tmp_path: Path) -> None:
    build.build_prostate(tmp_path)
    assert same_files(tmp_path / "prostate_simulated", SAMPLES / "prostate_simulated")


def test_the_head_and_neck_sample_is_rebuilt_byte_for_byte(tmp_path: Path) -> None:
    build.build_head_neck(tmp_path, shared_folder("openkbp"))
    assert same_files(tmp_path / "head_neck_openkbp", SAMPLES / "head_neck_openkbp")


def test_the_head_and_neck_sample_is_the_openkbp_patient() -> None:
    case = build.head_neck_case(shared_folder("openkbp"))
    study = read_study(SAMPLES / "head_neck_openkbp")
    assert study.dose is not None
    whole = np.sum(case.reference_dose.array, dtype=np.float64)
    assert np.sum(study.dose.volume.array, dtype=np.float64) == pytest.approx(whole, rel=1e-5)
    for structure in case.structures.values():
        seen = volume_cc(Structure("", None, contours_of(study, structure.roi_name)))
        assert seen == pytest.approx(volume_cc(structure), rel=0.01), structure.roi_name


@pytest.mark.parametrize("name", ["prostate_simulated", "head_neck_openkbp"])
def test_plastimatch_fills_the_contours_of_the_samples_alike(tmp_path: Path, name: str) -> None:
    study = read_study(SAMPLES / name)
    assert study.ct is not None
    masks = judges.masks_by_plastimatch(SAMPLES / name, tmp_path)
    for roi in study.structure_set.rois:
        assert roi.contours is not None
        ours, theirs = even_odd_mask(roi.contours, study.ct.volume.grid), masks[roi.name]
        # The rest is pixel centres that lie on a contour.
        assert 2 * np.count_nonzero(ours & theirs) >= 0.995 * (ours.sum() + theirs.sum()), roi.name


def test_samples_are_small_and_valid() -> None:
    files = sorted(SAMPLES.rglob("*.dcm"))
    assert sum(path.stat().st_size for path in files) < 15e6
    for path in [path for path in files if path.parent.name != "CT" or path.name == "CT_0001.dcm"]:
        assert judges.dciodvfy_errors(path) == [], path.name
