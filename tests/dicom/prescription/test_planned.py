"""Doses and fractions of plans as clinics write them (PS3.3 C.8.8.10 and C.8.8.13)."""

from __future__ import annotations

from pydicom.dataset import Dataset

from vmat_rt.dicom.attributes import Attributes
from vmat_rt.dicom.prescription.planned import PlannedDoses, read_planned_doses


def reference(
    number: int, dose_gy: float | None, roi: int | None = None, description: str = "", kind: str = "TARGET"
) -> Dataset:
    item = Dataset()
    item.DoseReferenceNumber, item.DoseReferenceType = number, kind
    item.DoseReferenceStructureType = "VOLUME" if roi is not None else "SITE"
    if roi is not None:
        item.ReferencedROINumber = roi
    if description:
        item.DoseReferenceDescription = description
    if dose_gy is not None:
        item.TargetPrescriptionDose = dose_gy
    return item


def group(fractions: int, numbers: dict[int, float | None] | None = None, beams_gy: tuple[float, ...] = ()) -> Dataset:
    item = Dataset()
    item.NumberOfFractionsPlanned = fractions
    item.ReferencedDoseReferenceSequence = [_of_group(number, dose) for number, dose in (numbers or {}).items()]
    item.ReferencedBeamSequence = [_beam(dose) for dose in beams_gy]
    return item


def _of_group(number: int, dose_gy: float | None) -> Dataset:
    item = Dataset()
    item.ReferencedDoseReferenceNumber = number
    if dose_gy is not None:
        item.TargetPrescriptionDose = dose_gy
    return item


def _beam(dose_gy: float) -> Dataset:
    item = Dataset()
    item.BeamDose = dose_gy
    return item


def read(references: list[Dataset], groups: list[Dataset]) -> PlannedDoses:
    plan = Dataset()
    plan.DoseReferenceSequence, plan.FractionGroupSequence = references, groups
    return read_planned_doses(Attributes(plan, "the RTPLAN"))


def doses_by_roi(planned: PlannedDoses) -> dict[int | None, float]:
    return {one.roi_number: one.dose_gy for one in planned.references}


def test_one_group() -> None:
    planned = read([reference(1, 70, 1), reference(2, 56, 2), reference(3, 45, 7, kind="ORGAN_AT_RISK")], [group(28)])
    assert doses_by_roi(planned) == {1: 70.0, 2: 56.0}
    assert planned.fractions == 28
    assert planned.problems == ()


def test_phases_of_one_target_add_up() -> None:
    planned = read([reference(1, 46, 1), reference(2, 24, 1)], [group(23), group(12)])
    assert doses_by_roi(planned) == {1: 70.0}
    assert planned.fractions == 35
    assert [problem.code for problem in planned.problems] == ["PLAN_PHASES"]
    assert "46 and 24 Gy" in planned.problems[0].message


def test_groups_may_name_their_references() -> None:
    planned = read(
        [reference(1, 50, 1), reference(2, 10, 1), reference(3, 50, 2)],
        [group(25, {1: None, 3: None}), group(2, {2: None})],
    )
    assert doses_by_roi(planned) == {1: 60.0, 2: 50.0}
    assert planned.fractions == 27


def test_running_totals_are_not_added_up() -> None:
    planned = read([reference(1, 46, 1), reference(2, 70, 1)], [group(23), group(12)])
    assert planned.references == ()
    assert planned.fractions is None
    assert {problem.code for problem in planned.problems} == {"PLAN_PRESCRIPTION_UNCLEAR", "PLAN_FRACTION_GROUPS"}


def test_several_doses_of_one_target_in_one_group_are_unclear() -> None:
    planned = read([reference(1, 60, 1), reference(2, 66, 1)], [group(30)])
    assert planned.references == ()
    (problem,) = planned.problems
    assert "60 Gy" in problem.message
    assert "66 Gy" in problem.message


def test_the_same_dose_twice_is_one() -> None:
    assert doses_by_roi(read([reference(1, 60, 1), reference(2, 60, 1)], [group(30)])) == {1: 60.0}


def test_a_boost_to_another_volume_is_not_its_total_dose() -> None:
    """50 Gy to the elective volume, then 20 Gy to the boost inside it: 20 Gy is not what the boost gets."""
    planned = read([reference(1, 50, 2), reference(2, 20, 1)], [group(25), group(10)])
    assert planned.references == ()
    assert planned.fractions is None


def test_one_reference_that_every_group_names_is_the_whole_course() -> None:
    planned = read([reference(1, 70, 1)], [group(25, {1: None}), group(10, {1: None})])
    assert doses_by_roi(planned) == {1: 70.0}
    assert planned.fractions == 35


def test_target_doses_may_stand_in_the_fraction_groups() -> None:
    planned = read([reference(1, None, 1)], [group(28, {1: 70.0})])
    assert doses_by_roi(planned) == {1: 70.0}


def test_beam_doses_prescribe_nothing_but_are_quoted() -> None:
    planned = read([], [group(20, beams_gy=(1.8, 1.2))])
    assert planned.references == ()
    assert planned.fractions == 20
    assert "20 fractions, its beams 3 Gy each time" in planned.words


def test_other_doses_of_a_target_are_quoted_and_not_taken() -> None:
    item = reference(1, None, 1, "PTV 70")
    item.DeliveryMaximumDose = 60.0
    planned = read([item], [group(20)])
    assert planned.references == ()
    assert 'DeliveryMaximumDose 60 Gy for "PTV 70"' in planned.words


def test_words_are_bounded() -> None:
    planned = read([reference(n, 10.0 + n, None, "x\x1b[31m" * 400) for n in range(1, 100)], [group(20)] * 50)
    assert len(planned.words) < 500
    assert "\x1b" not in planned.words
