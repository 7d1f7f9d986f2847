"""A goal with arms: met where one is, missed where all are, and open where one that could decide cannot be judged."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest

from tests.metrics.doses import GRID, volume
from tests.metrics.test_goals import CONVENTIONAL, make_goal
from vmat_rt.case import Structure, Volume
from vmat_rt.errors import ConfigError
from vmat_rt.metrics.dvh.compute import Dvh, compute_dvh
from vmat_rt.metrics.goals import GoalResult, check_goals
from vmat_rt.protocol import EitherGoal, GoalSet, load_protocol

VALUES = {"met": 15.0, "missed": 25.0, "far missed": 40.0}


def gland(name: str, dose_gy: float) -> Dvh:
    mask = np.zeros(GRID.shape, np.float32)
    mask[3:8, 4:10, 5:12] = 1
    return compute_dvh(Structure(name, name, Volume(GRID, mask)), volume(np.full(GRID.shape, dose_gy)))


GLANDS = {(name, kind): gland(name, dose) for name in ("Parotid_L", "Parotid_R") for kind, dose in VALUES.items()}


def judge(left: str, right: str, limits: tuple[float, float] = (20, 20)) -> GoalResult:
    arms = [make_goal(f"Parotid_{s}", "Dmean", "<", limit, "Gy") for s, limit in zip("LR", limits, strict=True)]
    goal_set = GoalSet(name="g", title="g", goals=(EitherGoal(either=tuple(arms), note="one suffices"),))
    kinds = zip(("Parotid_L", "Parotid_R"), (left, right), strict=True)
    (result,) = check_goals(goal_set, {n: GLANDS[n, k] for n, k in kinds if k != "absent"}, CONVENTIONAL)
    return result


@pytest.mark.parametrize(("left", "right"), list(product(("met", "missed", "absent"), repeat=2)))
def test_the_verdict_follows_from_the_arms(left: str, right: str) -> None:
    result = judge(left, right)
    wanted = "met" if "met" in (left, right) else "not evaluable" if "absent" in (left, right) else "missed"
    assert result.status == wanted
    assert [arm.status for arm in result.arms] == [{"absent": "not evaluable"}.get(k, k) for k in (left, right)]
    assert result.structure == "Parotid_L or Parotid_R"


def test_the_arm_that_decides_gives_the_numbers() -> None:
    assert judge("missed", "met").value == 15
    assert judge("met", "absent").value == 15
    assert judge("far missed", "missed").value == 25
    assert judge("missed", "absent").value is None


def test_what_is_unknown_is_said_of_each_arm() -> None:
    reason = judge("missed", "absent").reason
    assert "Parotid_L is missed" in reason
    assert "no Parotid_R contour" in reason
    assert judge("met", "absent").reason == ""


def test_arms_may_ask_for_different_things() -> None:
    result = judge("missed", "missed", (20, 30))
    assert result.status == "met"
    assert result.stated == "Parotid_L Dmean < 20 Gy or Parotid_R Dmean < 30 Gy"
    assert judge("met", "met").stated == "Parotid_L or Parotid_R Dmean < 20 Gy"


def test_all_of_it_is_json() -> None:
    plain = json.loads(json.dumps(judge("missed", "absent").as_dict()))
    assert [arm["structure"] for arm in plain["arms"]] == ["Parotid_L", "Parotid_R"]
    assert [arm["status"] for arm in plain["arms"]] == ["missed", "not evaluable"]
    assert (plain["status"], plain["note"]) == ("not evaluable", "one suffices")


def test_one_parotid_suffices_in_the_packaged_protocol() -> None:
    (quantec,) = (s for s in load_protocol("head_neck_70").goal_sets if s.name == "quantec")
    (either,) = (goal for goal in quantec.goals if isinstance(goal, EitherGoal))
    assert [(arm.structure, arm.metric, arm.limit) for arm in either.either] == [
        ("Parotid_L", "Dmean", 20),
        ("Parotid_R", "Dmean", 20),
    ]


def test_one_arm_alone_is_no_choice(tmp_path: object) -> None:
    with pytest.raises(ValueError, match="at least 2 items"):
        EitherGoal(either=(make_goal("Rectum", "Dmax", "<", 1, "Gy"),))


def test_a_metric_that_is_none_is_refused_in_an_arm() -> None:
    arms = (make_goal("Rectum", "Dmax", "<", 1, "Gy"), make_goal("Rectum", "D?", "<", 1, "Gy"))
    with pytest.raises(ConfigError, match="not a dose-volume metric"):
        check_goals(GoalSet(name="g", title="g", goals=(EitherGoal(either=arms),)), {}, CONVENTIONAL)
