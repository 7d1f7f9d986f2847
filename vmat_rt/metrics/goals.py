"""Planning goals: is what a protocol asks for reached by a plan?

A goal is met, missed, not evaluable (why) or vacuous. A goal that was published at another dose per fraction is
converted (vmat_rt.metrics.fractionation) and reported both as stated and as evaluated. A goal with several arms is met
where one of them is; an arm that cannot be judged makes it neither met nor missed.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from vmat_rt.case import Prescription
from vmat_rt.errors import ConfigError
from vmat_rt.metrics.dvh.compute import Dvh
from vmat_rt.metrics.fractionation import convert_level_gy, fractionates_otherwise
from vmat_rt.metrics.goal_reading import read_goal
from vmat_rt.metrics.grammar import Metric, parse_metric
from vmat_rt.metrics.shells import ShellDvh
from vmat_rt.protocol import EitherGoal, Goal, GoalSet, Protocol

Status = Literal["met", "missed", "not evaluable", "vacuous"]

REACHABLE = 1.07
"""Dose that a plan can be expected to reach, as a fraction of the highest prescription: ICRU 50 and 62 hold targets to
95-107 %. An upper limit on what lies above it is fulfilled by any acceptable plan."""

_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_ROUNDING = 1e-6


@dataclass(frozen=True)
class GoalResult:
    """One goal and what became of it.

    metric_stated and limit_stated are the protocol's, in its own words; metric and limit what was compared, the dose
    levels being physical dose in this plan's fractions. value has the unit of limit, or is None with a reason.
    converted says whether metric or limit were converted. judged_on: what the value is of, the structure or the shell
    of a target; whole_value: the metric of the whole target where that is not the same. Of an EitherGoal arms are the
    results of its arms, and all else but status and reason is that of the arm that decides.
    """

    goal: Goal | EitherGoal
    metric_stated: str
    limit_stated: str
    metric: str
    limit: float | None
    unit: str
    value: float | None
    status: Status
    reason: str = ""
    converted: bool = False
    judged_on: str = ""
    whole_value: float | None = None
    arms: tuple[GoalResult, ...] = ()

    @property
    def structure(self) -> str:
        """TG-263 name; of an EitherGoal those of its arms, with "or" between."""
        return self.goal.structure

    @property
    def stated(self) -> str:
        """The goal as its protocol states it: `Rectum V70Gy < 20 %`, `Parotid_L or Parotid_R Dmean < 20 Gy`."""
        if len({(arm.metric_stated, arm.limit_stated) for arm in self.arms}) > 1:
            return " or ".join(arm.stated for arm in self.arms)
        return f"{self.structure} {self.metric_stated} {self.limit_stated}"

    @property
    def single(self) -> Goal:
        """The goal that the numbers belong to: of an EitherGoal the arm that decides."""
        return self.goal if isinstance(self.goal, Goal) else find_deciding_arm(self.arms).single

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the goal's source and note stand beside the result."""
        goal = self.single
        plain = {key: value for key, value in vars(self).items() if key not in {"goal", "arms"}}
        return {
            "structure": self.structure,
            "comparison": goal.comparison,
            **plain,
            "source": goal.source,
            "note": self.goal.note,
            "alpha_beta_gy": goal.alpha_beta_gy,
            "alpha_beta_source": goal.alpha_beta_source,
            "derived_at_gy_per_fraction": goal.derived_at_gy_per_fraction,
            "arms": [arm.as_dict() for arm in self.arms],
        }


@dataclass(frozen=True)
class _Question:
    """A goal as it applies to one plan: metric, limit in `unit`, and whether they were converted."""

    metric: Metric
    limit: float
    unit: str
    converted: bool


def check_goals(
    goal_set: GoalSet,
    dvhs: Mapping[str, Dvh],
    prescription: Prescription | None,
    shells: Mapping[str, ShellDvh] | None = None,
) -> tuple[GoalResult, ...]:
    """Results in the order of the goals. dvhs and shells are keyed by TG-263 name.

    A target that has a shell is judged on it, unless the goal asks for the whole. Percent of the prescription is of the
    structure's own where it has one, else of the highest. Without a prescription, goals that need one, or its
    fractions, are not evaluable. Raises ConfigError when a goal's metric is none or does not go with its unit.
    """
    return tuple(_check_any(goal, dvhs, prescription, shells or {}) for goal in goal_set.goals)


def check_goal_sets(
    protocol: Protocol,
    dvhs: Iterable[Dvh],
    prescription: Prescription | None,
    shells: Mapping[str, ShellDvh] | None = None,
) -> dict[str, tuple[GoalResult, ...]]:
    """Results of every goal set of a protocol, by its name; DVHs without a TG-263 name do not count."""
    by_name = {dvh.name: dvh for dvh in dvhs if dvh.name is not None}
    return {goal_set.name: check_goals(goal_set, by_name, prescription, shells) for goal_set in protocol.goal_sets}


def _check_any(
    goal: Goal | EitherGoal,
    dvhs: Mapping[str, Dvh],
    prescription: Prescription | None,
    shells: Mapping[str, ShellDvh],
) -> GoalResult:
    if isinstance(goal, EitherGoal):
        return _join_arms(goal, tuple(_check_any(arm, dvhs, prescription, shells) for arm in goal.either))
    whole = dvhs.get(goal.structure)
    shell = shells.get(goal.structure) if goal.part != "whole" else None
    if shell is None or whole is None:
        return check_goal(goal, whole, prescription)
    result = check_goal(goal, shell.dvh, prescription)
    of_whole = check_goal(goal, whole, prescription)
    return replace(result, judged_on=shell.shell.label, whole_value=of_whole.value)


def _join_arms(goal: EitherGoal, arms: tuple[GoalResult, ...]) -> GoalResult:
    """Met where an arm is, missed where all are; else what the arms that cannot be judged leave open."""
    deciding = find_deciding_arm(arms)
    reasons = [arm.reason or f"{arm.structure} is {arm.status}" for arm in arms]
    reason = "" if deciding.status in {"met", "missed"} else "; ".join(reasons)
    judged = " or ".join(dict.fromkeys(arm.judged_on for arm in arms))
    return replace(deciding, goal=goal, reason=reason, judged_on=judged, whole_value=None, arms=arms)


def find_deciding_arm(arms: Sequence[GoalResult]) -> GoalResult:
    """The first arm that is met, or vacuous; without one the first that cannot be judged; else the one that misses by
    the least part of its limit.
    """
    for status in ("met", "vacuous", "not evaluable"):
        for arm in arms:
            if arm.status == status:
                return arm
    return min(arms, key=_measure_miss)


def _measure_miss(arm: GoalResult) -> float:
    if arm.value is None or not arm.limit:
        return float("inf")
    return abs(arm.value - arm.limit) / abs(arm.limit)


def check_goal(goal: Goal, dvh: Dvh | None, prescription: Prescription | None) -> GoalResult:
    """The result of one goal; dvh is None when the structure is not contoured. Errors as in check_goals."""
    metric = parse_goal_metric(goal)
    own_gy = _find_own_prescription_gy(goal, prescription)
    question = _convert_goal(goal, metric, prescription, own_gy)
    if isinstance(question, str):
        return _make_unknown(goal, metric, None, question)
    if dvh is None:
        return _make_unknown(goal, metric, _reject_guess(goal, question, prescription), f"no {goal.structure} contour")
    upper = goal.comparison in {"<", "<="}
    reading = read_goal(dvh, question.metric, own_gy, upper=upper)
    reached = reading.value is not None and _is_reached(goal, reading.value, question.limit)
    if reading.value is None or (reached and reading.bound):
        return _make_unknown(goal, metric, question, f"{goal.structure}: {reading.reason}")
    status: Status = "met" if reached else "missed"
    reason = f"at {'least' if upper else 'most'} that: {reading.reason}" if reading.bound else ""
    if status == "met" and prescription is not None:
        reason = _explain_vacuous(goal, question, prescription.highest_gy)
        status = "vacuous" if reason else "met"
    return GoalResult(
        goal, str(metric), _describe_goal(goal), str(question.metric), question.limit, question.unit,
        reading.value, status, reason, question.converted, goal.structure,
    )  # fmt: skip


def parse_goal_metric(goal: Goal) -> Metric:
    """Parse the goal's metric. Raises ConfigError when it is not one, or when the unit of its limit does not fit it."""
    metric = parse_metric(goal.metric)
    allowed = {"Gy": {"Gy", "% of prescription"}, "%": {"%"}, "cc": {"cc"}, "": set[str]()}[metric.unit]
    if metric.is_dose and metric.unit == "%":
        allowed = {"%", "% of prescription"}
    if goal.unit not in allowed:
        wanted = " or ".join(sorted(allowed)) or "no unit (HI and CI cannot be goals)"
        raise ConfigError(f"{goal.structure} {goal.metric}: the limit's unit must be {wanted}, not {goal.unit}")
    return metric


def _convert_goal(
    goal: Goal, metric: Metric, prescription: Prescription | None, own_gy: float | None
) -> _Question | str:
    """The goal in physical dose of this plan, or why it cannot be asked."""
    if goal.unit == "% of prescription":
        if own_gy is None:
            return "no prescription is known"
        return _Question(Metric(metric.kind, metric.number, "Gy"), goal.limit / 100 * own_gy, "Gy", False)
    as_stated = _Question(metric, goal.limit, goal.unit, False)
    if goal.alpha_beta_gy is None or goal.derived_at_gy_per_fraction is None:
        return as_stated
    level_gy = _find_level_gy(goal, metric)
    if level_gy is None:
        return as_stated
    if prescription is None:
        return "no prescription is known, so the dose level cannot be converted to this plan's fractions"
    derived_gy = goal.derived_at_gy_per_fraction
    if not fractionates_otherwise(prescription.highest_gy / prescription.fractions, derived_gy):
        return as_stated
    physical = convert_level_gy(level_gy, derived_gy, prescription.fractions, goal.alpha_beta_gy)
    if metric.kind == "volume_at_gy":
        return _Question(metric.at(round(physical, 2)), goal.limit, goal.unit, True)
    return _Question(metric, physical, goal.unit, True)


def _reject_guess(goal: Goal, question: _Question, prescription: Prescription | None) -> _Question | None:
    """The question, unless its limit in Gy would be a share of a dose that nobody prescribed to this structure."""
    prescribed = prescription is not None and goal.structure in prescription.dose_gy
    return question if prescribed or goal.unit != "% of prescription" else None


def _find_level_gy(goal: Goal, metric: Metric) -> float | None:
    """The dose in Gy that a goal names, as V's level or as the limit; None when it names none."""
    if metric.kind == "volume_at_gy":
        return metric.number
    return goal.limit if metric.is_dose and goal.unit == "Gy" else None


def _find_own_prescription_gy(goal: Goal, prescription: Prescription | None) -> float | None:
    if prescription is None or not prescription.dose_gy:
        return None
    return prescription.dose_gy.get(goal.structure, prescription.highest_gy)


def _is_reached(goal: Goal, value: float, limit: float) -> bool:
    """Whether value and limit stand as the goal wants; equality allows for rounding."""
    if abs(value - limit) <= _ROUNDING * max(abs(limit), 1):
        return goal.comparison in {"<=", ">="}
    return bool(_COMPARE[goal.comparison](value, limit))


def _explain_vacuous(goal: Goal, question: _Question, highest_gy: float) -> str:
    """Why an upper limit that is met says nothing, or "" when it does say something."""
    if goal.comparison in {">", ">="}:
        return ""
    metric = question.metric
    level = metric.number if metric.kind == "volume_at_gy" else question.limit if question.unit == "Gy" else None
    reach = REACHABLE * highest_gy
    if level is None or level <= reach * (1 + _ROUNDING):
        return ""
    return f"{level:.1f} Gy lies above {100 * REACHABLE:.0f} % of the highest prescription ({reach:.1f} Gy)"


def _describe_goal(goal: Goal) -> str:
    return f"{goal.comparison} {goal.limit:g} {goal.unit}"


def _make_unknown(goal: Goal, metric: Metric, question: _Question | None, reason: str) -> GoalResult:
    asked = question.metric if question else metric
    limit, unit = (question.limit, question.unit) if question else (None, goal.unit)
    converted = question.converted if question else False
    return GoalResult(
        goal, str(metric), _describe_goal(goal), str(asked), limit, unit,
        None, "not evaluable", reason, converted, goal.structure,
    )  # fmt: skip
