"""Goals and shells of an evaluated case: both arms, both parts, and nothing where nothing is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.evaluate.test_measures import PROTOCOL, measured, reference
from tests.metrics.test_either_goals import GLANDS
from tests.train.cohorts import RULE, patient
from vmat_rt.case import Case, Prescription, Volume
from vmat_rt.evaluate.clinical import collect_pairs
from vmat_rt.evaluate.goal_outcomes import count_goal_shares, judge_goals
from vmat_rt.evaluate.measures import measure
from vmat_rt.geometry.gridded import gridded
from vmat_rt.geometry.model_grid import model_grid
from vmat_rt.protocol import load_protocol
from vmat_rt.report.evaluation.goal_map import describe_goal, judge_goal
from vmat_rt.report.evaluation_schema import GoalOutcome


@pytest.fixture(scope="module")
def case() -> Case:
    drawn = patient(3)
    return gridded(drawn, model_grid(RULE, drawn))


def narrow(case: Case) -> Volume:
    """The reference dose cut off through the middle of the targets."""
    middle = case.ct.grid.shape[0] // 2
    dose = case.reference_dose
    assert dose is not None
    return Volume(dose.grid.crop((0, 0, 0), (middle, *dose.grid.shape[1:])), dose.array[:middle])


def test_a_lower_target_stands_whole_and_as_its_shell(case: Case) -> None:
    found = measured(case, reference(case) + 2)
    shell = next(result for result in found.structures if result.name == "PTV_5600 shell")
    whole = next(result for result in found.structures if result.name == "PTV_5600")
    assert (shell.outside, whole.outside) == ("PTV_7000 + 5 mm", "")
    assert shell.volume_cc is not None
    assert whole.volume_cc is not None
    assert shell.volume_cc < whole.volume_cc
    assert shell.prescription_gy == 56
    for metric in ("d95_gap_gy", "mean_gap_gy", "near_max_gap_gy"):
        assert found.metrics[f"{metric}:PTV_5600 shell"] == pytest.approx(2, abs=0.02)
    assert "CI" not in shell.predicted


def test_goals_of_the_lower_target_are_those_of_its_shell(case: Case) -> None:
    found = measured(case, reference(case))
    of_target = [goal for goal in found.goals if goal.structure == "PTV_5600"]
    assert {goal.judged_on for goal in of_target} == {"PTV_5600 outside PTV_7000 + 5 mm"}
    shell = next(result for result in found.structures if result.name == "PTV_5600 shell")
    d2 = next(goal for goal in of_target if goal.metric == "D2%")
    assert d2.predicted == pytest.approx(shell.predicted["D2%"])
    assert describe_goal(d2) == "PTV_5600 shell D2% ≤ 59.92 Gy"
    assert {("PTV_5600 shell", "D2%")} <= {pair.name for pair in collect_pairs(_document(found.goals))}


def test_without_the_higher_target_there_is_no_shell(case: Case) -> None:
    without = replace(
        case,
        structures={name: s for name, s in case.structures.items() if name != "PTV_7000"},
        prescription=Prescription({"PTV_5600": 56.0}, 28, "test"),
    )
    found = measured(without, reference(case))
    assert "PTV_5600 shell" not in {result.name for result in found.structures}
    assert {goal.judged_on for goal in found.goals if goal.structure == "PTV_5600"} == {"PTV_5600"}


def test_what_cannot_be_judged_in_one_dose_is_not_compared(case: Case) -> None:
    """The absent organ's goals are null with a reason, and count in no share: unknown is neither zero nor agreement."""
    absent = measured(
        replace(case, structures={k: s for k, s in case.structures.items() if k != "Rectum"}), reference(case)
    )
    of_rectum = [goal for goal in absent.goals if goal.structure == "Rectum"]
    assert of_rectum
    for goal in of_rectum:
        assert (goal.predicted, goal.reference, goal.agrees) == (None, None, None)
        assert goal.predicted_reason == goal.reference_reason == "no Rectum contour"
        assert judge_goal(goal) == "not judged"
    assert count_goal_shares(of_rectum) == dict.fromkeys(
        ("goals_agreement_percent", "goals_met_percent", "goals_met_reference_percent")
    )


def test_a_dose_that_ends_within_the_targets_promises_nothing(case: Case) -> None:
    cut = replace(case, reference_dose=narrow(case))
    assert cut.reference_dose is not None
    found = measure(cut, cut.reference_dose, PROTOCOL, with_gamma=False, openkbp=False)
    statuses = {goal.predicted_status for goal in found.goals if goal.structure.startswith("PTV_")}
    assert statuses <= {"missed", "not evaluable"}
    assert all(goal.predicted_reason for goal in found.goals if goal.predicted_status == "not evaluable")


def test_both_arms_of_a_goal_stand_in_the_outcome() -> None:
    protocol = load_protocol("head_neck_70")
    prescription = Prescription({"PTV_7000": 70.0}, 35, "test")
    bare = replace(patient(3), prescription=prescription)
    predicted = {n: GLANDS[n, k] for n, k in (("Parotid_L", "met"), ("Parotid_R", "far missed"))}
    clinical = {n: GLANDS[n, k] for n, k in (("Parotid_L", "missed"), ("Parotid_R", "met"))}
    outcomes = judge_goals(bare, protocol, (predicted, {}), (clinical, {}))
    either = next(goal for goal in outcomes if goal.arms)
    assert [(arm.structure, arm.predicted_status, arm.reference_status) for arm in either.arms] == [
        ("Parotid_L", "met", "missed"),
        ("Parotid_R", "missed", "met"),
    ]
    assert (either.predicted_status, either.reference_status, either.agrees) == ("met", "met", True)
    assert describe_goal(either) == "Parotid_L or Parotid_R Dmean < 20 Gy"
    assert (either.predicted, either.reference) == (pytest.approx(15), pytest.approx(15))
    pairs = {pair.name: (pair.clinical, pair.predicted) for pair in collect_pairs(_document([either]))}
    assert pairs == {
        ("Parotid_L", "Dmean"): (pytest.approx(25), pytest.approx(15)),
        ("Parotid_R", "Dmean"): (pytest.approx(15), pytest.approx(40)),
    }


def _document(goals: list[GoalOutcome]):  # type: ignore[no-untyped-def]
    from tests.evaluate.documents import document

    return document("k", {"mae_gy": 1.0}).model_copy(update={"goals": goals})
