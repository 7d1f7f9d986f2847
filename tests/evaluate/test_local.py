"""Processes that are killed at work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluate.workers import double
from vmat_rt.errors import InputError
from vmat_rt.evaluate.local import run_local


def test_every_task_is_done_once() -> None:
    tasks = [f"t{number}" for number in range(7)]
    assert sorted(run_local(double, tasks, workers=3)) == [(task, task * 2) for task in tasks]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_death_takes_its_own_task_only(tmp_path: Path, workers: int) -> None:
    once = f"once:{tmp_path / 'tried'}"
    tasks = ["a", "die", "b", once, "raise", "c"]
    found = dict(run_local(double, tasks, workers))
    assert found.keys() == set(tasks)
    assert [found[task] for task in ("a", "b", "c")] == ["aa", "bb", "cc"]
    assert found[once] == once * 2, "one death is forgiven"
    died = found["die"]
    assert isinstance(died, InputError)
    assert died.problems[0].code == "WORKER_DIED"
    assert isinstance(found["raise"], ValueError)


def test_nothing_to_do_needs_no_process() -> None:
    assert list(run_local(double, [], workers=2)) == []
