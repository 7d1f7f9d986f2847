"""Seconds per step of one job."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from vmat_rt.system.steps import announced

log = logging.getLogger("vmat_rt")


class Stopwatch:
    """Times steps in the order in which they run; `seconds` is a copy, which later steps leave as it is."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of the steps that have ended so far, by name."""
        return dict(self._seconds)

    @contextmanager
    def step(self, name: str, key: str = "-") -> Iterator[None]:
        """Time one step, announce it and log it with the job's key. A step that fails is not counted."""
        start = time.perf_counter()
        with announced(name):
            yield
        self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - start
        log.info("%s %s %.2f s", key, name, self._seconds[name])
