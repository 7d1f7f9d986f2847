"""Which files belong together: patients, series and frames of reference, and what is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from tests.dicom.studies import another_structure_set, refusal, warning_codes
from tests.dicom_phantom import edited, to_other_patient, write_study
from vmat_rt.dicom.study import find_studies, read_study


def test_the_key_is_stable_and_follows_the_uids(tmp_path: Path) -> None:
    phantom = write_study(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "moved")
    key = read_study(tmp_path / "a").key
    assert key == read_study(tmp_path / "moved").key == find_studies(tmp_path / "a")[0].key
    assert key.startswith("case-")
    assert len(key) == 15
    assert phantom.options.patient not in key
    _, uid = another_structure_set(phantom)
    assert read_study(tmp_path / "a", uid).key != key


def test_two_patients_are_refused_and_named(tmp_path: Path) -> None:
    one = write_study(tmp_path / "one", seed="one", patient="ONE")
    two = write_study(tmp_path / "two", seed="two", patient="TWO")
    message = refusal(tmp_path)["TWO_PATIENTS"].message
    for phantom in (one, two):
        assert phantom.options.uid("rs") in message
        study = read_study(tmp_path, phantom.options.uid("rs"))
        assert study.ct is not None
        assert study.ct.series_uid == phantom.options.uid("CT")


def test_a_ct_of_another_patient_is_a_second_patient_even_in_the_same_frame(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    for path in phantom.ct_files:
        to_other_patient(path, "SOMEONE ELSE")
    assert "TWO_PATIENTS" in refusal(tmp_path)


def test_a_slice_of_another_patient_within_the_series_is_refused(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    to_other_patient(phantom.ct_files[2], "SOMEONE ELSE")
    assert "1 of " in refusal(tmp_path)["TWO_PATIENTS"].message
    assert read_study(tmp_path, deidentified=True).ct is not None


def test_plan_and_dose_of_another_patient_are_not_used(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, plan=True, dose=True)
    to_other_patient(phantom.plan_file, "SOMEONE ELSE")
    to_other_patient(phantom.dose_file, "SOMEONE ELSE")
    study = read_study(tmp_path)
    assert study.plan is None
    assert study.dose is None
    assert warning_codes(study) == ["FOREIGN_FILES"]


def test_the_same_structure_set_in_two_places_is_one(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    shutil.copy(phantom.structures_file, tmp_path / "copy.dcm")
    assert read_study(tmp_path).structure_set.sop_uid == phantom.options.uid("rs")


def test_another_ct_of_another_frame_does_not_matter(tmp_path: Path) -> None:
    write_study(tmp_path / "planning")
    write_study(tmp_path / "diagnostic", seed="other", structures=False)
    study = read_study(tmp_path)
    assert study.ct is not None
    entries = find_studies(tmp_path)
    assert len(entries) == 2
    assert [problem.code for problem in entries[1].problems] == ["NO_STRUCTURES"]


def test_no_structure_set(tmp_path: Path) -> None:
    write_study(tmp_path, structures=False, plan=True, dose=True)
    assert set(refusal(tmp_path)) == {"NO_STRUCTURES"}


def test_only_a_dose(tmp_path: Path) -> None:
    write_study(tmp_path, structures=False, ct=False, dose=True)
    assert set(refusal(tmp_path)) == {"NO_STRUCTURES"}


def test_no_ct(tmp_path: Path) -> None:
    write_study(tmp_path, ct=False)
    assert set(refusal(tmp_path)) == {"NO_CT"}
    study = read_study(tmp_path, need_ct=False)
    assert study.ct is None
    assert study.structure_set.rois[0].contours is not None


def test_a_series_of_localizers_is_no_ct(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    for path in phantom.ct_files:
        with edited(path) as ds:
            ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    assert set(refusal(tmp_path)) == {"NO_CT"}


def test_an_rtstruct_of_another_frame_is_refused(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    with edited(phantom.structures_file) as ds:
        ds.FrameOfReferenceUID = "1.2.3.4"
    problem = refusal(tmp_path)["FRAME_MISMATCH"]
    assert "1.2.3.4" in problem.message
    assert phantom.grid.frame_uid in problem.message
    assert "FRAME_MISMATCH" in refusal(tmp_path, None, phantom.options.uid("CT"))


@pytest.mark.parametrize("place", ["own", "list", "rois"])
def test_frames_that_contradict_each_other_are_refused(tmp_path: Path, place: str) -> None:
    """No one can tell in which of them the contours lie."""
    phantom = write_study(tmp_path)
    with edited(phantom.structures_file) as ds:
        if place == "own":
            ds.FrameOfReferenceUID = "1.2.3.4"
        elif place == "list":
            ds.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.3.4"
        else:
            for roi in ds.StructureSetROISequence:
                roi.ReferencedFrameOfReferenceUID = "1.2.3.4"
    problem = refusal(tmp_path)["FRAME_MISMATCH"]
    assert "1.2.3.4" in problem.message
    assert phantom.grid.frame_uid in problem.message


def _without_top_frame(ds: Dataset) -> None:
    del ds.FrameOfReferenceUID


def _only_roi_frames(ds: Dataset) -> None:
    del ds.FrameOfReferenceUID, ds.ReferencedFrameOfReferenceSequence


@pytest.mark.parametrize("change", [_without_top_frame, _only_roi_frames])
def test_frames_below_the_top_level_link_too(tmp_path: Path, change: object) -> None:
    phantom = write_study(tmp_path)
    with edited(phantom.structures_file) as ds:
        change(ds)  # type: ignore[operator]
    study = read_study(tmp_path)
    assert study.problems == ()
    assert study.structure_set.rois[0].contours is not None


def test_an_rtstruct_without_any_frame_is_linked_by_the_series_it_refers_to(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    with edited(phantom.structures_file) as ds:
        del ds.FrameOfReferenceUID
        del ds.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID
        for roi in ds.StructureSetROISequence:
            del roi.ReferencedFrameOfReferenceUID
    study = read_study(tmp_path)
    assert warning_codes(study) == ["STRUCTURES_NO_FRAME"]
    assert study.structure_set.frame_uid == phantom.grid.frame_uid
    assert study.structure_set.rois[0].contours is not None
    with edited(phantom.structures_file) as ds:
        del ds.ReferencedFrameOfReferenceSequence
    assert set(refusal(tmp_path)) == {"FRAME_MISMATCH"}


def test_slices_lost_at_the_end_are_noticed_through_the_references(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    phantom.ct_files[-1].unlink()
    study = read_study(tmp_path)
    assert warning_codes(study) == ["CT_INCOMPLETE"]
    assert "11 slices" in study.problems[0].message
    assert "10 of them" in study.problems[0].message
