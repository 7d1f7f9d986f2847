"""A study read whole: choosing where there are several, and plans and doses that are used or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.dicom.studies import another_series, another_structure_set, refusal, warning_codes
from tests.dicom_phantom import edited, write_study
from vmat_rt.dicom.study import find_studies, read_files, read_study


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


def test_two_structure_sets_are_refused_and_named_and_can_be_chosen(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    _, uid = another_structure_set(phantom)
    problem = refusal(tmp_path)["SEVERAL_STRUCTURE_SETS"]
    assert uid in problem.message
    assert "'SECOND'" in problem.message
    assert phantom.options.uid("rs") in problem.message
    assert "--structures" in problem.remedy
    assert read_study(tmp_path, uid).structure_set.sop_uid == uid


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


@pytest.mark.parametrize(("structures", "series"), [("1.2.3", None), (None, "1.2.3")])
def test_a_uid_that_is_not_there_is_told(tmp_path: Path, structures: str | None, series: str | None) -> None:
    write_study(tmp_path)
    code = "STRUCTURES_NOT_FOUND" if structures else "SERIES_NOT_FOUND"
    assert set(refusal(tmp_path, structures, series)) == {code}


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
