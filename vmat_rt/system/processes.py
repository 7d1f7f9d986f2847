"""Tasks over worker processes of one thread each. A process that dies takes its own task only."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

from vmat_rt.errors import InputError, Problem
from vmat_rt.system.parent import watch_parent

Task = TypeVar("Task")
Result = TypeVar("Result")

TRIES_ALONE = 2
"""A task that ran when a process died may be innocent, and have bad luck of its own later: two deaths convince."""

ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
"""Read by the libraries when they are loaded, so they must stand before a worker imports numpy."""


class WorkerDiedError(InputError):
    """A task ended its process whenever it was tried, the last times with nothing else beside it (WORKER_DIED)."""

    exit_code = 4

    @classmethod
    def over_a_case(cls) -> WorkerDiedError:
        message = "The worker died over this case, and again when it had nothing else to do (killed, or out of memory)."
        remedy = "Use fewer workers or a machine with more memory; finished cases are kept."
        return cls(Problem("WORKER_DIED", message, remedy))

    def of(self, key: str) -> WorkerDiedError:
        """The same with the name of the case, which who gave the task knows."""
        return type(self)(replace(problem, message=f"Case {key}: {problem.message}") for problem in self.problems)


@dataclass(frozen=True)
class Finished(Generic[Task, Result]):
    """A task that has ended. number: its place among the tasks, from 0. error: what it raised, or WorkerDiedError."""

    number: int
    task: Task
    value: Result | None = None
    error: Exception | None = None

    @property
    def died(self) -> bool:
        return isinstance(self.error, WorkerDiedError)

    def result(self) -> Result:
        """What the task returned. Raises what it raised."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # a Result wherever there is no error; None may be one


Pool = Callable[[int], AbstractContextManager[Executor]]


def run_tasks(
    work: Callable[[Task], Result],
    tasks: Iterable[Task | None],
    workers: int,
    queued: int = 0,
    pool: Pool | None = None,
) -> Iterator[Finished[Task, Result]]:
    """Do every task in one of `workers` processes, and yield each as it ends.

    `work` and the tasks must pickle, and `work` must bear to be done twice over a task: when a process dies nobody
    knows which of the running tasks it was at, so each of them is done again in a process of its own. One that dies
    there TRIES_ALONE times is the guilty one; it ends with WorkerDiedError, and the others go on.

    Tasks are taken from the iterator when there is room for them: `workers` running, and `queued` behind these. None
    among them means that the next task depends on the end of a running one: the iterator is asked again after that.
    pool: makes the executor, by default `start_one_thread_workers`.
    """
    line = _Line(iter(tasks))
    make = start_one_thread_workers if pool is None else pool
    while not line.empty:
        for task in (yield from _work_until_a_death(work, line, make(workers), workers + queued)):
            yield try_alone(partial(_run_in_own_process, work, task), task.number, task.task)


def run_here(work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Finished[Task, Result]]:
    """Do as run_tasks, one task after another in this process. A task that ends it ends everything."""
    for number, task in enumerate(tasks):
        yield _make_finished(_Numbered(number, task), partial(work, task))


def yield_in_order(finished: Iterable[Finished[Task, Result]]) -> Iterator[Finished[Task, Result]]:
    """The same in the order of the tasks; what ends early is kept until its turn."""
    early: dict[int, Finished[Task, Result]] = {}
    turn = 0
    for one in finished:
        early[one.number] = one
        while turn in early:
            yield early.pop(turn)
            turn += 1


@contextlib.contextmanager
def start_one_thread_workers(count: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh (spawned) processes. They die with this one, however it dies, and at Ctrl-C at once.

    What a task writes must therefore be whole or absent at any moment. Leaving early cancels what has not begun and
    waits for what has.
    """
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=watch_parent)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@dataclass(frozen=True)
class _Numbered(Generic[Task]):
    number: int
    task: Task


class _Line(Generic[Task]):
    """The tasks that nobody has taken yet."""

    def __init__(self, tasks: Iterator[Task | None]) -> None:
        self._tasks = tasks
        self._numbers = itertools.count()
        self.empty = False

    def next(self) -> _Numbered[Task] | None:
        """Return the next task; None where there is none now, or none will come (`empty`)."""
        try:
            task = next(self._tasks)
        except StopIteration:
            self.empty = True
            return None
        return None if task is None else _Numbered(next(self._numbers), task)


def _work_until_a_death(
    work: Callable[[Task], Result], line: _Line[Task], pool: AbstractContextManager[Executor], at_once: int
) -> Generator[Finished[Task, Result], None, list[_Numbered[Task]]]:
    """Yield what ends until the line is empty or a process died; returns the tasks over which it may have died."""
    suspects: list[_Numbered[Task]] = []
    in_hand: dict[Future[Result], _Numbered[Task]] = {}
    with pool as executor:
        while True:
            while not suspects and len(in_hand) < at_once and (task := line.next()) is not None:
                try:
                    in_hand[executor.submit(work, task.task)] = task
                except BrokenProcessPool:
                    suspects.append(task)
            if not in_hand:
                if not suspects and not line.empty:
                    raise RuntimeError("the tasks wait for the end of one, and none is running")
                return suspects
            for future in wait(in_hand, return_when=FIRST_COMPLETED).done:
                task = in_hand.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    suspects.append(task)
                else:
                    yield _make_finished(task, future.result)


def try_alone(attempt: Callable[[], Finished[Task, Result] | None], number: int, task: Task) -> Finished[Task, Result]:
    """What the first of TRIES_ALONE attempts gives that its process survives (None: it did not), or WorkerDiedError."""
    for _ in range(TRIES_ALONE):
        finished = attempt()
        if finished is not None:
            return finished
    return Finished(number, task, error=WorkerDiedError.over_a_case())


def _run_in_own_process(work: Callable[[Task], Result], task: _Numbered[Task]) -> Finished[Task, Result] | None:
    with start_one_thread_workers(1) as pool:
        future = pool.submit(work, task.task)
        return None if isinstance(future.exception(), BrokenProcessPool) else _make_finished(task, future.result)


def _make_finished(task: _Numbered[Task], result: Callable[[], Result]) -> Finished[Task, Result]:
    try:
        return Finished(task.number, task.task, result())
    except Exception as error:  # reported to the caller that asked for the task; the others go on
        return Finished(task.number, task.task, error=error)
