"""How far a goal is from its limit, and which goals to name first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from vmat_rt.report.band_entries import BandsEntry
from vmat_rt.report.schema import GoalEntry, ReportDocument

NEAR_PERCENT: Final = 5.0
"""A goal that is met by less than this part of its limit is near: errors of a model are of that size."""

Urgency = Literal["missed", "near", "clear"]


@dataclass(frozen=True)
class Margin:
    """Distance from the limit in its own unit and in percent of it: positive where the goal is met.

    percent is None for a limit of 0; text says it in words.
    """

    amount: float
    percent: float | None
    text: str


def compute_margin(goal: GoalEntry) -> Margin | None:
    """The margin of a goal that has a value and a limit; None for any other."""
    if goal.value is None or goal.limit_evaluated is None:
        return None
    upper = goal.comparison in {"<", "<="}
    amount = goal.limit_evaluated - goal.value if upper else goal.value - goal.limit_evaluated
    percent = 100 * amount / abs(goal.limit_evaluated) if goal.limit_evaluated else None
    kept = goal.status != "missed"
    side = ("below" if upper else "above") if kept else ("over" if upper else "under")
    return Margin(amount, percent, f"{_write_amount(abs(amount))} {goal.unit_evaluated} {side} the limit")


def _write_amount(amount: float) -> str:
    """Two decimals where one would say 0."""
    return f"{amount:.1f}" if amount >= 0.05 else f"{amount:.2f}"


def judge_urgency(goal: GoalEntry) -> Urgency:
    """What a reader looks at first: missed goals, then those that are met by little."""
    if goal.status == "missed":
        return "missed"
    margin = compute_margin(goal)
    met = goal.status == "met" and margin is not None and margin.percent is not None
    return "near" if met and margin is not None and (margin.percent or 0.0) < NEAR_PERCENT else "clear"


def list_missed(goals: Iterable[GoalEntry]) -> list[GoalEntry]:
    """The missed goals, by their margin in percent of the limit, the worst first; one that two sets share once."""
    found: dict[tuple[str, str, float | None], GoalEntry] = {}
    for goal in goals:
        if goal.status == "missed":
            found.setdefault((goal.structure, goal.metric_evaluated, goal.limit_evaluated), goal)
    return sorted(found.values(), key=_rank)


def _rank(goal: GoalEntry) -> tuple[bool, float]:
    margin = compute_margin(goal)
    known = margin is not None and margin.percent is not None
    return not known, margin.percent if margin is not None and margin.percent is not None else 0.0


@dataclass(frozen=True)
class GoalMark:
    """What a row of the goal table says beside its verdict: urgency for the filter, margin and band in words."""

    urgency: Urgency
    margin: str
    band: str = ""


def build_goal_marks(document: ReportDocument) -> list[list[GoalMark]]:
    """Marks of the predicted dose's goals, in the order of the page's goal tables and of their rows."""
    bands = _write_bands(document.bands)
    return [
        [_mark(goal, bands) for goal in document.predicted.goals if goal.goal_set == goal_set.name]
        for goal_set in document.protocol.goal_sets
    ]


def _mark(goal: GoalEntry, bands: Mapping[tuple[str, str], str]) -> GoalMark:
    margin = compute_margin(goal)
    band = bands.get((goal.judged_on, goal.metric_evaluated), "")
    return GoalMark(
        judge_urgency(goal), margin.text if margin else "", f"{band} {goal.unit_evaluated}".rstrip() if band else ""
    )


def _write_bands(bands: BandsEntry | None) -> dict[tuple[str, str], str]:
    """`41.7 to 51.2` by structure and metric; a structure's shell has no band of its own."""
    if bands is None:
        return {}
    return {
        (band.structure, band.metric): f"{band.low:.1f} to {band.high:.1f}"
        for band in bands.metrics
        if band.low is not None and band.high is not None
    }


def name_judged(goal: GoalEntry) -> str:
    """What a goal is judged on: its structure, or the shell of it in words."""
    return goal.judged_on if goal.judged_on.startswith(f"{goal.structure} outside ") else goal.structure


def describe_limit(goal: GoalEntry) -> str:
    """`V50Gy < 50 %`, as evaluated."""
    limit = "?" if goal.limit_evaluated is None else f"{round(goal.limit_evaluated, 1):g}"
    return (
        f"{goal.metric_evaluated} {goal.comparison.replace('<=', '≤').replace('>=', '≥')} {limit} {goal.unit_evaluated}"
    )
