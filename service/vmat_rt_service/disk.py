"""Room on the disks that results and copies are written to, and what of a failure is theirs."""

from __future__ import annotations

import errno
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from vmat_rt.errors import InputError, Problem
from vmat_rt_service.config import ServiceConfig

_LEAST_FILES = 16
"""A result is about ten files and folders: with fewer names left on a disk none is begun."""

_LEAST_BYTES = 64 << 10
"""With less left on a disk it is full, whatever min_free_gb says: not even a reason could be published."""

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class Room:
    """What a disk still takes: bytes, and files where its file system counts them (else None)."""

    free_bytes: int
    free_files: int | None

    def has_grown_since(self, before: Room) -> bool:
        """Whether another try may end otherwise than the one that failed then."""
        more_files = (self.free_files or 0) > (before.free_files or 0)
        return more_files or self.free_bytes > before.free_bytes


def measure_room(folder: Path) -> Room:
    """What the disk of a folder takes. Raises OSError."""
    status = os.statvfs(folder)
    return Room(status.f_bavail * status.f_frsize, status.f_favail if status.f_files else None)


def free_bytes(config: ServiceConfig) -> int:
    """The smaller of what is free for the outbox and for the state folder."""
    return min(measure_room(folder).free_bytes for folder in (config.outbox, config.state))


def find_shortage(config: ServiceConfig) -> Problem | None:
    """What the disks lack for any study at all. Raises OSError."""
    for name, folder in (("outbox", config.outbox), ("state", config.state)):
        room = measure_room(folder)
        if room.free_bytes < max(config.min_free_gb * 1e9, _LEAST_BYTES):
            lack = f"{room.free_bytes / 1e9:.2g} GB are free, min_free_gb is {config.min_free_gb:g}"
        elif room.free_files is not None and room.free_files < _LEAST_FILES:
            lack = f"its file system takes {room.free_files} more files (inodes)"
        else:
            continue
        return Problem("LOW_DISK", f"No study is begun: the disk of the {name} is full ({lack}).", "Make room there.")
    return None


def has_enough_space(config: ServiceConfig, needed_bytes: int = 0) -> bool:
    """Whether min_free_gb, and names for a result's files, would be free after writing needed_bytes."""
    return find_shortage(config) is None and free_bytes(config) - needed_bytes >= config.min_free_gb * 1e9


def find_machine_fault(error: BaseException) -> Problem | None:
    """What is wrong with disk, share or journal where they are to blame for an error; None where the study may be."""
    if isinstance(error, InputError):
        return next((p for p in error.problems if error.is_of_the_machine), None)
    if isinstance(error, sqlite3.Error):
        message = f"The journal cannot be used ({type(error).__name__})."
        return Problem("JOURNAL_FAULT", message, "Make room on the disk of the state folder; run `vmat-rt doctor`.")
    if isinstance(error, OSError):
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        code = "DISK_FULL" if error.errno in _NO_ROOM else "DISK_FAULT"
        message = f"Reading or writing the service's folders fails: {error.strerror or type(error).__name__} ({name})."
        return Problem(code, message, "Look at the disks and shares of inbox, outbox and state; the service goes on.")
    return None
