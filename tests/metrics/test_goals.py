"""Goals: what passes, what fails, what cannot be decided, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.metrics.solids import CENTRE, FRAME, dose_grid
from vmat_rt.case import ContourPlane, Contours, Prescription, Structure, Volume
from vmat_rt.errors import ConfigError
from vmat_rt.metrics.dvh.compute import Dvh, compute_dvh
from vmat_rt.metrics.goals import GoalResult, check_goal, check_goals, parse_goal_metric
from vmat_rt.metrics.grammar import parse_metric
from vmat_rt.protocol import Goal, load_protocol, packaged_protocols

HYPO = Prescription({"PTV_7000": 70.0, "PTV_5600": 56.0}, 28, "test")
CONVENTIONAL = Prescription({"PTV_7000": 78.0}, 39, "test")


def make_goal(structure: str, metric: str, comparison: str, limit: float, unit: str, converted: bool = False) -> Goal:
    extra = {"alpha_beta_gy": 3.0, "derived_at_gy_per_fraction": 2.0} if converted else {}
    return Goal(structure=structure, metric=metric, comparison=comparison, limit=limit, unit=unit, source="x", **extra)


@pytest.fixture(scope="module")
def rectum() -> Dvh:
    """A 20 x 20 x 20 mm box in a dose that rises evenly from 40 Gy to 80 Gy along y."""
    grid = dose_grid(2.0)
    line = 60 + 2 * (grid.axis_mm(1) - CENTRE[1])
    dose = Volume(grid, np.broadcast_to(np.maximum(line, 0)[None, :, None], grid.shape).astype(np.float32))
    z, y, x = CENTRE
    ring = np.array([[y - 10, x - 10], [y - 10, x + 10], [y + 10, x + 10], [y + 10, x - 10]])
    planes = tuple(ContourPlane(z - 9 + 2 * k, (ring,)) for k in range(10))
    return compute_dvh(Structure("rect", "Rectum", Contours(planes, 2.0, FRAME)), dose)


@pytest.mark.parametrize(
    ("goal", "value", "status"),
    [
        (make_goal("Rectum", "V50Gy", "<=", 80, "%"), 75, "met"),
        (make_goal("Rectum", "V50Gy", "<", 70, "%"), 75, "missed"),
        (make_goal("Rectum", "V50Gy[cc]", "<", 6.1, "cc"), 6.0, "met"),
        (make_goal("Rectum", "D50%", "<", 55, "Gy"), 60, "missed"),
        (make_goal("Rectum", "Dmax", "<=", 107, "% of prescription"), 80, "missed"),
        (make_goal("Rectum", "Dmin", ">=", 50, "% of prescription"), 40, "met"),
        (make_goal("Rectum", "V95%", ">=", 20, "%"), 100 * (80 - 66.5) / 40, "met"),
        (make_goal("Rectum", "Dmean[%]", "<", 90, "%"), 100 * 60 / 70, "met"),
    ],
)
def test_values_and_status(rectum: Dvh, goal: Goal, value: float, status: str) -> None:
    result = check_goal(goal, rectum, HYPO)
    assert result.value == pytest.approx(value, abs=0.3)
    assert result.status == status
    assert not result.converted


def test_level_is_converted_and_both_are_shown(rectum: Dvh) -> None:
    result = check_goal(make_goal("Rectum", "V75Gy", "<", 15, "%", converted=True), rectum, HYPO)
    assert (result.metric_stated, result.limit_stated) == ("V75Gy", "< 15 %")
    assert result.metric == "V68.74Gy"
    assert result.value == pytest.approx(100 * (80 - 68.74) / 40, abs=0.3)
    assert result.converted
    assert result.status == "missed"


def test_dose_limit_is_converted(rectum: Dvh) -> None:
    result = check_goal(make_goal("Rectum", "Dmean", "<", 50, "Gy", converted=True), rectum, HYPO)
    assert result.metric == "Dmean"
    assert result.limit == pytest.approx(51.6, abs=0.05)
    assert result.limit_stated == "< 50 Gy"


def test_conventional_plans_are_not_converted(rectum: Dvh) -> None:
    result = check_goal(make_goal("Rectum", "V75Gy", "<", 15, "%", converted=True), rectum, CONVENTIONAL)
    assert result.metric == "V75Gy"
    assert not result.converted


def test_a_limit_above_what_the_plan_reaches_is_vacuous(rectum: Dvh) -> None:
    vacuous = check_goal(make_goal("Rectum", "V81Gy", "<", 15, "%"), rectum, HYPO)
    assert vacuous.status == "vacuous"
    assert vacuous.value == 0
    assert "81.0 Gy lies above 107 %" in vacuous.reason
    assert "74.9 Gy" in vacuous.reason
    assert check_goal(make_goal("Rectum", "Dmax", "<=", 85, "Gy"), rectum, HYPO).status == "vacuous"
    # 107 % itself is a real limit, and a limit that is exceeded is missed however high it lies.
    assert check_goal(make_goal("Rectum", "D50%", "<=", 107, "% of prescription"), rectum, HYPO).status == "met"
    assert check_goal(make_goal("Rectum", "V76Gy", "<", 5, "%"), rectum, HYPO).status == "missed"
    # To ask for at least a dose is never vacuous.
    assert check_goal(make_goal("Rectum", "Dmax", ">=", 78, "Gy"), rectum, HYPO).status == "met"


def test_quantec_levels_of_the_prostate_are_converted() -> None:
    """At 70 Gy in 28 fractions 75 Gy becomes 68.7 Gy, which a plan can exceed: unconverted it would be vacuous."""
    protocol = load_protocol("prostate_sib_70_56")
    quantec = next(s for s in protocol.goal_sets if s.name == "quantec")
    results = check_goals(quantec, {}, HYPO)
    levels = [parse_metric(r.metric).number for r in results if r.structure == "Rectum"]
    assert levels == pytest.approx([51.6, 58.8, 62.2, 65.5, 68.7], abs=0.05)
    assert all(r.converted for r in results)


def test_percent_refers_to_the_structures_own_prescription(rectum: Dvh) -> None:
    own = check_goal(make_goal("PTV_5600", "D50%", ">=", 100, "% of prescription"), rectum, HYPO)
    assert (own.limit, own.status) == (56.0, "met")
    other = check_goal(make_goal("Rectum", "D50%", ">=", 100, "% of prescription"), rectum, HYPO)
    assert (other.limit, other.status) == (70.0, "missed")


@pytest.mark.parametrize(
    ("goal", "dvh", "prescription", "reason"),
    [
        (make_goal("Rectum", "V50Gy", "<", 50, "%"), False, HYPO, "no Rectum contour"),
        (make_goal("Rectum", "V95%", ">=", 95, "%"), True, None, "needs a prescribed dose"),
        (make_goal("Rectum", "Dmax", "<=", 107, "% of prescription"), True, None, "no prescription"),
        (make_goal("Rectum", "V75Gy", "<", 15, "%", converted=True), True, None, "cannot be converted"),
        (make_goal("Rectum", "D100cc", "<", 15, "Gy"), True, HYPO, "less than 100 cc"),
    ],
)
def test_absent_is_not_zero(rectum: Dvh, goal: Goal, dvh: bool, prescription: Prescription | None, reason: str) -> None:
    result = check_goal(goal, rectum if dvh else None, prescription)
    assert result.value is None
    assert result.status == "not evaluable"
    assert reason in result.reason


def test_uncovered_structure_is_not_evaluable(rectum: Dvh) -> None:
    uncovered = Dvh("r", "Rectum", 10.0, 0.5, rectum.cumulative, None, reason="only 50.0 % of it lies in the dose grid")
    result = check_goal(make_goal("Rectum", "V50Gy", "<", 50, "%"), uncovered, HYPO)
    assert result.status == "not evaluable"
    assert "only 50.0 %" in result.reason


@pytest.mark.parametrize(
    "goal",
    [
        make_goal("Rectum", "V50Gy", "<", 50, "Gy"),
        make_goal("Rectum", "V45Gy", "<", 195, "cc"),
        make_goal("Rectum", "Dmax", "<", 50, "%"),
        make_goal("Rectum", "D95", ">", 50, "Gy"),
        make_goal("Rectum", "HI", "<", 10, "%"),
    ],
)
def test_unit_must_go_with_the_metric(goal: Goal) -> None:
    with pytest.raises(ConfigError):
        parse_goal_metric(goal)


@pytest.mark.parametrize("name", list(packaged_protocols()))
def test_every_packaged_goal_can_be_asked_and_written(name: str, rectum: Dvh) -> None:
    protocol = load_protocol(name)
    prescription = Prescription(protocol.default_prescription_gy(), protocol.fractions, "protocol")
    for goal_set in protocol.goal_sets:
        dvhs = {spec.name: rectum for spec in protocol.structures}
        results = check_goals(goal_set, dvhs, prescription)
        assert len(results) == len(goal_set.goals)
        assert all(isinstance(r, GoalResult) and r.value is not None for r in results)
        written = json.loads(json.dumps([r.as_dict() for r in results]))
        assert {"structure", "metric", "metric_stated", "limit", "value", "status", "source"} <= set(written[0])


def test_an_absent_target_that_nobody_prescribed_shows_no_limit() -> None:
    goal = make_goal("PTV_6300", "D98%", ">=", 95, "% of prescription")
    result = check_goal(goal, None, HYPO)
    assert (result.status, result.limit, result.reason) == ("not evaluable", None, "no PTV_6300 contour")
