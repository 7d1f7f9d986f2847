"""Work for processes that may not survive it; importable by them."""

from __future__ import annotations

import os
import signal
from pathlib import Path


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
