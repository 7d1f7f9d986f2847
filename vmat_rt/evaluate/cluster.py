"""Tasks over a Dask cluster, whoever runs it. Workers need this version of vmat-rt and the same paths or URLs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from vmat_rt import __version__
from vmat_rt.errors import ConfigError
from vmat_rt.evaluate.local import alone

Item = TypeVar("Item")
Result = TypeVar("Result")

WAIT_SECONDS = 60.0
"""So long a scheduler may take to answer, or to get its first worker."""


def run_on_dask(
    work: Callable[[Item], Result], tasks: Sequence[Item], address: str, wait_seconds: float = WAIT_SECONDS
) -> Iterator[tuple[Item, Result | Exception]]:
    """As run_local, over the workers of the scheduler at `address` (tcp://host:8786).

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
        suspects: list[Item] = []
        futures = {client.submit(work, task, pure=False): task for task in tasks}
        for future in as_completed(list(futures), loop=client.loop):  # type: ignore[no-untyped-call]
            task, result = futures.pop(future), _settled(future)
            future.release()
            if result is None:
                suspects.append(task)
            else:
                yield task, result
        for task in suspects:
            yield task, alone(partial(_tried, client, work, task))


def _tried(client: Any, work: Callable[[Item], Result], task: Item) -> Any:
    return _settled(client.submit(work, task, pure=False))


def _settled(future: Any) -> Any:
    """What the task returned or raised, or None when Dask gave it up because workers died over it."""
    from distributed.scheduler import KilledWorker

    failure = future.exception()
    if isinstance(failure, KilledWorker):
        return None
    return future.result() if failure is None else failure


def _require_workers(client: Any, address: str, wait_seconds: float) -> None:
    try:
        client.wait_for_workers(1, timeout=wait_seconds)
    except TimeoutError as error:
        raise ConfigError(f"the Dask scheduler at {address} has no workers") from error
    try:
        versions = set(client.run(installed_version).values())
    except ModuleNotFoundError as error:
        raise ConfigError(f"the Dask workers at {address} cannot import vmat-rt: {error}") from error
    if versions != {__version__}:
        others = ", ".join(sorted(versions))
        raise ConfigError(f"the Dask workers at {address} run vmat-rt {others}, this is {__version__}")


def installed_version() -> str:
    """The version of vmat-rt where this is called: on a worker."""
    return __version__
