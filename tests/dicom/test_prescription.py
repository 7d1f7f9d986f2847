"""Which dose each target gets: what is given, else the plan by number, else by label, else the protocol.

Covers vmat_rt.assembly.prescription.
"""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from vmat_rt.case import Structure
from vmat_rt.dicom.plan import Plan
from vmat_rt.dicom.prescription import find_prescription
from vmat_rt.errors import ConfigError
from vmat_rt.protocol import load_protocol

SIB = load_protocol("prostate_sib_70_56")
HIGH, LOW = (Structure(name.lower(), name, None, number) for number, name in ((4, "PTV_7000"), (9, "PTV_5600")))


def plan(by_number: dict[int, float] | None = None, by_label: dict[str, float] | None = None) -> Plan:
    return Plan("1.2", Dataset(), 20, by_number or {}, (), "1.3", by_label or {})


def found(
    plan_: Plan | None, given: dict[str, float] | None = None, fractions: int | None = None
) -> tuple[object, ...]:
    prescription, problems = find_prescription([HIGH, LOW], SIB, plan_, given or {}, fractions)
    assert problems == ()
    assert prescription is not None
    return dict(prescription.dose_gy), prescription.fractions, prescription.source


def test_without_a_plan_the_protocol_says_it() -> None:
    assert found(None) == ({"PTV_7000": 70.0, "PTV_5600": 56.0}, SIB.fractions, "protocol default")


def test_the_plan_goes_before_the_protocol_and_its_numbers_before_its_labels() -> None:
    both = plan({4: 66.0}, {"PTV_7000": 1.0, "PTV_5600": 50.0})
    assert found(both) == ({"PTV_7000": 66.0, "PTV_5600": 50.0}, 20, "plan")


def test_what_is_given_goes_first_and_every_source_is_named() -> None:
    assert found(plan({4: 66.0}), {"PTV_5600": 52.0}) == (
        {"PTV_7000": 66.0, "PTV_5600": 52.0},
        20,
        "plan, command line",
    )
    _, fractions, source = found(None, fractions=31)
    assert (fractions, source) == (31, "protocol default (fractions: command line)")


def test_a_dose_for_what_is_not_contoured_is_a_problem() -> None:
    prescription, problems = find_prescription([HIGH], SIB, None, {"PTV_5600": 50.0}, None)
    assert prescription is None
    assert [problem.code for problem in problems] == ["TARGET_MISSING"]


def test_a_dose_for_what_is_no_target_is_refused_with_the_targets() -> None:
    with pytest.raises(ConfigError, match=r"'Rectum' is no target .* PTV_5600, PTV_7000"):
        find_prescription([HIGH], SIB, None, {"Rectum": 50.0}, None)


def test_a_target_that_nothing_gives_a_dose_to_is_named_with_an_example() -> None:
    silent = SIB.model_copy(
        update={"structures": tuple(spec.model_copy(update={"dose_gy": None}) for spec in SIB.structures)}
    )
    prescription, problems = find_prescription([HIGH, LOW], silent, plan({4: 70.0}), {}, None)
    assert prescription is None
    (problem,) = problems
    assert problem.code == "PRESCRIPTION_UNKNOWN"
    assert "--prescription PTV_5600=56" in problem.remedy
