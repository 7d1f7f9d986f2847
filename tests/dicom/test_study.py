"""Linking files to one study, and choosing where there are several."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from tests.dicom_phantom import Phantom, edited, to_other_patient, write_study
from vmat_rt.dicom.study import Study, find_studies, read_files, read_study
from vmat_rt.errors import InputError, Problem


def refusal(folder: Path, *chosen: str | None, need_ct: bool = True) -> dict[str, Problem]:
    with pytest.raises(InputError) as caught:
        read_study(folder, *chosen, need_ct=need_ct)
    return {problem.code: problem for problem in caught.value.problems}


def warning_codes(study: Study) -> list[str]:
    assert all(problem.severity == "warning" for problem in study.problems)
    return [problem.code for problem in study.problems]


def another_structure_set(phantom: Phantom) -> tuple[Path, str]:
    path, uid = phantom.folder / "rs2.dcm", phantom.options.uid("rs2")
    with edited(phantom.structures_file, path) as ds:
        ds.SOPInstanceUID, ds.StructureSetLabel = uid, "SECOND"
    return path, uid


def another_series(phantom: Phantom) -> str:
    uid = phantom.options.uid("CT2")
    for k, path in enumerate(phantom.ct_files):
        with edited(path, path.with_name(f"second{k}.dcm")) as ds:
            ds.SeriesInstanceUID, ds.SOPInstanceUID = uid, phantom.options.uid(f"second {k}")
    return uid


def test_a_complete_study(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, plan=True, dose=True)
    study = read_study(tmp_path)
    assert study.problems == ()
    assert study.ct is not None
    assert study.ct.series_uid == phantom.options.uid("CT")
    assert study.structure_set.frame_uid == phantom.grid.frame_uid
    assert study.plan is not None
    assert study.plan.structure_set_uid == study.structure_set.sop_uid
    assert study.dose is not None
    assert study.dose.plan_uid == study.plan.sop_uid
    assert study.dose.volume.grid.same_as(phantom.grid)
    assert float(np.abs(study.dose.volume.array - phantom.dose_gy).max()) <= 70 / 65534 / 2 * 1.01


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


def test_plan_and_dose_of_another_patient_are_not_used(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, plan=True, dose=True)
    to_other_patient(phantom.plan_file, "SOMEONE ELSE")
    to_other_patient(phantom.dose_file, "SOMEONE ELSE")
    study = read_study(tmp_path)
    assert study.plan is None
    assert study.dose is None
    assert warning_codes(study) == ["FOREIGN_FILES"]


def test_two_structure_sets_are_refused_and_named_and_can_be_chosen(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    _, uid = another_structure_set(phantom)
    problem = refusal(tmp_path)["SEVERAL_STRUCTURE_SETS"]
    assert uid in problem.message
    assert "'SECOND'" in problem.message
    assert phantom.options.uid("rs") in problem.message
    assert "--structures" in problem.remedy
    assert read_study(tmp_path, uid).structure_set.sop_uid == uid


def test_the_same_structure_set_in_two_places_is_one(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    shutil.copy(phantom.structures_file, tmp_path / "copy.dcm")
    assert read_study(tmp_path).structure_set.sop_uid == phantom.options.uid("rs")


def test_of_two_ct_series_of_the_frame_the_one_referred_to_is_used(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    uid = another_series(phantom)
    study = read_study(tmp_path)
    assert study.ct is not None
    assert study.ct.series_uid == phantom.options.uid("CT")
    assert warning_codes(study) == ["CT_SERIES_REFERRED"]
    chosen = read_study(tmp_path, series_uid=uid)
    assert chosen.ct is not None
    assert chosen.ct.series_uid == uid
    assert len(find_studies(tmp_path)) == 2


def test_two_ct_series_that_nothing_refers_to_are_refused_and_can_be_chosen(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    uid = another_series(phantom)
    structures = pydicom.dcmread(phantom.structures_file)
    del structures.ReferencedFrameOfReferenceSequence
    structures.FrameOfReferenceUID = pydicom.dcmread(phantom.ct_files[0]).FrameOfReferenceUID
    structures.save_as(phantom.structures_file)
    problem = refusal(tmp_path)["SEVERAL_CT_SERIES"]
    assert uid in problem.message
    assert phantom.options.uid("CT") in problem.message
    assert "--series" in problem.remedy
    chosen = read_study(tmp_path, series_uid=uid)
    assert chosen.ct is not None
    assert chosen.ct.series_uid == uid


def test_another_ct_of_another_frame_does_not_matter(tmp_path: Path) -> None:
    write_study(tmp_path / "planning")
    write_study(tmp_path / "diagnostic", seed="other", structures=False)
    study = read_study(tmp_path)
    assert study.ct is not None
    entries = find_studies(tmp_path)
    assert len(entries) == 2
    assert [problem.code for problem in entries[1].problems] == ["NO_STRUCTURES"]


@pytest.mark.parametrize(("structures", "series"), [("1.2.3", None), (None, "1.2.3")])
def test_a_uid_that_is_not_there_is_told(tmp_path: Path, structures: str | None, series: str | None) -> None:
    write_study(tmp_path)
    code = "STRUCTURES_NOT_FOUND" if structures else "SERIES_NOT_FOUND"
    assert set(refusal(tmp_path, structures, series)) == {code}


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


def test_a_plan_of_another_structure_set_is_not_used(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, plan=True)
    with edited(phantom.plan_file) as ds:
        ds.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    study = read_study(tmp_path)
    assert study.plan is None
    assert warning_codes(study) == ["PLAN_NOT_LINKED"]


def test_of_two_plans_the_one_with_a_dose_is_taken(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, plan=True, dose=True)
    with edited(phantom.plan_file, tmp_path / "rp2.dcm") as ds:
        ds.SOPInstanceUID = phantom.options.uid("rp2")
    study = read_study(tmp_path)
    assert study.plan is not None
    assert study.plan.sop_uid == phantom.options.uid("rp")
    phantom.dose_file.unlink()
    study = read_study(tmp_path)
    assert study.plan is None
    assert warning_codes(study) == ["SEVERAL_PLANS"]


def test_the_plans_dose_is_preferred_to_doses_of_beams(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, plan=True, dose=True)
    for k in range(2):
        with edited(phantom.dose_file, tmp_path / f"a_beam{k}.dcm") as ds:
            ds.SOPInstanceUID, ds.DoseSummationType = phantom.options.uid(f"beam {k}"), "BEAM"
    study = read_study(tmp_path)
    assert study.dose is not None
    assert study.dose.summation_type == "PLAN"
    phantom.dose_file.unlink()
    study = read_study(tmp_path)
    assert study.dose is None
    assert warning_codes(study) == ["DOSE_NOT_LINKED"]


def test_doses_of_another_frame_or_plan_are_not_used(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, plan=True, dose=True)
    with edited(phantom.dose_file) as ds:
        ds.FrameOfReferenceUID = "1.2.3"
    assert warning_codes(read_study(tmp_path)) == ["DOSE_NOT_LINKED"]
    with edited(phantom.dose_file) as ds:
        ds.FrameOfReferenceUID = phantom.grid.frame_uid
        ds.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    assert warning_codes(read_study(tmp_path)) == ["DOSE_NOT_LINKED"]


def test_two_doses_of_the_plan_are_ambiguous(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, plan=True, dose=True)
    with edited(phantom.dose_file, tmp_path / "rd2.dcm") as ds:
        ds.SOPInstanceUID = phantom.options.uid("rd2")
    study = read_study(tmp_path)
    assert study.dose is None
    assert warning_codes(study) == ["SEVERAL_DOSES"]


def test_a_dose_that_cannot_be_used_is_a_warning_in_a_study(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, plan=True, dose=True)
    with edited(phantom.dose_file) as ds:
        ds.DoseUnits = "RELATIVE"
    study = read_study(tmp_path)
    assert study.dose is None
    assert warning_codes(study) == ["DOSE_RELATIVE"]


def test_a_study_without_usable_ct_still_gives_structures(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    phantom.ct_files[5].unlink()
    study = read_study(tmp_path, need_ct=False)
    assert study.ct is None
    assert [problem.code for problem in study.problems] == ["CT_GAP"]
    assert study.structure_set.rois[0].contours is not None


def test_files_found_can_be_read_twice(tmp_path: Path) -> None:
    write_study(tmp_path)
    (entry,) = find_studies(tmp_path)
    first, second = (read_files(entry).structure_set.rois for _ in range(2))
    assert [replace(roi, contours=None) for roi in first] == [replace(roi, contours=None) for roi in second]
    assert all((a.contours is None) == (b.contours is None) for a, b in zip(first, second, strict=True))
