"""What an RTDOSE says of itself, and what becomes of a dose that is not a whole plan's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.dicom_phantom import Phantom, edited, write_study
from vmat_rt.dicom.dose import read_dose
from vmat_rt.dicom.dose_meaning import DoseMeaning, difference_problems
from vmat_rt.dicom.study import read_study
from vmat_rt.errors import InputError
from vmat_rt.metrics.grammar import parse_metric
from vmat_rt.study.predict import StudyChoice
from vmat_rt.study.review import dvh_document

METRICS = (parse_metric("D95%"),)


@pytest.fixture
def phantom(tmp_path: Path) -> Phantom:
    return write_study(tmp_path, plan=True, dose=True)


def changed(phantom: Phantom, **values: object) -> Phantom:
    with edited(phantom.dose_file) as ds:
        for keyword, value in values.items():
            setattr(ds, keyword, value)
    return phantom


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"DoseType": "EFFECTIVE"}, "DOSE_EFFECTIVE"),
        ({"DoseSummationType": "BEAM"}, "DOSE_NOT_WHOLE_PLAN"),
        ({"DoseSummationType": "FRACTION"}, "DOSE_NOT_WHOLE_PLAN"),
        ({"DoseSummationType": "BRACHY"}, "DOSE_NOT_WHOLE_PLAN"),
        ({"DoseSummationType": "SOMETHING"}, "DOSE_NOT_WHOLE_PLAN"),
        ({"DoseSummationType": "MULTI_PLAN"}, "DOSE_OF_SEVERAL_PLANS"),
    ],
)
def test_what_is_not_the_physical_dose_of_one_plan_is_said(
    phantom: Phantom, values: dict[str, object], code: str
) -> None:
    changed(phantom, **values)
    assert [problem.code for problem in read_dose(phantom.dose_file).problems] == [code]
    document = dvh_document(phantom.folder, phantom.dose_file, METRICS, StudyChoice(), all_rois=False)
    assert code in [problem.code for problem in document.problems]
    whole = code == "DOSE_OF_SEVERAL_PLANS"
    assert bool(document.goals) == whole
    study = read_study(phantom.folder)
    assert (study.dose is not None) == whole
    assert ({"DOSE_NOT_LINKED"} <= {problem.code for problem in study.problems}) != whole


def test_a_physical_whole_plan_has_nothing_to_say(phantom: Phantom) -> None:
    assert read_dose(phantom.dose_file).problems == ()
    assert dvh_document(phantom.folder, phantom.dose_file, METRICS, StudyChoice(), all_rois=False).goals


def test_a_dose_of_another_patient_in_the_same_frame_is_said(phantom: Phantom) -> None:
    own = dvh_document(phantom.folder, phantom.dose_file, METRICS, StudyChoice(), all_rois=False)
    with edited(phantom.dose_file, phantom.folder.parent / "other.dcm") as ds:
        ds.PatientID = "SOMEBODY-ELSE"
    given = (phantom.folder, phantom.folder.parent / "other.dcm", METRICS)
    other = dvh_document(*given, StudyChoice(), all_rois=False)
    assert {p.code for p in other.problems} - {p.code for p in own.problems} == {"DOSE_OTHER_PATIENT"}
    assert "SOMEBODY" not in str(other.problems)
    taken = dvh_document(*given, StudyChoice(deidentified=True), all_rois=False)
    assert "DOSE_OTHER_PATIENT" not in {p.code for p in taken.problems}


@pytest.mark.parametrize(("part", "unusual"), [(1.0, False), (0.85, True), (1.15, True)])
def test_a_target_dose_far_from_the_prescription_is_said(phantom: Phantom, part: float, unusual: bool) -> None:
    whole = dvh_document(phantom.folder, phantom.dose_file, METRICS, StudyChoice(), all_rois=False)
    (d95,) = [entry.metrics["D95%"] for entry in whole.structures if entry.name == "PTV_7000"]
    assert d95 is not None
    with edited(phantom.dose_file) as ds:
        ds.DoseGridScaling = f"{float(ds.DoseGridScaling) * part * 70 / d95:.8g}"
    document = dvh_document(phantom.folder, phantom.dose_file, METRICS, StudyChoice(), all_rois=False)
    told = [p.message for p in document.problems if p.code == "TARGET_DOSE_UNUSUAL" and "PTV_7000" in p.message]
    assert bool(told) == unusual


def test_a_dose_without_pixels_does_not_compete(phantom: Phantom) -> None:
    with edited(phantom.dose_file, phantom.folder / "dvh_only.dcm") as ds:
        ds.SOPInstanceUID = "1.2.3.4"
        ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
        del ds.PixelData
    study = read_study(phantom.folder)
    assert study.dose is not None
    assert study.dose.sop_uid == phantom.options.uid("rd")


@pytest.mark.parametrize("linked", [True, False])
def test_a_dose_without_frame_is_used_only_through_its_plan(phantom: Phantom, linked: bool) -> None:
    with edited(phantom.dose_file) as ds:
        del ds.FrameOfReferenceUID
        if not linked:
            del ds.ReferencedRTPlanSequence
    study = read_study(phantom.folder)
    if linked:
        assert study.dose is not None
        assert study.dose.volume.grid.frame_uid == study.structure_set.frame_uid
        np.testing.assert_allclose(study.dose.volume.array, phantom.dose_gy, atol=1e-3)
        assert "DOSE_NO_FRAME" in [problem.code for problem in study.problems]
        assert dvh_document(phantom.folder, phantom.dose_file, METRICS, StudyChoice(), all_rois=False).goals
    else:
        assert study.dose is None
        with pytest.raises(InputError, match="DOSE_NO_FRAME"):
            dvh_document(phantom.folder, phantom.dose_file, METRICS, StudyChoice(), all_rois=False)


def offsets(phantom: Phantom, step_mm: float) -> np.ndarray:
    return step_mm * np.arange(phantom.grid.shape[0])


@pytest.mark.parametrize("step_mm", [2.54, 3.33, 4.25, 1.27])
@pytest.mark.parametrize("absolute", [False, True])
def test_offsets_rounded_to_a_tenth_are_equal_steps(phantom: Phantom, step_mm: float, absolute: bool) -> None:
    start = float(phantom.grid.origin_mm[0]) if absolute else 0.0
    rounded = np.round(start + offsets(phantom, step_mm), 1)
    changed(phantom, GridFrameOffsetVector=[float(value) for value in rounded])
    found = read_dose(phantom.dose_file)
    assert found.volume.grid.spacing_mm[0] == pytest.approx(step_mm, abs=0.02)
    last_mm = found.volume.grid.axis_mm(0)[-1] - phantom.grid.origin_mm[0]
    assert last_mm == pytest.approx(offsets(phantom, step_mm)[-1], abs=0.1)


def test_offsets_rounded_to_whole_numbers_are_refused(phantom: Phantom) -> None:
    changed(phantom, GridFrameOffsetVector=[float(value) for value in np.round(offsets(phantom, 4.25))])
    with pytest.raises(InputError, match="DOSE_FRAMES"):
        read_dose(phantom.dose_file)


def test_two_doses_of_unlike_kinds_are_said_to_be_so() -> None:
    plan, beam = DoseMeaning("PHYSICAL", "PLAN"), DoseMeaning("", "BEAM")
    assert difference_problems(plan, DoseMeaning()) == ()
    (problem,) = difference_problems(plan, beam)
    assert problem.code == "DOSES_UNLIKE"
    assert "physical dose of a whole plan" in problem.message
    assert "physical dose of one beam" in problem.message
    assert "effective dose" in difference_problems(plan, DoseMeaning("EFFECTIVE", "PLAN"))[0].message
