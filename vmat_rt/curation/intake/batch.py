"""Tasks for worker processes, a few at a time; a worker that dies takes its own task only."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from vmat_rt.system.processes import one_thread_workers, result_of

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_order(
    pool: ProcessPoolExecutor, work: Callable[[Task], Result], tasks: Iterable[Task], at_once: int
) -> Iterator[tuple[Task, Result]]:
    """Tasks with results, in order; never more than `at_once` wait or run. Raises VmatError when a worker dies."""
    running: deque[tuple[Task, Future[Result]]] = deque()
    for task in tasks:
        running.append((task, pool.submit(work, task)))
        if len(running) >= at_once:
            first, future = running.popleft()
            yield first, result_of(future)
    while running:
        first, future = running.popleft()
        yield first, result_of(future)


def as_they_come(
    work: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Iterator[tuple[Task, Result | None]]:
    """Tasks with results as they are done, None for a task that its worker did not survive. One worker: this process.

    When a worker dies (out of memory, a decoder that crashes) nobody knows which of the tasks then running did it, so
    each of them is done again alone.
    """
    if workers == 1:
        yield from ((task, work(task)) for task in tasks)
        return
    waiting = iter(tasks)
    suspects: list[Task] = []
    more = True
    while more:
        more = yield from _until_one_dies(work, waiting, workers, suspects)
        while suspects:
            task = suspects.pop()
            yield task, _alone(work, task)


def _until_one_dies(
    work: Callable[[Task], Result], tasks: Iterator[Task], workers: int, suspects: list[Task]
) -> Generator[tuple[Task, Result | None], None, bool]:
    """Whether a worker died; then `suspects` holds what was running."""
    running: dict[Future[Result], Task] = {}
    died = False
    with one_thread_workers(workers) as pool:
        try:
            while True:
                for task in itertools.islice(tasks, max(0, 2 * workers - len(running))):
                    running[_submitted(pool, work, task)] = task
                if not running:
                    return False
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    yield running.pop(future), result
        except BrokenProcessPool:
            died = True
    for future, task in running.items():
        if future.cancelled() or future.exception() is not None:
            suspects.append(task)
        else:
            yield task, future.result()
    return died


def _submitted(pool: ProcessPoolExecutor, work: Callable[[Task], Result], task: Task) -> Future[Result]:
    """Its future; of a pool that is broken already one that says so, as it would have a moment earlier."""
    try:
        return pool.submit(work, task)
    except BrokenProcessPool as error:
        future: Future[Result] = Future()
        future.set_exception(error)
        return future


def _alone(work: Callable[[Task], Result], task: Task) -> Result | None:
    with one_thread_workers(1) as pool:
        try:
            return pool.submit(work, task).result()
        except BrokenProcessPool:
            return None
