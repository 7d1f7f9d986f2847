"""One service for one state folder and one outbox, by flock: the kernel frees it when the last holder dies."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vmat_rt.errors import ConfigError

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class Lock:
    """An exclusive lock on a file.

    Children inherit the descriptor, so "the lock is free" means that the service and all its workers are gone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.descriptor = -1

    def acquire(self, patience_seconds: float = 0.0) -> None:
        """Take the lock. Raises ConfigError when another service holds it for longer than patience_seconds."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + patience_seconds
        while not self._try_taking():
            if time.monotonic() >= deadline:
                self.release()
                raise ConfigError(
                    f"another service already works on {self._path.parent}; stop it first, or give this one "
                    "its own outbox and state"
                )
            time.sleep(0.05)

    def release(self) -> None:
        """Let go; the file stays."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _try_taking(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return True  # an outbox on such a file system is still safe: its rename never replaces a result
            if error.errno not in {errno.EAGAIN, errno.EACCES}:
                raise
            return False
        return True


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Wait for the file's lock and hold it: workers take turns at a device."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
