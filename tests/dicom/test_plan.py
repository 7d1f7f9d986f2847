"""RTPLAN: prescription, fractions, gantry angles."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from tests.dicom_phantom import Phantom, beam, edited, write_study
from vmat_rt.dicom.plan import Plan, read_plan
from vmat_rt.errors import InputError


@pytest.fixture
def phantom(tmp_path: Path) -> Phantom:
    return write_study(tmp_path, ct=False, structures=False, plan=True)


def with_beams(phantom: Phantom, *beams: Dataset) -> Plan:
    with edited(phantom.plan_file) as ds:
        ds.BeamSequence = list(beams)
    return read_plan(phantom.plan_file)


def test_prescription_and_fractions(phantom: Phantom) -> None:
    plan = read_plan(phantom.plan_file)
    assert plan.prescription_gy == {1: 70.0, 2: 56.0}
    assert plan.fractions == 28
    assert plan.structure_set_uid == phantom.options.uid("rs")
    assert plan.sop_uid == phantom.options.uid("rp")
    assert plan.patient_position == "HFS"
    assert plan.problems == ()


def test_a_dose_reference_without_roi_keeps_its_description(phantom: Phantom) -> None:
    with edited(phantom.plan_file) as ds:
        item = ds.DoseReferenceSequence[0]
        del item.ReferencedROINumber
        item.DoseReferenceStructureType, item.DoseReferenceDescription = "SITE", "PTV_7000"
    plan = read_plan(phantom.plan_file)
    assert plan.prescription_gy == {2: 56.0}
    assert plan.prescription_by_label_gy == {"PTV_7000": 70.0}


def test_doses_that_cannot_be_are_told_and_not_used(phantom: Phantom) -> None:
    with edited(phantom.plan_file) as ds:
        ds.DoseReferenceSequence[0].TargetPrescriptionDose = 7000
    plan = read_plan(phantom.plan_file)
    assert plan.prescription_gy == {2: 56.0}
    assert [problem.code for problem in plan.problems] == ["PLAN_PRESCRIPTION_INVALID"]


def test_several_fraction_groups_give_no_number(phantom: Phantom) -> None:
    with edited(phantom.plan_file) as ds:
        other = Dataset()
        other.NumberOfFractionsPlanned = 7
        ds.FractionGroupSequence.append(other)
    plan = read_plan(phantom.plan_file)
    assert plan.fractions is None
    assert [problem.code for problem in plan.problems] == ["PLAN_FRACTION_GROUPS"]


def test_two_full_arcs_are_thirty_five_directions_without_the_setup_field(phantom: Phantom) -> None:
    """From 181 to 179 degrees round the top, every ten degrees; 180 is not passed, 45 is a setup field."""
    expected = tuple(float(a) for a in range(0, 360, 10) if a != 180)
    assert read_plan(phantom.plan_file).gantry_angles_deg == expected


@pytest.mark.parametrize(
    ("points", "angles"),
    [
        ([(40.0, "NONE"), (None, "NONE")], (40.0,)),
        ([(40.0, "")], (40.0,)),
        ([(0.0, "NONE"), (120.0, "NONE")], (0.0, 120.0)),
        ([(330.0, "CW"), (25.0, "NONE")], (0.0, 10.0, 20.0, 330.0, 340.0, 350.0)),
        ([(25.0, "CC"), (330.0, "NONE")], (0.0, 10.0, 20.0, 330.0, 340.0, 350.0)),
        ([(10.0, "CW"), (15.0, ""), (30.0, "NONE")], (10.0, 20.0, 30.0)),
        ([(360.0, "NONE")], (0.0,)),
    ],
)
def test_directions_of_a_beam(
    phantom: Phantom, points: list[tuple[float | None, str]], angles: tuple[float, ...]
) -> None:
    assert with_beams(phantom, beam(1, points)).gantry_angles_deg == angles


def arc(start: float, step: float, count: int) -> list[tuple[float | None, str]]:
    """Control points of a clockwise arc; the direction stands at the first and the last."""
    angles = [(start + step * k) % 360 for k in range(count)]
    return [(a, "CW" if k == 0 else "NONE" if k == count - 1 else "") for k, a in enumerate(angles)]


def test_coarse_control_points_are_the_directions_and_fine_ones_are_thinned(phantom: Phantom) -> None:
    """Up to 10 degrees apart a plan was computed there; 178 points of 2 degrees say no more than every tenth degree."""
    for step in (3.0, 4.0, 7.5, 10.0):
        points = arc(184.5, step, 30)
        seen = with_beams(phantom, beam(1, points)).gantry_angles_deg
        assert seen == pytest.approx(sorted(angle for angle, _ in points if angle is not None))
    for points in (arc(181.0, 2.0, 180), arc(181.0, 2.04, 176), arc(181.0, 59.0, 7)):
        seen = with_beams(phantom, beam(1, points)).gantry_angles_deg
        assert set(seen) <= {10.0 * k for k in range(36)}
        assert len(seen) == 35


def test_a_short_arc_between_multiples_of_ten_still_has_a_direction(phantom: Phantom) -> None:
    assert with_beams(phantom, beam(1, [(3.0, "CW"), (7.0, "NONE")])).gantry_angles_deg == (3.0,)


def test_a_turned_couch_is_told(phantom: Phantom) -> None:
    turned = beam(1, [(40.0, "NONE")])
    turned.ControlPointSequence[0].PatientSupportAngle = 30
    assert [p.code for p in with_beams(phantom, turned).problems] == ["PLAN_NONCOPLANAR"]


@pytest.mark.parametrize(("keyword", "value"), [("PlanIntent", "VERIFICATION"), ("ApprovalStatus", "REJECTED")])
def test_a_plan_that_nobody_is_treated_by_is_told(phantom: Phantom, keyword: str, value: str) -> None:
    with edited(phantom.plan_file) as ds:
        setattr(ds, keyword, value)
    problems = read_plan(phantom.plan_file).problems
    assert [p.code for p in problems] == ["PLAN_NOT_TREATING"]
    assert value in problems[0].message


def test_the_position_is_that_of_the_setup_that_beams_refer_to(phantom: Phantom) -> None:
    with edited(phantom.plan_file) as ds:
        other = Dataset()
        other.PatientSetupNumber, other.PatientPosition = 2, "HFP"
        ds.PatientSetupSequence.append(other)
        for one in ds.BeamSequence:
            one.ReferencedPatientSetupNumber = 2
    plan = read_plan(phantom.plan_file)
    assert plan.patient_position == "HFP"
    assert not plan.problems
    with edited(phantom.plan_file) as ds:
        for one in ds.BeamSequence:
            del one.ReferencedPatientSetupNumber
    plan = read_plan(phantom.plan_file)
    assert plan.patient_position == "HFS"
    assert [p.code for p in plan.problems] == ["PLAN_POSITION"]
    assert "HFS" in plan.problems[0].message
    assert "HFP" in plan.problems[0].message


def _ion(ds: Dataset) -> None:
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.8"


def _proton(ds: Dataset) -> None:
    ds.BeamSequence[0].RadiationType = "PROTON"


def _brachy(ds: Dataset) -> None:
    del ds.BeamSequence
    ds.BrachyTreatmentType = "HDR"


@pytest.mark.parametrize(("change", "word"), [(_ion, "ion"), (_proton, "ion"), (_brachy, "brachytherapy")])
def test_other_treatments_are_named(phantom: Phantom, change: object, word: str) -> None:
    with edited(phantom.plan_file) as ds:
        change(ds)  # type: ignore[operator]
    with pytest.raises(InputError, match=f"PLAN_NOT_PHOTON.*{word}"):
        read_plan(phantom.plan_file)


def test_another_object_is_no_plan(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    with pytest.raises(InputError, match="PLAN_NOT_RTPLAN"):
        read_plan(phantom.structures_file)
