"""How long tests wait for what happens soon on a quiet machine: a loaded one must not fail them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

PATIENCE_SECONDS = 300.0
PROMPT_SECONDS = 20.0
"""For what must not wait until a time limit of ours is over: that of a connection that asks nothing is 30 s."""


def wait_for(
    condition: Callable[[], object],
    seconds: float = PATIENCE_SECONDS,
    process: subprocess.Popen[str] | None = None,
    every_seconds: float = 0.005,
) -> None:
    """Until it holds. Fails when the time is over, or when `process`, which shall bring it about, has ended before."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        assert process is None or process.poll() is None or condition(), f"the process ended: {process.returncode}"
        time.sleep(every_seconds)


def answered(question: Callable[[], object]) -> Callable[[], bool]:
    """A condition for `wait_for` that asks another program: while that cannot be reached, the answer is no."""

    def condition() -> bool:
        try:
            return bool(question())
        except OSError:
            return False

    return condition
