"""What lies in the inbox, and what of it has stopped changing. The scan is the truth; events only wake it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

_UNFINISHED = (".part", ".tmp", ".filepart", ".partial", ".crdownload", "~")
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs",
            "fuse.rclone", "virtiofs", "vboxsf", "lustre"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Version:
    """A file's content as far as a look from outside tells it apart from another.

    Size and time of change can be set back by whoever edits a file, the time of the change of its entry (ctime) cannot.
    identity: device and inode, which tell a file from another put in its place; they hold while a share stays mounted.
    """

    size: int
    mtime_ns: int
    ctime_ns: int = 0
    identity: tuple[int, int] = (0, 0)

    def is_that_of(self, status: os.stat_result) -> bool:
        """Whether an open file is the one that was seen; what is not known of it (0) is not compared."""
        now = version_of(status)
        same_change = self.ctime_ns in (0, now.ctime_ns)
        same_file = self.identity in ((0, 0), now.identity)
        return (self.size, self.mtime_ns) == (now.size, now.mtime_ns) and same_change and same_file

    def as_text(self) -> str:
        """What of it outlives a restart of the machine: it stands in the digests that recognise files again."""
        return f"{self.size}:{self.mtime_ns}:{self.ctime_ns}"


def version_of(status: os.stat_result) -> Version:
    """The version that a look at a file, or at its open descriptor, gives."""
    return Version(status.st_size, status.st_mtime_ns, status.st_ctime_ns, (status.st_dev, status.st_ino))


@dataclass(slots=True)
class _Seen:
    version: Version
    since: float


class Inbox:
    """The files below a folder and since when each has been as it is, by the monotonic clock.

    Links are followed, each folder and each file once, so loops end. Hidden files, those that a copier has not yet
    renamed, and what lies in `leave_out` (our own folders) are not there.
    """

    def __init__(self, folder: Path, stable_seconds: float, leave_out: tuple[Path, ...] = ()) -> None:
        self._folder = folder
        self._stable_seconds = stable_seconds
        self._leave_out = {os.path.realpath(path) for path in leave_out}
        self._seen: dict[str, _Seen] = {}
        self._trusts_inodes = not on_network(folder)  # shares may number a file anew whenever they are asked

    def scan(self, now: float) -> bool:
        """Look once. True when anything came, went or changed since the last look."""
        seen: dict[str, _Seen] = {}
        changed = False
        for path, version in self._walk_files():
            before = self._seen.get(path)
            if before is not None and before.version == version:
                seen[path] = before
            else:
                seen[path] = _Seen(version, now)
                changed = True
        changed = changed or len(seen) != len(self._seen)
        self._seen = seen
        return changed

    def stable(self, now: float) -> dict[str, Version]:
        """The files that have not changed for stable_seconds."""
        return {p: s.version for p, s in self._seen.items() if now - s.since >= self._stable_seconds}

    def find_unsettled_folders(self, now: float) -> set[str]:
        """The folders in which some file still changes."""
        return {os.path.dirname(p) for p, s in self._seen.items() if now - s.since < self._stable_seconds}  # noqa: PTH120

    def __len__(self) -> int:
        return len(self._seen)

    def _walk_files(self) -> Iterator[tuple[str, Version]]:
        folders = [os.fspath(self._folder)]
        seen: set[tuple[int, int]] = set()
        while folders:
            folder = folders.pop()
            try:
                status = os.stat(folder)  # noqa: PTH116
                if (status.st_dev, status.st_ino) in seen or os.path.realpath(folder) in self._leave_out:
                    continue
                seen.add((status.st_dev, status.st_ino))
                with os.scandir(folder) as entries:
                    listed = sorted(entries, key=lambda entry: entry.name)
            except OSError:  # gone meanwhile, or not ours to read: the next scan looks again
                continue
            for entry in listed:
                entry_or_folder = _look_at(entry)
                if entry_or_folder is None:
                    continue
                if isinstance(entry_or_folder, str):
                    folders.append(entry_or_folder)
                elif entry_or_folder.identity not in seen:
                    seen.add(entry_or_folder.identity)
                    known = entry_or_folder if self._trusts_inodes else replace(entry_or_folder, identity=(0, 0))
                    yield entry.path, known


def _look_at(entry: os.DirEntry[str]) -> str | Version | None:
    """A folder's path, a file's version, or None for what is to be passed over."""
    if entry.name.startswith(".") or entry.name.lower().endswith(_UNFINISHED):
        return None
    try:
        status = entry.stat()
    except OSError:  # a broken link, or gone meanwhile
        return None
    if stat.S_ISDIR(status.st_mode):
        return entry.path
    if not stat.S_ISREG(status.st_mode):
        return None
    return version_of(status)


def on_network(folder: Path) -> bool:
    """Whether a folder lies on a network file system, where events cannot be trusted (and SQLite neither)."""
    real = os.path.realpath(folder)
    best, kind = "", ""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return False
    for line in mounts.splitlines():
        _, where, what, *_ = line.split(" ")
        where = where.replace("\\040", " ")
        if (real == where or real.startswith(where.rstrip("/") + "/")) and len(where) >= len(best):
            best, kind = where, what
    return kind in _NETWORK
