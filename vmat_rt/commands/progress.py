"""Step lines on a terminal: what is being done, for how long already, and how long it took."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

import click

_CLEAR = "\r\x1b[K"
_SECOND = 1.0


class StepLines:
    """Listens to steps (vmat_rt.system.steps). The line of the running step is written again each second."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._ended = threading.Event()
        self._clock: threading.Thread | None = None

    def begin(self, step: str) -> None:
        self.stop()
        self._ended = threading.Event()
        self._clock = threading.Thread(target=self._tick, args=(step, self._ended), daemon=True)
        self._write(f"{step} ...")
        self._clock.start()

    def end(self, step: str, seconds: float) -> None:
        self.stop()
        self._write(f"{_CLEAR}{step:<24} {seconds:6.1f} s\n")

    def stop(self) -> None:
        """Leave the running step's line as an empty one, ready for what is said next."""
        if self._clock is not None:
            self._ended.set()
            self._clock.join()
            self._clock = None
            self._write(_CLEAR)

    def _tick(self, step: str, ended: threading.Event) -> None:
        passed = 0.0
        while not ended.wait(_SECOND):
            passed += _SECOND
            self._write(f"{_CLEAR}{step} ... {passed:.0f} s")

    def _write(self, text: str) -> None:
        with suppress(OSError):  # a terminal that went away is no reason to stop the work
            self._stream.write(text)
            self._stream.flush()


def show_steps(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --quiet, and without it show the steps of the command's work on stderr where that is a terminal."""

    @click.option("--quiet", is_flag=True, help="No step lines on the terminal.")
    @functools.wraps(function)
    def wrapper(*args: Any, quiet: bool, **kwargs: Any) -> Any:
        if quiet or not sys.stderr.isatty():
            return function(*args, **kwargs)
        from vmat_rt.system.steps import listening

        lines = StepLines(sys.stderr)
        with listening(lines):
            try:
                return function(*args, **kwargs)
            finally:
                lines.stop()

    return wrapper
