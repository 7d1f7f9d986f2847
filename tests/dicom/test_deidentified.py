"""Sets that lost patients or frames: refused with a remedy, and read when it is followed; never two real patients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from tests.dicom.studies import refusal
from tests.dicom_phantom import Phantom, edited, to_other_patient, write_study
from vmat_rt.dicom.deidentified import OPTION
from vmat_rt.dicom.study import find_studies, read_study
from vmat_rt.errors import InputError


def _no_frame(ds: Dataset) -> None:
    ds.FrameOfReferenceUID = ""
    for item in ds.get("ReferencedFrameOfReferenceSequence", []):
        item.FrameOfReferenceUID = ""
    for item in ds.get("StructureSetROISequence", []):
        item.ReferencedFrameOfReferenceUID = ""


def _other_patient(phantom: Phantom) -> None:
    to_other_patient(phantom.structures_file, "ANON-2")


def _ct_without_frame(phantom: Phantom) -> None:
    for path in phantom.ct_files:
        with edited(path) as ds:
            _no_frame(ds)


def _structures_without_frame(phantom: Phantom) -> None:
    with edited(phantom.structures_file) as ds:
        _no_frame(ds)
        del ds.ReferencedFrameOfReferenceSequence


def _no_frame_at_all(phantom: Phantom) -> None:
    _ct_without_frame(phantom)
    with edited(phantom.structures_file) as ds:
        _no_frame(ds)


def _frames_replaced_file_by_file(phantom: Phantom) -> None:
    with edited(phantom.structures_file) as ds:
        ds.FrameOfReferenceUID = "1.2.3"
        ds.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.3"
        for item in ds.StructureSetROISequence:
            item.ReferencedFrameOfReferenceUID = "1.2.3"


def _everything(phantom: Phantom) -> None:
    _no_frame_at_all(phantom)
    for k, path in enumerate(phantom.ct_files):
        with edited(path) as ds:
            ds.PatientID, ds.SeriesInstanceUID = f"ANON-{k}", phantom.options.uid(f"series {k}")


LOSSES = [
    (_other_patient, "TWO_PATIENTS"),
    (_ct_without_frame, "FRAME_MISMATCH"),
    (_structures_without_frame, "FRAME_MISMATCH"),
    (_no_frame_at_all, "CT_NO_FRAME"),
    (_frames_replaced_file_by_file, "FRAME_MISMATCH"),
]


@pytest.mark.parametrize(("lose", "code"), LOSSES)
def test_the_remedy_of_each_refusal_works(tmp_path: Path, lose: Callable[[Phantom], None], code: str) -> None:
    phantom = write_study(tmp_path)
    whole = read_study(tmp_path)
    lose(phantom)
    assert OPTION in refusal(tmp_path)[code].remedy
    study = read_study(tmp_path, deidentified=True)
    assert {problem.severity for problem in study.problems} == {"warning"}
    assert any(OPTION in problem.message for problem in study.problems)
    assert study.ct is not None
    np.testing.assert_array_equal(study.ct.volume.array, phantom.hu)
    assert study.structure_set.frame_uid == study.ct.volume.grid.frame_uid
    found = [roi.contours is not None for roi in study.structure_set.rois]
    assert found == [roi.contours is not None for roi in whole.structure_set.rois]
    assert len(find_studies(tmp_path, deidentified=True)) == 1


def test_everything_lost_at_once(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    _everything(phantom)
    study = read_study(tmp_path, deidentified=True)
    assert study.ct is not None
    np.testing.assert_array_equal(study.ct.volume.array, phantom.hu)
    assert {"DEIDENTIFIED_PATIENT", "DEIDENTIFIED_FRAME", "CT_SERIES_PER_SLICE"} <= {p.code for p in study.problems}


def test_two_patients_stay_two(tmp_path: Path) -> None:
    write_study(tmp_path / "a")
    write_study(tmp_path / "b", seed="other", patient="OTHER")
    with pytest.raises(InputError) as caught:
        read_study(tmp_path, deidentified=True)
    assert [problem.code for problem in caught.value.problems] == ["TWO_PATIENTS"]


def test_contours_outside_the_ct_are_not_linked(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    _ct_without_frame(phantom)
    with edited(phantom.structures_file) as ds:
        for roi in ds.ROIContourSequence:
            for contour in roi.get("ContourSequence", []):
                contour.ContourData = [float(value) + 300 for value in contour.ContourData]
    assert OPTION not in refusal(tmp_path)["FRAME_MISMATCH"].remedy
    with pytest.raises(InputError) as caught:
        read_study(tmp_path, deidentified=True)
    assert "FRAME_MISMATCH" in {problem.code for problem in caught.value.problems}


def test_a_whole_set_is_read_as_without_the_option(tmp_path: Path) -> None:
    write_study(tmp_path, plan=True, dose=True)
    study, same = read_study(tmp_path), read_study(tmp_path, deidentified=True)
    assert (study.key, study.problems) == (same.key, same.problems)
    assert same.plan is not None
    assert same.dose is not None
