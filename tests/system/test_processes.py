"""Processes that are killed at work."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.patience import wait_for
from tests.system.workers import double, doubled, slow_start, threads_of_worker
from vmat_rt.errors import InputError
from vmat_rt.system.processes import ONE_THREAD, WorkerDiedError, run_here, run_tasks, yield_in_order


def test_every_task_is_done_once() -> None:
    tasks = [f"t{number}" for number in range(7)]
    done = list(run_tasks(double, tasks, workers=3))
    assert sorted((one.task, one.result()) for one in done) == [(task, task * 2) for task in tasks]
    assert {one.number: one.task for one in done} == dict(enumerate(tasks))


@pytest.mark.parametrize(("workers", "queued"), [(1, 0), (2, 0), (2, 2)])
def test_a_death_takes_its_own_task_only(tmp_path: Path, workers: int, queued: int) -> None:
    once = f"once:{tmp_path / 'tried'}"
    tasks = ["a", "die", "b", once, "raise", "c"]
    done = {one.task: one for one in run_tasks(double, iter(tasks), workers, queued)}
    assert done.keys() == set(tasks)
    assert [done[task].result() for task in ("a", "b", "c")] == ["aa", "bb", "cc"]
    assert done[once].result() == once * 2, "one death is forgiven"
    died = done["die"].error
    assert done["die"].died
    assert isinstance(died, InputError)
    assert died.problems[0].code == "WORKER_DIED"
    assert isinstance(done["raise"].error, ValueError)
    assert not done["raise"].died
    with pytest.raises(ValueError, match="asked for"):
        done["raise"].result()


def test_a_worker_that_exits_takes_only_its_own_task() -> None:
    found = sorted((one.task, None if one.died else one.result()) for one in run_tasks(doubled, range(6), workers=2))
    assert found == [(number, None if number == 3 else 2 * number) for number in range(6)]


def test_nothing_to_do_needs_no_process() -> None:
    before = psutil.Process().children()
    assert list(run_tasks(double, [], workers=2)) == []
    assert psutil.Process().children() == before


def test_tasks_are_taken_when_there_is_room_for_them() -> None:
    """An iterator of thousands is never read ahead of what is in hand."""
    taken = 0

    def tasks() -> Iterator[str]:
        nonlocal taken
        for number in range(12):
            taken += 1
            yield str(number)

    for ended, _ in enumerate(run_tasks(double, tasks(), 2, queued=1, pool=ThreadPoolExecutor), 1):
        assert taken <= ended + 3 + 2, "three running; two others may have ended at the same moment"
    assert taken == 12


def test_a_task_that_depends_on_another_waits_for_it() -> None:
    ended: list[str] = []

    def tasks() -> Iterator[str | None]:
        yield "a"
        while not ended:
            yield None
        yield ended[0] + "b"

    for one in run_tasks(double, tasks(), 4, pool=ThreadPoolExecutor):
        ended += [one.result()]
    assert ended == ["aa", "aabaab"]


def test_waiting_for_nothing_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(RuntimeError, match="none is running"):
        list(run_tasks(double, [None, "a"], 1, pool=ThreadPoolExecutor))


def test_a_fault_of_the_tasks_is_not_swallowed() -> None:
    def tasks() -> Iterator[str]:
        yield "a"
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        list(run_tasks(double, tasks(), 2, pool=ThreadPoolExecutor))


def test_results_come_in_the_order_of_the_tasks_where_asked() -> None:
    done = run_tasks(slow_start, range(8), 4, queued=4, pool=ThreadPoolExecutor)
    assert [one.result() for one in yield_in_order(done)] == list(range(8))


def test_work_here_gives_the_same_values() -> None:
    done = {one.task: one for one in run_here(double, ["a", "raise", "b"])}
    assert [done[task].result() for task in ("a", "b")] == ["aa", "bb"]
    assert isinstance(done["raise"].error, ValueError)
    assert [one.number for one in run_here(double, ["x", "y"])] == [0, 1]


def test_none_is_a_result_like_any_other() -> None:
    assert [one.result() for one in run_here(lambda _: None, [1])] == [None]


def test_workers_have_one_thread_and_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    (one,) = run_tasks(threads_of_worker, [0], 1)
    assert one.result() == dict.fromkeys(ONE_THREAD, "1")
    assert os.environ["OMP_NUM_THREADS"] == "5"
    assert "MKL_NUM_THREADS" not in os.environ


def test_a_death_is_whole_through_pickle() -> None:
    died = pickle.loads(pickle.dumps(WorkerDiedError.over_a_case()))
    assert isinstance(died, WorkerDiedError)
    assert died.exit_code == 4
    assert died.problems == WorkerDiedError.over_a_case().problems


PROGRAM = """
import signal, sys
from pathlib import Path
from tests.system.workers import signed
from vmat_rt.system.processes import run_tasks
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
    list(run_tasks(signed, [Path(sys.argv[1])] * 2, 2))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_process_that_started_them(tmp_path: Path, how: signal.Signals) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    signs = tmp_path / "signs"
    signs.mkdir()
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    run = subprocess.Popen(
        [sys.executable, str(program), str(signs)], env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: len(list(signs.iterdir())) == 2, process=run)
        workers = [int(path.name) for path in signs.iterdir()]
        if how == signal.SIGINT:
            os.killpg(run.pid, how)  # as a terminal's Ctrl-C
        else:
            run.kill()
        run.wait(20)
        wait_for(lambda: not any(psutil.pid_exists(pid) for pid in workers), 20)
    finally:
        run.kill()
