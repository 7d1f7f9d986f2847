"""Which dose each target gets, and when none may be assumed.

Covers vmat_rt.dicom.prescription.placed, vmat_rt.dicom.prescription.problems and vmat_rt.assembly.prescription.
"""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

from vmat_rt.case import ContourPlane, Contours, Prescription, Structure
from vmat_rt.dicom.plan import Plan
from vmat_rt.dicom.prescription.find import Given, find_prescription
from vmat_rt.dicom.prescription.planned import DoseReference, PlannedDoses
from vmat_rt.errors import Problem
from vmat_rt.protocol import load_protocol

SIB = load_protocol("prostate_sib_70_56")
SINGLE = load_protocol("prostate_70_28")
SQUARE = np.array([[0.0, 0.0], [0.0, 10.0], [10.0, 10.0], [10.0, 0.0]])


def drawn(roi_name: str, name: str | None, number: int) -> Structure:
    return Structure(
        roi_name, name, Contours((ContourPlane(0.0, (SQUARE,)), ContourPlane(3.0, (SQUARE,))), 3.0, "frame"), number
    )


def targets(*roi_names: str) -> list[Structure]:
    names = ("PTV_7000", "PTV_5600")
    return [drawn(roi, names[n], n + 1) for n, roi in enumerate(roi_names)]


def planned(*references: DoseReference, fractions: int | None = 28) -> Plan:
    return Plan("1.2", Dataset(), PlannedDoses(references, fractions, words="its words"), (), "1.3")


def by_roi(dose_gy: float, number: int) -> DoseReference:
    return DoseReference(dose_gy, number, "", "VOLUME")


def of_site(dose_gy: float, description: str = "") -> DoseReference:
    return DoseReference(dose_gy, None, description, "SITE")


def found(
    structures: list[Structure], plan: Plan | None, given: Given | None = None, single: bool = False
) -> tuple[Prescription | None, dict[str, Problem]]:
    protocol = SINGLE if single else SIB
    prescription, problems = find_prescription(structures, protocol, plan, given or Given(protocol_named=False))
    assert all(len(p.message) < 600 and len(p.remedy) < 600 for p in problems)
    return prescription, {problem.code: problem for problem in problems}


def test_a_plan_prescribes_by_number() -> None:
    prescription, problems = found(targets("PTV 70", "PTV 56"), planned(by_roi(70, 1), by_roi(56, 2)))
    assert prescription == Prescription({"PTV_7000": 70.0, "PTV_5600": 56.0}, 28, "plan")
    assert not problems


@pytest.mark.parametrize(
    "references",
    [(of_site(60, "Prostate"), of_site(12, "Beam 1")), (), (of_site(60),), (by_roi(46, 1),), (by_roi(60, 1),)],
)
@pytest.mark.parametrize("fractions", [20, 28, None])
def test_a_plan_rules_out_the_protocol(references: tuple[DoseReference, ...], fractions: int | None) -> None:
    """Whatever a plan says that is not the protocol's prescription: no default beside it, under any fractions."""
    prescription, problems = found(targets("PTV 70", "PTV 56"), planned(*references, fractions=fractions))
    assert prescription is None
    assert "its words" in problems["PRESCRIPTION_UNKNOWN"].message
    assert "--prescription PTV_7000=70 --prescription PTV_5600=56" in problems["PRESCRIPTION_UNKNOWN"].remedy
    assert "--fractions" in problems["PRESCRIPTION_UNKNOWN"].remedy


def test_a_lower_target_that_plan_protocol_and_name_agree_on() -> None:
    """Plans of integrated boosts often prescribe to the highest target alone."""
    prescription, problems = found(targets("PTV 70", "PTV 56"), planned(by_roi(70, 1)))
    assert prescription is not None
    assert prescription.dose_gy == {"PTV_7000": 70.0, "PTV_5600": 56.0}
    assert "PTV_5600 56 Gy" in problems["PRESCRIPTION_ASSUMED"].message
    assert "PTV_7000" not in problems["PRESCRIPTION_ASSUMED"].message


def test_a_dose_for_what_is_no_target_here_is_said() -> None:
    """The lower target of an integrated boost is empty or has a name that no alias maps."""
    prescription, problems = found(targets("PTV 70"), planned(by_roi(70, 1), by_roi(56, 2)), single=True)
    assert prescription is not None
    assert prescription.dose_gy == {"PTV_7000": 70.0}
    assert "56 Gy" in problems["PLAN_DOSE_LEFT"].message
    assert "ROI number 2" in problems["PLAN_DOSE_LEFT"].message
    assert not found(targets("PTV 70"), planned(by_roi(70, 1), of_site(70, "Prostate")), single=True)[1]


@pytest.mark.parametrize(("dose_gy", "fractions"), [(70, 100), (2.0, 30), (60, 1)])
def test_a_dose_that_does_not_go_with_its_fractions_is_said(dose_gy: float, fractions: int) -> None:
    _, problems = found(targets("PTV"), planned(by_roi(dose_gy, 1), fractions=fractions), single=True)
    assert f"in {fractions} fractions" in problems["PRESCRIPTION_FRACTION"].message


@pytest.mark.parametrize(("dose_gy", "fractions"), [(70, 28), (81.6, 68), (36.25, 5), (50.4, 28)])
def test_fractionation_in_use_is_not_doubted(dose_gy: float, fractions: int) -> None:
    assert not found(targets("PTV"), planned(by_roi(dose_gy, 1), fractions=fractions), single=True)[1]


@pytest.mark.parametrize(("beams_gy", "codes"), [(35.0, {"PLAN_BEAM_DOSE"}), (66.0, set()), (None, set())])
def test_beams_that_give_another_dose_are_said(beams_gy: float | None, codes: set[str]) -> None:
    doses = PlannedDoses((by_roi(70, 1),), 28, beams_gy=beams_gy)
    assert set(found(targets("PTV"), Plan("1.2", Dataset(), doses, (), "1.3"), single=True)[1]) == codes


def test_a_description_that_says_another_dose_is_said() -> None:
    reference = DoseReference(70, 1, "PTV 60 Gy", "VOLUME", 1)
    assert "says 60 Gy" in found(targets("PTV"), planned(reference), single=True)[1]["PRESCRIPTION_NAME"].message


def test_a_contoured_target_that_no_alias_maps_is_said_where_its_name_says_a_dose_of_its_own() -> None:
    plan = planned(by_roi(70, 1))
    others = [drawn("PTV 60", None, 8), drawn("PTV_70_opt", None, 9), drawn("PTV ring", None, 10)]
    _, problems = found([*targets("PTV 70"), *others], plan, single=True)
    assert set(problems) == {"TARGET_NOT_MAPPED"}
    assert "PTV 60" in problems["TARGET_NOT_MAPPED"].message
    assert "opt" not in problems["TARGET_NOT_MAPPED"].message


def test_one_site_and_one_target() -> None:
    prescription, problems = found(targets("PTV"), planned(of_site(60, "Prostata"), fractions=20), single=True)
    assert prescription == Prescription({"PTV_7000": 60.0}, 20, "plan")
    assert "Prostata" in problems["PLAN_PRESCRIPTION_PLACED"].message


@pytest.mark.parametrize(
    ("roi_name", "references"),
    [
        ("PTV 70", (of_site(60, "Prostata"),)),
        ("PTV", (of_site(60, "Prostata"), of_site(12, "Beam 1"))),
        ("PTV", (of_site(50, "PTV nodes"),)),
        ("PTV", (by_roi(50, 9),)),
    ],
)
def test_a_site_is_not_a_target_that_its_words_do_not_fit(roi_name: str, references: tuple[DoseReference, ...]) -> None:
    structures = [*targets(roi_name), drawn("PTV nodes", None, 9)]
    assert found(structures, planned(*references, fractions=20), single=True)[0] is None


def test_a_plan_that_prescribes_to_a_ctv() -> None:
    structures = [*targets("PTV"), drawn("CTV", None, 9)]
    prescription, problems = found(structures, planned(by_roi(60, 9), fractions=20), single=True)
    assert prescription is not None
    assert prescription.dose_gy == {"PTV_7000": 60.0}
    assert '"CTV"' in problems["PLAN_PRESCRIPTION_PLACED"].message


def test_doses_for_ctvs_go_to_the_targets_whose_names_say_them() -> None:
    structures = [*targets("PTV 70", "PTV 56"), drawn("CTV 70", None, 8), drawn("CTV 56", None, 9)]
    prescription, _ = found(structures, planned(by_roi(70, 8), by_roi(56, 9)))
    assert prescription is not None
    assert prescription.dose_gy == {"PTV_7000": 70.0, "PTV_5600": 56.0}


def test_without_plan_a_name_that_says_the_dose_is_enough_with_a_warning() -> None:
    prescription, problems = found(targets("PTV 70", "PTV 56"), None)
    assert prescription == Prescription({"PTV_7000": 70.0, "PTV_5600": 56.0}, 28, "protocol default")
    assert "70 Gy" in problems["PRESCRIPTION_ASSUMED"].message


def test_without_plan_a_generic_name_needs_a_protocol_that_somebody_named() -> None:
    prescription, problems = found(targets("PTV"), None, single=True)
    assert prescription is None
    assert "--protocol" in problems["PRESCRIPTION_UNKNOWN"].remedy
    prescription, problems = found(targets("PTV"), None, Given(), single=True)
    assert prescription == Prescription({"PTV_7000": 70.0}, 28, "protocol default")
    assert set(problems) == {"PRESCRIPTION_ASSUMED"}


def test_defaults_do_not_go_with_fractions_or_doses_of_others() -> None:
    assert found(targets("PTV 70", "PTV 56"), None, Given(fractions=20))[0] is None
    assert found(targets("PTV 70", "PTV 56"), None, Given({"PTV_7000": 60.0}))[0] is None
    assert found(targets("PTV 70", "PTV 56"), None, Given({"PTV_7000": 60.0, "PTV_5600": 48.0}))[0] is None
    prescription, problems = found(targets("PTV 70", "PTV 56"), None, Given({"PTV_7000": 60, "PTV_5600": 48}, 20))
    assert prescription == Prescription({"PTV_7000": 60, "PTV_5600": 48}, 20, "command line")
    assert set(problems) == {"PRESCRIPTION_NAME"}


def test_a_plan_without_fractions_is_not_given_the_protocols() -> None:
    prescription, problems = found(targets("PTV 70"), planned(by_roi(70, 1), fractions=None), single=True)
    assert prescription is None
    assert "fractions" in problems["PRESCRIPTION_UNKNOWN"].message
    prescription, _ = found(targets("PTV 70"), planned(by_roi(70, 1), fractions=None), Given(fractions=28), single=True)
    assert prescription is not None
    assert prescription.fractions == 28


def test_a_dose_that_contradicts_the_name_is_used_and_said() -> None:
    prescription, problems = found(targets("PTV 70"), planned(by_roi(60, 1), fractions=20), single=True)
    assert prescription is not None
    assert prescription.dose_gy == {"PTV_7000": 60.0}
    assert "its name says 70 Gy" in problems["PRESCRIPTION_NAME"].message
