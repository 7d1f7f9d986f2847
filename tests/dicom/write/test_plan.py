"""Companion RTPLAN and what every output inherits.

Covers vmat_rt.dicom.write.header.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pydicom
import pytest
from pydicom.dataset import Dataset

from tests.dicom import judges, written
from vmat_rt.case import Prescription
from vmat_rt.dicom.write.header import NOT_FOR_TREATMENT, header_from
from vmat_rt.dicom.write.plan import write_companion_plan


def write(path: Path) -> Dataset:
    write_companion_plan(path, written.case(), written.header(), written.MODEL)
    return pydicom.dcmread(path)


def test_the_prescription_refers_to_the_contoured_targets(tmp_path: Path) -> None:
    plan = write(tmp_path / "p.dcm")
    high, low = plan.DoseReferenceSequence
    assert (high.DoseReferenceDescription, high.TargetPrescriptionDose) == ("PTV_7000", 70)
    assert (high.DoseReferenceStructureType, high.ReferencedROINumber) == ("VOLUME", 4)
    assert (low.DoseReferenceDescription, low.TargetPrescriptionDose) == ("PTV_5600", 56)
    assert low.DoseReferenceStructureType == "SITE"
    assert "ReferencedROINumber" not in low
    assert {high.DoseReferenceType, low.DoseReferenceType} == {"TARGET"}
    assert high.DoseReferenceUID != low.DoseReferenceUID


def test_it_has_fractions_but_no_beams_and_cannot_be_taken_for_a_plan(tmp_path: Path) -> None:
    plan = write(tmp_path / "p.dcm")
    (group,) = plan.FractionGroupSequence
    assert (group.NumberOfFractionsPlanned, group.NumberOfBeams, group.NumberOfBrachyApplicationSetups) == (28, 0, 0)
    assert "BeamSequence" not in plan  # an empty one makes planning systems fail
    assert plan.ApprovalStatus == "UNAPPROVED"
    assert plan.PlanIntent == "RESEARCH"
    assert plan.RTPlanGeometry == "PATIENT"
    assert plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == written.header().structure_set_uid
    assert len(plan.RTPlanLabel) <= 16
    assert plan.RTPlanLabel.startswith("PREDICTED")
    assert plan.RTPlanName == plan.SeriesDescription == NOT_FOR_TREATMENT
    assert NOT_FOR_TREATMENT in plan.RTPlanDescription
    assert (plan.RTPlanDate, plan.RTPlanTime) == ("20240201", "130000")


def test_dciodvfy_has_no_error(tmp_path: Path) -> None:
    write(tmp_path / "p.dcm")
    assert judges.dciodvfy_errors(tmp_path / "p.dcm") == []


def test_a_rerun_is_the_same_instance_and_another_prescription_is_not(tmp_path: Path) -> None:
    first = write(tmp_path / "a.dcm")
    write(tmp_path / "b.dcm")
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    lower = replace(written.case(), prescription=Prescription({"PTV_7000": 60.0}, 20, "option"))
    uid = write_companion_plan(tmp_path / "c.dcm", lower, written.header(), written.MODEL)
    assert uid != first.SOPInstanceUID


def test_values_that_break_the_rules_are_left_out_but_not_the_patient() -> None:
    ct = written.ct_header()
    ct.PatientID = "an ID that is much longer than the sixty-four characters which DICOM allows for it"
    ct.PatientSex = "UNKNOWN"
    ct.add_new("PatientAge", "AS", "65")
    ct.add_new("StudyID", "SH", "longer than sixteen characters")
    ct.add_new("PatientWeight", "DS", "80.5")
    ct.PatientIdentityRemoved = "YES"
    inherited = header_from(written.study("HFS", ct)).inherited
    assert inherited.PatientID == ct.PatientID
    assert inherited.PatientSex == ""
    assert inherited.StudyID == ""
    assert inherited.PatientWeight == 80.5
    assert "PatientAge" not in inherited
    assert "PatientIdentityRemoved" not in inherited  # it must name a method, and there is none


def test_how_identity_was_removed_is_passed_on() -> None:
    ct = written.ct_header()
    ct.PatientIdentityRemoved, ct.DeidentificationMethod = "YES", "by hand"
    inherited = header_from(written.study("HFS", ct)).inherited
    assert (inherited.PatientIdentityRemoved, inherited.DeidentificationMethod) == ("YES", "by hand")


@pytest.mark.parametrize("keyword", ["PatientName", "PatientBirthDate", "StudyTime", "ReferringPhysicianName"])
def test_type_2_attributes_are_present_even_where_the_ct_lacks_them(keyword: str) -> None:
    ct = written.ct_header()
    if keyword in ct:
        del ct[keyword]
    inherited = header_from(written.study("HFS", ct)).inherited
    assert keyword in inherited
    assert inherited[keyword].is_empty


def test_the_header_knows_the_inputs() -> None:
    study = written.study("FFP")
    study.plan = SimpleNamespace(sop_uid=written.PLAN_UID)
    header = header_from(study)
    assert header.plan_uid == written.PLAN_UID
    assert header.orientation == written.ORIENTATIONS["FFP"]
    assert header.ct is not None
    assert header.ct.z_mm[0] == written.CT_GRID.origin_mm[0]
    assert header.frame_uid == written.FRAME
    assert header.structure_set_uid in header.input_uids
    assert header.ct.series_uid in header.input_uids


def test_without_ct_the_patient_comes_from_the_structure_set() -> None:
    study = written.study()
    study.ct = None
    study.structure_set.header = written.ct_header()
    header = header_from(study)
    assert header.inherited.PatientID == "4711"
    assert header.frame_uid == written.FRAME
    assert header.ct is None
