"""Whether inbox, outbox and state are the folders that the service began with, and not what lies under a lost share.

Each carries a marker file with a random name in it, and the state folder remembers them. A share that was unmounted
leaves an empty mount point without it: nothing may be read from there or, worse, written to it.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from vmat_rt.errors import InputError, Problem
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.files import open_regular, write_private

MARKER = ".vmat-rt-folder"
REMEMBERED = "folders.json"
_WATCHED = ("inbox", "outbox", "state")
_MOST_BYTES = 200


@dataclass(frozen=True)
class Place:
    """One folder as it was met: its marker ("" where none could be written), device and inode."""

    path: str
    marker: str
    device: int
    inode: int


class Places:
    """The folders of one service. `remember` at its start; `find_changed` whenever something is about to be done."""

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._places = _read_remembered(config.state / REMEMBERED)

    def remember(self) -> Problem | None:
        """Mark the folders that are new to this service; what is wrong with those that it knows. Raises OSError."""
        for name in _WATCHED:
            folder = self._config.folders[name]
            known = self._places.get(name)
            if known is None or known.path != str(folder):
                self._places[name] = _look_at(folder, mark=True)
        changed = self.find_changed()
        if changed is None:
            write_private(self._config.state / REMEMBERED, json.dumps({n: p.__dict__ for n, p in self._places.items()}))
        return changed

    def find_changed(self) -> Problem | None:
        """The first folder that is no longer the one it was; None where all are, or none is known yet."""
        for name, known in self._places.items():
            folder = self._config.folders.get(name)
            if folder is None or known.path != str(folder):
                continue
            try:
                found = _look_at(folder, mark=False)
            except OSError as error:
                return _describe(name, f"it cannot be looked at ({error.strerror})")
            if known.marker and found.marker != known.marker:
                return _describe(name, f"its marker {MARKER} is {'another' if found.marker else 'gone'}")
            if not known.marker and (found.device, found.inode) != (known.device, known.inode):
                return _describe(name, "it is another folder")
        return None

    def require(self) -> None:
        """Raises InputError (FOLDER_CHANGED), a fault of the machine."""
        changed = self.find_changed()
        if changed is not None:
            raise InputError(changed)


def _look_at(folder: Path, mark: bool) -> Place:
    status = folder.stat()
    marker = _read_marker(folder) or (_write_marker(folder) if mark else "")
    return Place(str(folder), marker, status.st_dev, status.st_ino)


def _read_marker(folder: Path) -> str:
    try:
        with open_regular(folder / MARKER, follow=False) as stream:
            return stream.read(_MOST_BYTES).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return ""


def _write_marker(folder: Path) -> str:
    """A new marker; "" where the folder is not ours to write to, which an inbox need not be."""
    marker = secrets.token_hex(16)
    try:
        descriptor = os.open(folder / MARKER, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    except PermissionError:
        return ""
    except OSError as error:
        if error.errno == errno.EROFS:
            return ""
        raise
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(marker + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    return marker


def _read_remembered(path: Path) -> dict[str, Place]:
    try:
        return {name: Place(**values) for name, values in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _describe(name: str, why: str) -> Problem:
    return Problem(
        "FOLDER_CHANGED",
        f"The {name} is not the folder that this service works with: {why}. Nothing is taken or written meanwhile.",
        f"Mount the share again; the service then goes on by itself. Where another folder is meant: stop the service, "
        f"delete {REMEMBERED} in its state folder and start it.",
    )
