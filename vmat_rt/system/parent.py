"""Processes that end with the one that started them, however that one ends."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from typing import Never

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent_pid: int) -> None:
    """Ask Linux to kill this process when its parent ends; end at once when the parent has ended already.

    Where there is no such request (macOS, Windows) only the second happens: `watch_parent` adds a thread that waits.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before we could ask
        os._exit(1)


def watch_parent() -> None:
    """First act of a process of `multiprocessing`: it ends with its parent on every system, and at Ctrl-C at once."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    assert parent.pid is not None
    die_with_parent(parent.pid)
    threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(parent: multiprocessing.process.BaseProcess) -> Never:
    parent.join()
    os._exit(1)
