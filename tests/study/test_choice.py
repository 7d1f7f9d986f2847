"""Doses and fractions that a caller gives: before what the case has, and refused where they cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from tests.baseline.patients import patient, small_grid
from vmat_rt.errors import ConfigError, InputError
from vmat_rt.protocol import load_protocol
from vmat_rt.study.choice import AS_FOUND, StudyChoice, prescribed

PROTOCOL = load_protocol("head_neck_70")


@pytest.mark.parametrize(
    "wrong",
    [
        {"prescription_gy": {"PTV_7000": 0.0}},
        {"prescription_gy": {"PTV_7000": 200.0}},
        {"prescription_gy": {"PTV_7000": 70.0, "PTV_5600": float("nan")}},
        {"fractions": 0},
        {"fractions": 201},
    ],
)
def test_doses_and_fractions_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        StudyChoice(**wrong)


def test_as_found_leaves_a_case_as_it_is() -> None:
    case = patient(small_grid())
    assert prescribed(case, PROTOCOL, AS_FOUND) is case


def test_what_is_given_goes_before_what_the_case_has() -> None:
    case = patient(small_grid())
    prescription = prescribed(
        case, PROTOCOL, StudyChoice(prescription_gy={"PTV_7000": 66.0}, fractions=33)
    ).prescription
    assert prescription.dose_gy == {"PTV_7000": 66.0, "PTV_5600": 56.0}
    assert prescription.fractions == 33
    assert prescription.source == "test, changed by the caller"
    assert case.prescription.dose_gy["PTV_7000"] == 70.0


def test_fractions_alone_can_be_given() -> None:
    prescription = prescribed(patient(small_grid()), PROTOCOL, StudyChoice(fractions=30)).prescription
    assert (prescription.dose_gy["PTV_7000"], prescription.fractions) == (70.0, 30)


def test_a_dose_for_what_is_not_a_target_names_the_targets() -> None:
    with pytest.raises(ConfigError, match="PTV_5600, PTV_6300, PTV_7000"):
        prescribed(patient(small_grid()), PROTOCOL, StudyChoice(prescription_gy={"Larynx": 50.0}))


def test_every_target_without_contours_is_named() -> None:
    case = patient(small_grid())
    structures = {name: one for name, one in case.structures.items() if name != "PTV_5600"}
    bare = type(case)(case.key, case.ct, structures, case.body, case.prescription, case.protocol_name)
    with pytest.raises(InputError) as refusal:
        prescribed(bare, PROTOCOL, StudyChoice(prescription_gy={"PTV_6300": 63.0, "PTV_5600": 56.0}))
    assert [problem.code for problem in refusal.value.problems] == ["TARGET_MISSING"] * 2
