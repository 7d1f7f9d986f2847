"""Work that is spread over threads: kernels and library calls that release the interpreter lock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from vmat_rt.system.cores import usable_cores

THREADS = min(2, usable_cores())
"""Of one prediction. Results do not depend on it."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Results in the order of the items, on THREADS threads. The first exception is raised when all have ended."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, items))
