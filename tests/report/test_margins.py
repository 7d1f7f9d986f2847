"""Margins of goals in closed form, and which goals come first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmat_rt.report.band_entries import BandEntry, BandsEntry
from vmat_rt.report.document import build_report_document
from vmat_rt.report.margins import build_goal_marks, compute_margin, describe_limit, judge_urgency, list_missed
from vmat_rt.report.result import CaseResult
from vmat_rt.report.schema import GoalEntry


def goal(entry: GoalEntry, comparison: str, limit: float | None, value: float | None, status: str) -> GoalEntry:
    changed = {"comparison": comparison, "limit_evaluated": limit, "value": value, "status": status}
    return entry.model_copy(update=changed)


@pytest.fixture(scope="module")
def entry(result: CaseResult) -> GoalEntry:
    return build_report_document(result, {}).predicted.goals[0].model_copy(update={"unit_evaluated": "Gy"})


@pytest.mark.parametrize(
    ("comparison", "limit", "value", "status", "amount", "percent", "text"),
    [
        ("<", 20.0, 15.0, "met", 5.0, 25.0, "5.0 Gy below the limit"),
        ("<", 20.0, 23.0, "missed", -3.0, -15.0, "3.0 Gy over the limit"),
        (">=", 95.0, 93.1, "missed", -1.9, -2.0, "1.9 Gy under the limit"),
        (">=", 95.0, 95.0, "met", 0.0, 0.0, "0.00 Gy above the limit"),
        ("<=", 0.0, 1.0, "missed", -1.0, None, "1.0 Gy over the limit"),
        ("<", 20.0, 20.0, "missed", 0.0, 0.0, "0.00 Gy over the limit"),
    ],
)
def test_a_margin_is_the_distance_from_the_limit(
    entry: GoalEntry, comparison: str, limit: float, value: float, status: str, amount: float,
    percent: float | None, text: str,
) -> None:  # fmt: skip
    margin = compute_margin(goal(entry, comparison, limit, value, status))
    assert margin is not None
    assert margin.amount == pytest.approx(amount)
    assert margin.percent == (pytest.approx(percent) if percent is not None else None)
    assert margin.text == text


def test_without_a_value_there_is_no_margin(entry: GoalEntry) -> None:
    assert compute_margin(goal(entry, "<", 20.0, None, "not evaluable")) is None
    assert compute_margin(goal(entry, "<", None, 3.0, "not evaluable")) is None


@pytest.mark.parametrize(
    ("value", "status", "urgency"),
    [(19.5, "met", "near"), (18.9, "met", "clear"), (20.5, "missed", "missed"), (19.9, "vacuous", "clear"),
     (None, "not evaluable", "clear")],
)  # fmt: skip
def test_near_is_met_by_less_than_5_percent_of_the_limit(
    entry: GoalEntry, value: float | None, status: str, urgency: str
) -> None:
    assert judge_urgency(goal(entry, "<", 20.0, value, status)) == urgency


def test_missed_goals_come_worst_first_and_once(entry: GoalEntry) -> None:
    little, much = (goal(entry, "<", 20.0 + i, value, "missed") for i, value in enumerate((21.0, 40.0)))
    other_set = little.model_copy(update={"goal_set": "another"})
    no_scale = goal(entry, "<=", 0.0, 3.0, "missed")
    kept = goal(entry, "<", 20.0, 10.0, "met")
    assert list_missed([little, no_scale, kept, much, other_set]) == [much, little, no_scale]


def test_there_is_a_mark_for_each_row_of_each_table(result: CaseResult) -> None:
    document = build_report_document(result, {})
    marks = build_goal_marks(document)
    assert [len(table) for table in marks] == [len(goals) for goals in result.predicted.goals.values()]


def test_a_goal_of_a_calibrated_metric_shows_its_band(result: CaseResult) -> None:
    goal = build_report_document(result, {}).predicted.goals[0]
    band = BandEntry(structure=goal.structure, metric=goal.metric_evaluated, low=41.66, high=51.2, cases=33, reason="")
    none = band.model_copy(update={"structure": "Bladder", "low": None, "high": None, "reason": "too few"})
    bands = BandsEntry(level_percent=90, cases=33, data="none", simulated=False, metrics=[band, none], curves=[])
    marks = build_goal_marks(build_report_document(replace(result, bands=bands), {}))
    assert marks[0][0].band == f"41.7 to 51.2 {goal.unit_evaluated}"
    assert {mark.band for mark in marks[0][1:]} <= {"", marks[0][0].band}


def test_a_limit_is_described_as_evaluated(entry: GoalEntry) -> None:
    described = describe_limit(goal(entry, "<=", 51.618, 3.0, "met").model_copy(update={"metric_evaluated": "Dmean"}))
    assert described == "Dmean ≤ 51.6 Gy"
