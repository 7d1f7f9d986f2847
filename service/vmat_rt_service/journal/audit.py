"""The audit log: who configured, what came in, what made what of it. Each line carries the hash of the one before.

A changed, removed or inserted line breaks the chain; a tail that was cut off is seen in the journal, which keeps the
hash of the last line.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.journal.jobs import Journal

_FIRST = "0" * 64
_BLOCK = 1 << 16
_HEAD = "audit_head"
_CUT = "missing_before"
"""Stands in a line that was written after others had been cut off: the hash of the last of those."""


@dataclass(frozen=True)
class Verification:
    """What `verify` found: how many lines hold, and what is wrong from there on (empty: nothing)."""

    lines: int
    fault: str = ""


def append(config: ServiceConfig, journal: Journal, event: str, **facts: Any) -> None:
    """Add one line, flushed to disk. Half a line of a writer that was killed is cut away first. Raises OSError."""
    with config.audit.open("a+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        last = _mend(stream)
        entry = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
        entry["previous"] = last
        head = read_head(journal)
        if head and head != last and not _holds(stream, head):
            entry[_CUT] = head
        entry["hash"] = _hash(entry)
        end = stream.seek(0, os.SEEK_END)
        try:
            stream.write(_encode_line(entry))
            stream.flush()
            os.fsync(stream.fileno())
        except OSError:
            os.ftruncate(stream.fileno(), end)
            raise
        journal.set_meta(_HEAD, entry["hash"])


def note_start(config: ServiceConfig, journal: Journal) -> None:
    """Note who runs the service, on what and how configured."""
    append(
        config, journal, "service started", user=_find_user(), configuration=config.sha256(), versions=list_versions(),
        device=config.device, model=Path(config.model).name if config.model else None,
        after_success=config.after_success,
    )  # fmt: skip


def read_entries(path: Path) -> list[dict[str, Any]]:
    """The lines of the log that can be read."""
    parsed = []
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            parsed.append(json.loads(line))
        except ValueError:
            break
    return parsed


def verify(path: Path, head: str = "") -> Verification:
    """Follow the chain. head: the hash of the last line as the journal knows it."""
    last, hashes = _FIRST, set()
    if not path.is_file():
        return Verification(0, "the audit log is missing" if head else "")
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            entry = json.loads(line)
            stated = entry.pop("hash")
        except (ValueError, KeyError, AttributeError):
            return Verification(number - 1, f"line {number} is damaged")
        if entry.get("previous") != last:
            return Verification(number - 1, f"line {number} does not follow line {number - 1}")
        if _hash(entry) != stated:
            return Verification(number - 1, f"line {number} was changed")
        if _CUT in entry:
            return Verification(number - 1, f"lines before line {number} are missing")
        last = stated
        hashes.add(stated)
    if head and head not in hashes:
        return Verification(len(hashes), f"lines after line {len(hashes)} are missing")
    return Verification(len(hashes))


def read_head(journal: Journal) -> str:
    return journal.meta(_HEAD)


def list_versions() -> dict[str, str]:
    """What computes: installed packages that can change a dose, the interpreter and the machine's kind."""
    packages = ("vmat-rt", "numpy", "scipy", "lightgbm", "torch", "SimpleITK", "pydicom", "numba")
    installed = {name: version for name in packages if (version := _find_version(name)) is not None}
    return {**installed, "python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}


def _find_version(package: str) -> str | None:
    """None for what an installation without networks leaves out."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _mend(stream: Any) -> str:
    """The hash of the last whole line; what follows the last line break was never acknowledged and is cut off."""
    end = stream.seek(0, os.SEEK_END)
    tail, begin = b"", end
    while begin > 0 and tail[:-1].count(b"\n") < 2:
        step = min(_BLOCK, begin)
        begin = stream.seek(begin - step)
        tail = stream.read(step) + tail
    whole = tail[: tail.rfind(b"\n") + 1]
    if len(whole) < len(tail):
        os.ftruncate(stream.fileno(), begin + len(whole))
    lines = whole.splitlines()
    return str(json.loads(lines[-1])["hash"]) if lines else _FIRST


def _holds(stream: Any, digest: str) -> bool:
    """Whether a line has this hash: the journal may lag one line behind, after a kill between the two writes."""
    stream.seek(0)
    return any(digest.encode() in line for line in stream)


def _hash(entry: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()


def _encode_line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, sort_keys=True).encode() + b"\n"


def _find_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
