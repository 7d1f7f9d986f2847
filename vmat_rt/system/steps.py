"""Steps of a long piece of work, told to whoever listens: a terminal, or nobody."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Listener(Protocol):
    """Hears of each step as it begins and as it ends; of one that fails only the beginning."""

    def begin(self, step: str) -> None: ...

    def end(self, step: str, seconds: float) -> None: ...


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell `listener` of the steps of what runs inside."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def announced(step: str) -> Iterator[None]:
    """Tell the listener, if there is one, that a step begins, and in how many seconds it ended."""
    listener = _listener.get()
    if listener is not None:
        listener.begin(step)
    start = time.perf_counter()
    yield
    if listener is not None:
        listener.end(step, time.perf_counter() - start)
