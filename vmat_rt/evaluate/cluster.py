"""Tasks over a Dask cluster that others run. Workers need this version of vmat-rt and the same paths or URLs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from vmat_rt import __version__
from vmat_rt.errors import ConfigError
from vmat_rt.system.processes import Finished, try_alone

Task = TypeVar("Task")
Result = TypeVar("Result")

WAIT_SECONDS = 60.0
"""So long a scheduler may take to answer, or to get its first worker."""


def run_on_dask(
    work: Callable[[Task], Result], tasks: Sequence[Task], address: str, wait_seconds: float = WAIT_SECONDS
) -> Iterator[Finished[Task, Result]]:
    """Do as run_tasks, over the workers of the scheduler at `address` (tcp://host:8786).

    A task that Dask gives up because workers died over it is tried again alone when all others are done. Raises
    ConfigError when no scheduler answers, it has no workers, or they run another version of vmat-rt.
    """
    from distributed import Client, as_completed

    try:
        client: Any = Client(address, timeout=wait_seconds, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise ConfigError(f"no Dask scheduler answers at {address}: {error}") from error
    with client:
        _require_workers(client, address, wait_seconds)
        suspects: list[tuple[int, Task]] = []
        futures = {client.submit(work, task, pure=False): (number, task) for number, task in enumerate(tasks)}
        for future in as_completed(list(futures), loop=client.loop):  # type: ignore[no-untyped-call]
            number, task = futures.pop(future)
            finished = _wait_for(future, number, task)
            future.release()
            if finished is None:
                suspects.append((number, task))
            else:
                yield finished
        for number, task in suspects:
            yield try_alone(partial(_try_task, client, work, number, task), number, task)


def _try_task(client: Any, work: Callable[[Task], Result], number: int, task: Task) -> Finished[Task, Result] | None:
    return _wait_for(client.submit(work, task, pure=False), number, task)


def _wait_for(future: Any, number: int, task: Task) -> Finished[Task, Any] | None:
    """What the task returned or raised, or None when Dask gave it up because workers died over it."""
    from distributed.scheduler import KilledWorker

    failure = future.exception()
    if isinstance(failure, KilledWorker):
        return None
    return Finished(number, task, future.result()) if failure is None else Finished(number, task, error=failure)


def _require_workers(client: Any, address: str, wait_seconds: float) -> None:
    try:
        client.wait_for_workers(1, timeout=wait_seconds)
    except TimeoutError as error:
        raise ConfigError(f"the Dask scheduler at {address} has no workers") from error
    try:
        versions = set(client.run(find_installed_version).values())
    except ModuleNotFoundError as error:
        raise ConfigError(f"the Dask workers at {address} cannot import vmat-rt: {error}") from error
    if versions != {__version__}:
        others = ", ".join(sorted(versions))
        raise ConfigError(f"the Dask workers at {address} run vmat-rt {others}, this is {__version__}")


def find_installed_version() -> str:
    """The version of vmat-rt where this is called: on a worker."""
    return __version__
