"""Work for processes that may not survive it; importable by them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from vmat_rt.system.processes import ONE_THREAD


def double(task: str) -> str:
    """Twice the task. "die" kills its process; "once:PATH" only until PATH exists; "raise" raises."""
    if task == "raise":
        raise ValueError("asked for")
    name, _, path = task.partition(":")
    if name == "die" or (name == "once" and not Path(path).exists()):
        if path:
            Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return task * 2


def doubled(number: int) -> int:
    """Twice the number; 3 ends its process."""
    if number == 3:
        os._exit(9)
    return 2 * number


def slow_start(number: int) -> int:
    """The number; the first ones take longest."""
    time.sleep(0.3 if number < 2 else 0.0)
    return number


def threads_of_worker(_: int) -> dict[str, str | None]:
    """What the libraries of this process are told of threads."""
    return {name: os.environ.get(name) for name in ONE_THREAD}


def signed(folder: Path) -> int:
    """Leave a file that names this process, then stay."""
    (folder / str(os.getpid())).touch()
    time.sleep(60)
    return 0


class Deadly:
    """A value that ends the process which unpickles it: what a task that holds one does to its worker."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (9,)
