"""DICOM studies into a cohort, whole and ugly: each kept, found again, or refused by its own name.

Covers vmat_rt.curation.intake.choose, vmat_rt.curation.intake.keys, vmat_rt.curation.intake.people,
vmat_rt.curation.intake.settings, vmat_rt.curation.intake.study and vmat_rt.curation.intake.summary.
"""

from __future__ import annotations

import csv
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import JPEG2000Lossless, generate_uid

from tests.curation.intake.clinic import added, as_beam, femur_heads, plateau_gy, scaled_gy, states, study
from tests.dicom_phantom import cut_short, default_rois, edited
from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.intake.keys import KeyFile
from vmat_rt.errors import ConfigError, InputError
from vmat_rt.grid import Grid


def refused_rows(cohort: Path) -> list[dict[str, str]]:
    with (cohort / "refused.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_study_is_kept_without_identity_and_known_again(tmp_path: Path) -> None:
    phantom = study(tmp_path / "in" / "deep" / "er", "Smith-4711")
    first = added(tmp_path / "in", tmp_path / "c")
    assert states(first) == [("added",)]
    cohort = Cohort.open(tmp_path / "c")
    (record,) = cohort.records()
    case = cohort.read(record.key)
    assert (record.plan_type, record.fractions, record.source) == ("sib", 28, "dicom")
    assert record.prescription == {"PTV_7000": 70.0, "PTV_5600": 56.0}
    assert case.reference_dose is not None
    assert float(case.reference_dose.array.max()) == pytest.approx(71, abs=0.01)
    assert not cohort.check()
    everything = b"".join(path.read_bytes() for path in (tmp_path / "c").rglob("*") if path.is_file())
    for identity in ("Smith", "4711", phantom.options.uid("study"), phantom.options.uid("frame"), str(tmp_path)):
        assert identity.encode() not in everything
    again = added(tmp_path / "in", tmp_path / "c")
    assert states(again) == [("present",)]
    assert cohort.record(record.key) == record


def test_the_key_file_lies_outside_for_its_owner_alone(tmp_path: Path) -> None:
    phantom = study(tmp_path / "in", "P1")
    added(tmp_path / "in", tmp_path / "c")
    path = tmp_path / "c.keys.csv"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (entry,) = KeyFile(path).entries().values()
    assert (entry.PatientID, entry.StudyInstanceUID) == ("P1", phantom.options.uid("study"))
    assert (entry.key,) == Cohort.open(tmp_path / "c").keys()


@pytest.mark.parametrize("inside", ["c/keys.csv", "in/../c/sub/keys.csv"])
def test_a_key_file_within_the_cohort_is_refused(tmp_path: Path, inside: str) -> None:
    study(tmp_path / "in", "P1")
    added(tmp_path / "in", tmp_path / "c")
    with pytest.raises(ConfigError, match="within the cohort"):
        added(tmp_path / "in", tmp_path / "c", keys=tmp_path / inside)


def test_studies_of_one_patient_share_him(tmp_path: Path) -> None:
    study(tmp_path / "in" / "a", "first", patient="P1")
    study(tmp_path / "in" / "b", "second", patient="P1")
    study(tmp_path / "in" / "c", "third", patient="P2")
    summary = added(tmp_path / "in", tmp_path / "c")
    assert states(summary) == [("added",)] * 3
    assert (summary.counts["cases_in_cohort"], summary.counts["patients_in_cohort"]) == (3, 2)


def test_a_copy_of_the_folder_is_the_same_study(tmp_path: Path) -> None:
    study(tmp_path / "in" / "a", "first")
    shutil.copytree(tmp_path / "in" / "a", tmp_path / "in" / "backup" / "a")
    assert states(added(tmp_path / "in", tmp_path / "c")) == [("added",)]


def in_other_frame(dataset: FileDataset) -> None:
    dataset.FrameOfReferenceUID = generate_uid()


def ending_early(dataset: FileDataset) -> None:
    """Only the lower half of its frames."""
    frames, size = int(dataset.NumberOfFrames), 2 * dataset.Rows * dataset.Columns
    dataset.NumberOfFrames = frames // 2
    dataset.PixelData = dataset.PixelData[: frames // 2 * size]
    dataset.GridFrameOffsetVector = dataset.GridFrameOffsetVector[: frames // 2]


def of_other_plan(dataset: FileDataset) -> None:
    dataset.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID = generate_uid()


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (as_beam, "DOSE_SINGLE_BEAM"),
        (in_other_frame, "DOSE_FRAME_MISMATCH"),
        (ending_early, "TARGET_NOT_COVERED"),
        (of_other_plan, "DOSE_NOT_LINKED"),
    ],
)
def test_a_dose_that_is_not_the_plans_is_refused(tmp_path: Path, edit: object, code: str) -> None:
    study(tmp_path / "in", "P1", edit_dose=edit)  # type: ignore[arg-type]
    summary = added(tmp_path / "in", tmp_path / "c")
    assert states(summary) == [("refused", code)]
    assert summary.nothing_usable
    assert {row["code"] for row in refused_rows(tmp_path / "c")} == {code}
    assert Cohort.open(tmp_path / "c").keys() == ()


@pytest.mark.parametrize(
    ("factor", "code"),
    [(1 / 3, "DOSE_SINGLE_BEAM"), (0.5, "DOSE_SINGLE_BEAM"), (1 / 28, "DOSE_PER_FRACTION"), (100.0, "DOSE_SCALE")],
)
def test_a_dose_of_the_wrong_size_is_refused(tmp_path: Path, factor: float, code: str) -> None:
    study(tmp_path / "in", "P1", dose_gy=scaled_gy(factor))
    summary = added(tmp_path / "in", tmp_path / "c")
    assert states(summary) == [("refused", code)]
    assert summary.checks[code] == 1


def test_a_cold_target_is_kept_and_counted(tmp_path: Path) -> None:
    study(tmp_path / "in", "P1", dose_gy=scaled_gy(0.8))
    summary = added(tmp_path / "in", tmp_path / "c")
    assert states(summary) == [("added", "TARGET_DOSE_UNUSUAL")]
    (record,) = Cohort.open(tmp_path / "c").records()
    assert "TARGET_DOSE_UNUSUAL" in record.problems


def test_a_study_without_dose_is_refused(tmp_path: Path) -> None:
    study(tmp_path / "in", "P1").dose_file.unlink()
    assert states(added(tmp_path / "in", tmp_path / "c")) == [("refused", "NO_DOSE")]


def test_of_two_doses_the_one_that_names_the_plan_is_taken(tmp_path: Path) -> None:
    phantom = study(tmp_path / "in", "P1")
    with edited(phantom.dose_file, tmp_path / "in" / "other.dcm") as other:
        other.SOPInstanceUID = generate_uid()
        other.DoseGridScaling = float(other.DoseGridScaling) * 0.9
        del other.ReferencedRTPlanSequence
    assert states(added(tmp_path / "in", tmp_path / "c")) == [("added",)]
    cohort = Cohort.open(tmp_path / "c")
    dose = cohort.read(cohort.keys()[0]).reference_dose
    assert dose is not None
    assert float(dose.array.max()) == pytest.approx(71, abs=0.01)


def test_two_doses_of_one_plan_are_unclear(tmp_path: Path) -> None:
    phantom = study(tmp_path / "in", "P1")
    with edited(phantom.dose_file, tmp_path / "in" / "other.dcm") as other:
        other.SOPInstanceUID = generate_uid()
    assert states(added(tmp_path / "in", tmp_path / "c")) == [("refused", "SEVERAL_DOSES")]


def test_of_two_structure_sets_the_planned_one_is_taken(tmp_path: Path) -> None:
    phantom = study(tmp_path / "in", "P1")
    with edited(phantom.structures_file, tmp_path / "in" / "draft.dcm") as draft:
        draft.SOPInstanceUID = generate_uid()
    summary = added(tmp_path / "in", tmp_path / "c")
    assert [state for state, *_ in states(summary)] == ["added", "refused"]


def test_without_a_plan_two_structure_sets_are_unclear(tmp_path: Path) -> None:
    phantom = study(tmp_path / "in", "P1")
    phantom.plan_file.unlink()
    with edited(phantom.structures_file, tmp_path / "in" / "draft.dcm") as draft:
        draft.SOPInstanceUID = generate_uid()
    assert states(added(tmp_path / "in", tmp_path / "c")) == [("refused", "SEVERAL_STRUCTURE_SETS")] * 2


@pytest.mark.parametrize(
    ("left_mm", "right_mm", "codes"),
    [(30.0, -30.0, ()), (-30.0, 30.0, ("SIDES_SWAPPED",)), (34.0, 16.0, ("SIDES_SAME",))],
)
def test_femur_heads_on_the_wrong_side_are_counted(
    tmp_path: Path, left_mm: float, right_mm: float, codes: tuple[str, ...]
) -> None:
    grid = Grid((11, 40, 52), (3.0, 2.5, 2.0), (-31.5, -47.3, -55.7), "any")
    rois = (*default_rois(grid), *femur_heads(grid, left_mm, right_mm))
    study(tmp_path / "in", "P1", rois=rois)
    summary = added(tmp_path / "in", tmp_path / "c")
    assert states(summary) == [("added", *codes)]
    assert [code for code in ("SIDES_SWAPPED", "SIDES_SAME") if summary.checks[code]] == list(codes)


def test_the_same_study_under_another_name_is_skipped(tmp_path: Path) -> None:
    """Other PatientID, other UIDs, slices compressed and in other files: the same patient, plan and dose."""
    study(tmp_path / "in" / "a", "first", image="same")
    study(tmp_path / "in" / "b", "second", image="same", transfer_syntax=JPEG2000Lossless, intercept=0.0)
    summary = added(tmp_path / "in", tmp_path / "c")
    assert states(summary) == [("added",), ("duplicate", "DUPLICATE_STUDY")]
    assert (summary.counts["cases_in_cohort"], summary.counts["duplicates"]) == (1, 1)
    assert summary.checks["DUPLICATE_IMAGE"] == 1
    again = added(tmp_path / "in", tmp_path / "c")
    assert states(again) == [("duplicate", "DUPLICATE_STUDY"), ("present",)]


def test_one_image_under_two_numbers_is_one_patient(tmp_path: Path) -> None:
    """Also through a chain: P3's other study joins P1 and P2, who were strangers before."""
    study(tmp_path / "in" / "a", "first", image="A", patient="P1")
    study(tmp_path / "in" / "b", "second", image="B", patient="P2")
    assert added(tmp_path / "in", tmp_path / "c").counts["patients_in_cohort"] == 2
    study(tmp_path / "in" / "c", "third", image="A", patient="P3", dose_gy=scaled_gy(1.02))
    study(tmp_path / "in" / "d", "fourth", image="B", patient="P3", dose_gy=scaled_gy(1.02))
    summary = added(tmp_path / "in", tmp_path / "c")
    assert states(summary) == [("added",), ("added",), ("present",), ("present",)]
    records = Cohort.open(tmp_path / "c").records()
    assert len({record.patient for record in records}) == 1
    assert all("DUPLICATE_IMAGE" in record.problems for record in records)
    assert not Cohort.open(tmp_path / "c").check()


@pytest.mark.parametrize("placeholder", ["", "ANONYMOUS", "Anon^", "000000", "---"])
def test_patients_without_a_number_are_told_apart_by_their_images(tmp_path: Path, placeholder: str) -> None:
    for name in ("first", "second"):
        phantom = study(tmp_path / "in" / name, name, patient="SAME NAME")
        for path in phantom.folder.rglob("*.dcm"):
            with edited(path) as ds:
                ds.PatientID = placeholder
    summary = added(tmp_path / "in", tmp_path / "c")
    assert states(summary) == [("added", "PATIENT_UNKNOWN")] * 2
    assert (summary.counts["patients_in_cohort"], summary.checks["PATIENT_UNKNOWN"]) == (2, 2)


def test_one_broken_study_does_not_touch_the_others(tmp_path: Path) -> None:
    study(tmp_path / "in" / "good", "good")
    bad = study(tmp_path / "in" / "bad", "Mustermann")
    cut_short(bad.ct_files[3], 3000)
    (bad.folder / "CT" / "zz Mustermann.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    (tmp_path / "in" / "notes.txt").write_text("no DICOM at all")
    (tmp_path / "in" / "empty").mkdir()
    summary = added(tmp_path / "in", tmp_path / "c")
    assert [state for state, *_ in states(summary)] == ["added", "refused"]
    text = (tmp_path / "c" / "refused.csv").read_text()
    assert "DICOM_UNREADABLE" in text
    assert "Mustermann" not in text
    keys = {row["key"] for row in refused_rows(tmp_path / "c")}
    assert {KeyFile(tmp_path / "c.keys.csv").entries()[key].PatientID for key in keys} == {"Mustermann"}


def test_what_was_mended_leaves_the_list_of_refusals(tmp_path: Path) -> None:
    phantom = study(tmp_path / "in", "P1", edit_dose=as_beam)
    assert states(added(tmp_path / "in", tmp_path / "c")) == [("refused", "DOSE_SINGLE_BEAM")]
    with edited(phantom.dose_file) as ds:
        ds.DoseSummationType = "PLAN"
    assert states(added(tmp_path / "in", tmp_path / "c")) == [("added",)]
    assert refused_rows(tmp_path / "c") == []


def test_changed_files_are_added_again_only_when_asked(tmp_path: Path) -> None:
    phantom = study(tmp_path / "in", "P1")
    added(tmp_path / "in", tmp_path / "c")
    (key,) = Cohort.open(tmp_path / "c").keys()
    with edited(phantom.structures_file) as ds:
        ds.StructureSetROISequence[2].ROIName = "unknown thing"
    assert states(added(tmp_path / "in", tmp_path / "c")) == [("refused", "STUDY_CHANGED")]
    assert "Rectum" in Cohort.open(tmp_path / "c").record(key).volumes_cc
    assert states(added(tmp_path / "in", tmp_path / "c", replace=True)) == [("added",)]
    assert Cohort.open(tmp_path / "c").keys() == (key,)
    assert "Rectum" not in Cohort.open(tmp_path / "c").record(key).volumes_cc
    assert states(added(tmp_path / "in", tmp_path / "c", replace=True)) == [("present",)]


def test_single_level_plans_go_into_an_sib_cohort(tmp_path: Path) -> None:
    study(tmp_path / "in" / "sib", "sib")
    grid = Grid((11, 40, 52), (3.0, 2.5, 2.0), (-31.5, -47.3, -55.7), "any")
    rois = tuple(roi for roi in default_rois(grid) if roi.name != "PTV_5600")
    study(tmp_path / "in" / "single", "single", rois=rois)
    added(tmp_path / "in", tmp_path / "c")
    cohort = Cohort.open(tmp_path / "c")
    assert cohort.settings.protocol == "prostate_sib_70_56"
    assert sorted((r.plan_type, r.protocol) for r in cohort.records()) == [
        ("sib", "prostate_sib_70_56"),
        ("single_level", "prostate_70_28"),
    ]


def test_nothing_to_add(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("no DICOM at all")
    with pytest.raises(InputError) as refusal:
        added(tmp_path / "in", tmp_path / "c")
    assert [problem.code for problem in refusal.value.problems] == ["NOT_DICOM"]
    assert not (tmp_path / "c").exists()


def test_the_dose_of_the_plan_is_worth_its_prescription() -> None:
    """The phantom's plateau covers both targets, so that what the tests above change is what is found."""
    grid = Grid((11, 40, 52), (3.0, 2.5, 2.0), (-31.5, -47.3, -55.7), "any")
    assert set(np.unique(plateau_gy(grid))) == {np.float32(8), np.float32(58), np.float32(71)}
