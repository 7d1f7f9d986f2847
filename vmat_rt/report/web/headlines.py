"""What must be known first: missed goals by name, coverage of the targets, how far the doses lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from vmat_rt.report.margins import compute_margin, describe_limit, judge_urgency, list_missed, name_judged
from vmat_rt.report.result import CaseResult
from vmat_rt.report.schema import ComparisonEntry, ReportDocument, StructureGap
from vmat_rt.report.tables import ABSENT, TargetTile, build_target_tiles, format_number
from vmat_rt.report.web.titles import title_doses

MOST_NAMED: Final = 3


@dataclass(frozen=True)
class MissedGoal:
    """A missed goal in words."""

    goal: str
    value: str
    margin: str


@dataclass(frozen=True)
class Headlines:
    """The top of the page. more: missed goals that are not named; gaps: how far other doses lie from the predicted."""

    goals: int
    missed: int
    near: int
    unknown: int
    named: Sequence[MissedGoal]
    targets: Sequence[TargetTile]
    gaps: Sequence[GapLine] = field(default_factory=list)

    @property
    def more(self) -> int:
        return self.missed - len(self.named)


@dataclass(frozen=True)
class GapLine:
    """One other dose: how far it lies from the predicted one, and what disagrees or cannot be compared."""

    text: str
    value: str
    note: str
    tone: Literal["plain", "warn"]


def build_headlines(result: CaseResult, document: ReportDocument) -> Headlines:
    """Everything at the top, from the document; a goal that two sets share counts once among the missed."""
    goals = document.predicted.goals
    missed = list_missed(goals)
    return Headlines(
        goals=len(goals),
        missed=len(missed),
        near=sum(judge_urgency(goal) == "near" for goal in goals),
        unknown=sum(goal.status == "not evaluable" for goal in goals),
        named=[
            MissedGoal(
                f"{name_judged(goal)} {describe_limit(goal)}",
                f"{format_number(goal.value)} {goal.unit_evaluated}",
                margin.text if (margin := compute_margin(goal)) else "",
            )
            for goal in missed[:MOST_NAMED]
        ],
        targets=build_target_tiles(document),
        gaps=_list_gaps(result, document),
    )


def _list_gaps(result: CaseResult, document: ReportDocument) -> list[GapLine]:
    titles = title_doses(result)
    lines = []
    for comparison in (document.comparison_with_baseline, document.comparison_with_clinical):
        if comparison is not None:
            shown = comparison.against == "geometric baseline" and result.baseline_was_shown
            other = titles[comparison.against]
            words = "dose it was shown" if shown else f"{other[:1].lower()}{other[1:]} dose"
            lines.append(_describe_gap(comparison, words, shown))
    return lines


def _describe_gap(comparison: ComparisonEntry, other: str, shown: bool) -> GapLine:
    parts = []
    flagged = [gap.name or gap.roi_name for gap in comparison.structures if gap.disagrees]
    if flagged:
        parts.append(f"⚠ {', '.join(flagged[:3])}{' and others' if len(flagged) > 3 else ''} beyond the action levels")
    unknown = [gap.name or gap.roi_name for gap in comparison.structures if cannot_compare(gap)]
    if unknown:
        parts.append(f"cannot compare {', '.join(unknown[:3])}{' and others' if len(unknown) > 3 else ''}")
    if shown:
        parts.append("no independent check: both err together")
    if comparison.mae_body_gy is None:
        return GapLine(f"Cannot compare with the {other}", ABSENT, "; ".join(parts), "warn")
    words = f"Differs from the {other}, mean in the body, by"
    return GapLine(words, f"{comparison.mae_body_gy:.2f} Gy", "; ".join(parts), "warn" if flagged else "plain")


def cannot_compare(gap: StructureGap) -> bool:
    """Whether the number that its action level is about does not exist for one of the doses."""
    return (gap.d95_gap_gy if gap.role == "target" else gap.mean_gap_gy) is None
