"""Worker processes for a cohort's cases: one thread each, and none outlives the process that started it."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from vmat_rt.errors import VmatError

Result = TypeVar("Result")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
"""Read by the libraries when they are loaded, so they must stand before a worker imports numpy."""


@contextlib.contextmanager
def one_thread_workers(count: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh (spawned) processes. They die with this one, however it dies, and at Ctrl-C at once.

    What a task writes must therefore be whole or absent at any moment. Leaving early cancels what has not begun and
    waits for what has.
    """
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_die_with_parent)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _die_with_parent() -> None:
    """First act of a worker. Linux kills it at once; elsewhere a thread waits for the parent's end."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        # The thread also sees to a parent that died before it could be asked for.
        threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


def result_of(future: Future[Result]) -> Result:
    """What a worker returned or raised. Raises VmatError when the worker itself died."""
    try:
        return future.result()
    except BrokenProcessPool as error:
        message = "a worker process died (killed, or out of memory); what was finished is kept, so run it again"
        raise VmatError(message) from error
