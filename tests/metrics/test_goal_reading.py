"""Goals on a bar that leaves the dose grid: what lies outside might get any dose, or none."""

from __future__ import annotations

import pytest

from tests.metrics.dvh.test_coverage import DOSE, FACES, bar, gy
from tests.metrics.test_goals import CONVENTIONAL, make_goal
from vmat_rt.metrics.dvh.compute import Dvh, compute_dvh
from vmat_rt.metrics.goals import check_goal

HOT = gy(FACES[0] + 45.0)
"""Dose at the end of the bar that lies inside."""


@pytest.fixture(scope="module")
def cut() -> Dvh:
    """60 mm long, a quarter of it outside."""
    return compute_dvh(bar(FACES[0] - 15.0, FACES[0] + 45.0), DOSE)


@pytest.fixture(scope="module")
def mostly_outside() -> Dvh:
    return compute_dvh(bar(FACES[0] - 75.0, FACES[0] + 45.0), DOSE)


@pytest.mark.parametrize(
    ("metric", "limit", "unit"),
    [
        ("Dmax", HOT + 5, "Gy"),
        ("D2%", HOT + 5, "Gy"),
        ("Dmean", HOT + 5, "Gy"),
        (f"V{HOT - 8:.2f}Gy", 30, "%"),
        (f"V{HOT - 8:.2f}Gy[cc]", 3, "cc"),
    ],
)
def test_an_upper_limit_is_not_met_where_a_part_lies_outside(cut: Dvh, metric: str, limit: float, unit: str) -> None:
    assert cut.value("Dmax") == pytest.approx(HOT, abs=0.1)
    result = check_goal(make_goal("Rectum", metric, "<=", limit, unit), cut, CONVENTIONAL)
    assert (result.status, result.value) == ("not evaluable", None)
    assert "25.0 % of it (1.8 cc) lies outside the dose grid" in result.reason


@pytest.mark.parametrize(
    ("metric", "limit", "unit", "at_least"),
    [
        ("Dmax", HOT - 5, "Gy", HOT),
        ("D10%", HOT - 8, "Gy", gy(FACES[0] + 45 - 6)),
        (f"V{HOT - 8:.2f}Gy", 10, "%", 100 * 10 / 60),
        (f"V{HOT - 8:.2f}Gy[cc]", 1, "cc", 1.2),
    ],
)
def test_an_upper_limit_that_the_part_inside_exceeds_is_missed(
    cut: Dvh, metric: str, limit: float, unit: str, at_least: float
) -> None:
    """10 mm of the bar get more than 8 Gy (0.8 Gy/mm) below its hottest end; outside it all gets nothing."""
    result = check_goal(make_goal("Rectum", metric, "<=", limit, unit), cut, CONVENTIONAL)
    assert result.status == "missed"
    assert result.value == pytest.approx(at_least, rel=0.01)
    assert result.reason.startswith("at least that: 25.0 %")


def test_a_lower_limit_is_missed_where_no_dose_outside_could_mend_it(cut: Dvh) -> None:
    """With all of the quarter outside at any dose, D95 % is that of 70 % of the bar, inside."""
    best = gy(FACES[0] + 45 - (0.95 - 0.25) * 60)
    for limit, status in ((best + 3, "missed"), (best - 3, "not evaluable"), (gy(FACES[0]) - 20, "not evaluable")):
        result = check_goal(make_goal("Rectum", "D95%", ">=", limit, "Gy"), cut, CONVENTIONAL)
        assert result.status == status, limit
    missed = check_goal(make_goal("Rectum", "D95%", ">=", best + 3, "Gy"), cut, CONVENTIONAL)
    assert missed.value == pytest.approx(best, abs=0.15)
    assert missed.reason.startswith("at most that")


def test_a_structure_mostly_outside_can_still_miss_but_not_meet(mostly_outside: Dvh) -> None:
    assert mostly_outside.value("Dmax") is None
    missed = check_goal(make_goal("SpinalCord", "Dmax", "<=", HOT - 5, "Gy"), mostly_outside, CONVENTIONAL)
    assert (missed.status, missed.value) == ("missed", pytest.approx(HOT, abs=0.1))
    unknown = check_goal(make_goal("SpinalCord", "Dmax", "<=", HOT + 5, "Gy"), mostly_outside, CONVENTIONAL)
    assert unknown.status == "not evaluable"
    assert "only 37.5 % of it lies in the dose grid" in unknown.reason


def test_wholly_inside_it_is_met_and_wholly_outside_it_is_not_known() -> None:
    goal = make_goal("Rectum", "Dmax", "<=", HOT + 5, "Gy")
    inside = compute_dvh(bar(FACES[0] + 1.0, FACES[0] + 45.0), DOSE)
    assert check_goal(goal, inside, CONVENTIONAL).status == "met"
    outside = compute_dvh(bar(FACES[0] - 45.0, FACES[0] - 5.0), DOSE)
    result = check_goal(goal, outside, CONVENTIONAL)
    assert (result.status, result.value) == ("not evaluable", None)
    assert "outside the dose grid" in result.reason
