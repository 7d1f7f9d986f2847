"""Which patients a simulated cohort holds, whatever the number of processes, the order of their ends or a kill."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmat_rt.cohort.place import Place
from vmat_rt.cohort.plan_folder import PlanFolder
from vmat_rt.errors import ConfigError, InputError, Problem, VmatError
from vmat_rt.simulate import MOST_REFUSED_IN_A_ROW, Outcome, first_accepted


def verdict(index: int, accepted: bool, seconds: float = 0.0) -> Outcome:
    time.sleep(seconds)
    return Outcome(str(index), "" if accepted else "too hot")


@given(
    verdicts=st.lists(st.booleans(), max_size=MOST_REFUSED_IN_A_ROW - 1),
    n=st.integers(1, 8),
    at_once=st.integers(1, 6),
    milliseconds=st.lists(st.integers(0, 3), min_size=1, max_size=7),
)
@settings(max_examples=60, deadline=None)
def test_the_cohort_is_the_first_accepted_whatever_ends_first(
    verdicts: list[bool], n: int, at_once: int, milliseconds: list[int]
) -> None:
    verdicts = [*verdicts, *([True] * n)]
    begun: list[int] = []
    with ThreadPoolExecutor(at_once) as pool:

        def begin(index: int) -> Future[Outcome]:
            begun.append(index)
            return pool.submit(verdict, index, verdicts[index], milliseconds[index % len(milliseconds)] / 1000)

        outcomes = list(first_accepted(begin, n, at_once))
    expected = [index for index, accepted in enumerate(verdicts) if accepted][:n]
    assert sorted(int(outcome.key) for outcome in outcomes if not outcome.refused) == expected
    assert begun == list(range(expected[-1] + 1)), "no index beyond the last accepted one is begun"
    assert len(outcomes) == len(begun)


def at_once(accepted: Callable[[int], bool]) -> Callable[[int], Future[Outcome]]:
    def begin(index: int) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        future.set_result(verdict(index, accepted(index)))
        return future

    return begin


def test_a_planner_that_accepts_nothing_does_not_run_for_ever() -> None:
    with pytest.raises(VmatError, match=f"{MOST_REFUSED_IN_A_ROW} plans .* too hot"):
        list(first_accepted(at_once(lambda _: False), 3, 2))


def test_refusals_between_acceptances_are_no_reason_to_stop() -> None:
    outcomes = list(first_accepted(at_once(lambda index: index % 10 == 9), 5, 1))
    assert len(outcomes) == 50


def test_what_a_worker_refuses_comes_whole_through_its_pipe() -> None:
    refusal = InputError((Problem("DISK_FULL", "The disk is full.", "Free some."), Problem("CT_GAP", "A gap.", "-")))
    back = pickle.loads(pickle.dumps(refusal))
    assert back.problems == refusal.problems
    assert str(back) == str(refusal)


@pytest.mark.parametrize("uri", ["{tmp}/cohort", "memory://plans/cohort"])
def test_doses_and_refusals_are_kept_beside_a_cohort_anywhere(uri: str, tmp_path: Path) -> None:
    plans = PlanFolder.of(Place.at(uri.format(tmp=tmp_path)))
    assert plans.refused() == {}
    assert not plans.has_dose("sim-1-0000")
    with pytest.raises(ConfigError, match="sim-1-0000"):
        plans.read_dose("sim-1-0000")
    plans.write_dose("sim-1-0000", b"abc")
    plans.refuse("sim-1-0002", 'D95 of "PTV_7000" is 66.2 Gy,\nless than 66.5 Gy')
    plans.refuse("sim-1-0001", "hot")
    assert plans.read_dose("sim-1-0000") == b"abc"
    assert plans.has_dose("sim-1-0000")
    assert plans.refused() == {"sim-1-0001": "hot", "sim-1-0002": 'D95 of "PTV_7000" is 66.2 Gy, less than 66.5 Gy'}
    assert list(plans.refused()) == ["sim-1-0001", "sim-1-0002"]
