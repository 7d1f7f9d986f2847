"""What became of each planning goal in a predicted dose and in its reference."""

from __future__ import annotations

from vmat_rt.case import Case
from vmat_rt.metrics.dvh.compute import Dvh
from vmat_rt.metrics.goals import GoalResult, check_goal_sets
from vmat_rt.metrics.shells import ShellDvh
from vmat_rt.protocol import Protocol
from vmat_rt.report.evaluation_schema import GoalOutcome

Measured = tuple[dict[str, Dvh], dict[str, ShellDvh]]
"""DVHs of one dose: of structures and of shells, both by TG-263 name."""


def judge_goals(case: Case, protocol: Protocol, predicted: Measured, reference: Measured) -> list[GoalOutcome]:
    """Every goal of the protocol in the predicted dose and in the reference, in the protocol's order."""
    mine, theirs = (
        check_goal_sets(protocol, dvhs.values(), case.prescription, shells) for dvhs, shells in (predicted, reference)
    )
    return [_judge_goal(name, one, other) for name in mine for one, other in zip(mine[name], theirs[name], strict=True)]


def _judge_goal(goal_set: str, predicted: GoalResult, reference: GoalResult) -> GoalOutcome:
    judged = {predicted.status, reference.status} <= {"met", "missed"}
    return GoalOutcome(
        goal_set=goal_set,
        structure=predicted.structure,
        metric=predicted.metric,
        comparison=predicted.single.comparison,
        limit=predicted.limit,
        unit=predicted.unit,
        predicted=predicted.value,
        reference=reference.value,
        predicted_status=predicted.status,
        reference_status=reference.status,
        agrees=predicted.status == reference.status if judged else None,
        judged_on=predicted.judged_on,
        predicted_reason=predicted.reason,
        reference_reason=reference.reason,
        arms=[_judge_goal(goal_set, *pair) for pair in zip(predicted.arms, reference.arms, strict=True)],
    )


def count_goal_shares(goals: list[GoalOutcome]) -> dict[str, float | None]:
    """Shares of the goals that both doses can be judged by; None without any, as unknown is not zero."""
    judged = [goal for goal in goals if goal.agrees is not None]
    if not judged:
        return {"goals_agreement_percent": None, "goals_met_percent": None, "goals_met_reference_percent": None}
    shares = {
        "goals_agreement_percent": [goal.agrees is True for goal in judged],
        "goals_met_percent": [goal.predicted_status == "met" for goal in judged],
        "goals_met_reference_percent": [goal.reference_status == "met" for goal in judged],
    }
    return {name: 100 * sum(found) / len(judged) for name, found in shares.items()}
