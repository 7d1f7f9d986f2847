"""Tasks over processes of this machine. A process that dies takes its task only, and that is tried again alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, TypeVar

from vmat_rt.errors import InputError, Problem
from vmat_rt.system.processes import one_thread_workers

Item = TypeVar("Item")
Result = TypeVar("Result")

TRIES_ALONE = 2
"""A task in hand when a process died may be innocent, and later have bad luck of its own: two deaths alone convince."""


def run_local(
    work: Callable[[Item], Result], tasks: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Result | Exception]]:
    """Each task with what `work` returned or raised, as they end; InputError (WORKER_DIED) for one whose process died.

    When a process dies nobody knows which of the tasks in hand it was doing, so each of these runs again in a process
    of its own; only one that dies there TRIES_ALONE times has failed.
    """
    waiting = deque(tasks)
    while waiting:
        suspects = yield from _until_a_death(work, waiting, workers)
        for task in suspects:
            yield task, alone(partial(_in_own_process, work, task))


def worker_died() -> InputError:
    """For a task that ended its process whenever it was tried."""
    message = "The worker died over this case, and again when it had nothing else to do (killed, or out of memory)."
    remedy = "Use fewer workers or a machine with more memory; finished cases are kept."
    return InputError(Problem("WORKER_DIED", message, remedy))


def alone(attempt: Callable[[], Result | Exception | None]) -> Result | Exception:
    """What the first attempt that its process survives gives; WORKER_DIED when TRIES_ALONE do not (None)."""
    for _ in range(TRIES_ALONE):
        result = attempt()
        if result is not None:
            return result
    return worker_died()


def _until_a_death(
    work: Callable[[Item], Result], waiting: deque[Item], workers: int
) -> Generator[tuple[Item, Result | Exception], None, list[Item]]:
    """Take tasks from `waiting` until none is left or a process died; returns the tasks that it may have been."""
    suspects: list[Item] = []
    in_hand: dict[Future[Result], Item] = {}
    with one_thread_workers(min(workers, len(waiting))) as pool:
        while in_hand or (waiting and not suspects):
            while waiting and not suspects and len(in_hand) < workers:
                task = waiting.popleft()
                try:
                    in_hand[pool.submit(work, task)] = task
                except BrokenProcessPool:
                    suspects.append(task)
            for future in wait(in_hand, return_when=FIRST_COMPLETED).done:
                task, error = in_hand.pop(future), future.exception()
                if isinstance(error, BrokenProcessPool):
                    suspects.append(task)
                else:
                    yield task, _settled(future)
    return suspects


def _in_own_process(work: Callable[[Item], Result], task: Item) -> Result | Exception | None:
    with one_thread_workers(1) as pool:
        future = pool.submit(work, task)
        return None if isinstance(future.exception(), BrokenProcessPool) else _settled(future)


def _settled(future: Future[Any]) -> Any:
    """What the task returned or raised."""
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, Exception):
        return error
    raise error
