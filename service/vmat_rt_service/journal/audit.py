"""The audit log: who configured, what came in, what made what of it. Each line carries the hash of the one before.

The hashes are keyed: without the secret of the state folder nobody makes a line that follows. A changed, removed or
inserted line breaks the chain; a tail that was cut off is seen in the journal, which keeps the hash of the last line.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
import platform
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from vmat_rt_service import logs
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.journal.database import SECRET, Database, Sealer

Seal = Callable[[str, str], str]

_FIRST = "0" * 64
_BLOCK = 1 << 16
HEAD = "audit_head"
_CUT = "missing_before"
"""Stands in a line that was written after others had been cut off: the hash of the last of those."""
_MENDED = "mended_bytes"
"""Stands in a line that was written after damaged bytes had been moved away, to DAMAGED."""
DAMAGED = "audit.damaged"


@dataclass(frozen=True)
class Verification:
    """What `verify` found: how many lines hold, and what is wrong from there on (empty: nothing)."""

    lines: int
    fault: str = ""


def append(config: ServiceConfig, journal: Database, event: str, **facts: Any) -> None:
    """Add one line, flushed to disk. A damaged end of the log is moved away first. Raises OSError."""
    descriptor = os.open(config.audit, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            os.fchmod(descriptor, 0o600)
        last, mended = _mend(stream, config.audit)
        entry = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
        entry["previous"] = last
        if mended:
            entry[_MENDED] = mended
        head = read_head(journal)
        if head and head != last and not _holds(stream, head):
            entry[_CUT] = head
        entry["hash"] = _seal_line(journal.seal, entry)
        end = stream.seek(0, os.SEEK_END)
        try:
            _write_whole(stream, _encode_line(entry))
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)
            raise
        journal.set_meta(HEAD, entry["hash"])


def note_start(config: ServiceConfig, journal: Database) -> None:
    """Note who runs the service, on what and how configured."""
    append(
        config, journal, "service started", user=_find_user(), configuration=config.sha256(), versions=list_versions(),
        device=config.device, model=Path(config.model).name if config.model else None,
        after_success=config.after_success,
    )  # fmt: skip


def read_entries(path: Path) -> list[dict[str, Any]]:
    """The lines of the log that can be read."""
    lines = path.read_bytes().splitlines() if path.is_file() else ()
    return [entry for line in lines if (entry := _parse(line)) is not None]


def verify(path: Path, head: str = "") -> Verification:
    """Follow the chain with the secret that lies beside the log. head: the last line's hash as the journal knows it.

    Logs of earlier versions begin with lines whose hashes have no key; behind the first keyed line none is accepted.
    """
    if not path.is_file():
        return Verification(0, "the audit log is missing" if head else "")
    seal = _find_seal(path)
    last, hashes, keyed = _FIRST, set(), False
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        entry = _parse(line)
        if entry is None:
            return Verification(number - 1, f"line {number} is damaged")
        stated = entry.pop("hash")
        if entry.get("previous") != last:
            return Verification(number - 1, f"line {number} does not follow line {number - 1}")
        sealed = seal is not None and stated == _seal_line(seal, entry)
        if not sealed and (keyed or stated != _hash(entry)):
            return Verification(number - 1, f"line {number} was changed, or not written by this service")
        if _CUT in entry:
            return Verification(number - 1, f"lines before line {number} are missing")
        keyed = keyed or sealed
        last = stated
        hashes.add(stated)
    if seal is not None and hashes and not keyed:
        return Verification(0, "no line was written by this service")
    if head and head not in hashes:
        return Verification(len(hashes), f"lines after line {len(hashes)} are missing")
    return Verification(len(hashes))


def _find_seal(path: Path) -> Seal | None:
    """What seals lines of this log; None where no secret lies beside it. Raises OSError."""
    secret = path.with_name(SECRET)
    return Sealer(secret) if secret.exists() else None


def read_head(journal: Database) -> str:
    return journal.meta(HEAD)


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


def _mend(stream: Any, path: Path) -> tuple[str, int]:
    """The hash of the last whole line, and how many bytes after it were no lines and were moved away.

    Half a line of a writer that was killed was never acknowledged; damaged lines may have been, and are kept beside the
    log for whoever looks into it.
    """
    end = stream.seek(0, os.SEEK_END)
    begin, tail, last, whole = end, b"", _FIRST, 0
    while begin > 0 and not whole:
        step = min(_BLOCK, begin)
        begin = stream.seek(begin - step)
        tail = stream.read(step) + tail
        last, whole = _find_last_line(tail, is_from_start=begin == 0)
    lost = tail[whole:]
    if lost:
        with path.with_name(DAMAGED).open("ab") as aside:
            aside.write(lost + b"\n")
        os.ftruncate(stream.fileno(), begin + whole)
        logs.event("audit log mended", code="DAMAGED_TAIL", count=len(lost))
    return last, len(lost)


def _find_last_line(tail: bytes, is_from_start: bool) -> tuple[str, int]:
    """The hash of the last whole line within the end of the log, and where that line ends; 0 where there is none."""
    begin = 0 if is_from_start else tail.find(b"\n") + 1
    end = tail.rfind(b"\n") + 1
    while end > begin:
        start = max(tail.rfind(b"\n", 0, end - 1) + 1, begin)
        entry = _parse(tail[start:end])
        if entry is not None:
            return str(entry["hash"]), end
        end = start
    return _FIRST, 0


def _holds(stream: Any, digest: str) -> bool:
    """Whether a line has this hash: the journal may lag one line behind, after a kill between the two writes."""
    stream.seek(0)
    return digest.encode() in stream.read()


def _parse(line: bytes) -> dict[str, Any] | None:
    """A line's entry; None for what is none of ours."""
    try:
        entry = json.loads(line)
        return entry if isinstance(entry["hash"], str) and isinstance(entry["event"], str) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _hash(entry: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()


def _seal_line(seal: Seal, entry: dict[str, Any]) -> str:
    return seal("audit", json.dumps(entry, sort_keys=True))


def _write_whole(stream: Any, content: bytes) -> None:
    while content:
        content = content[stream.write(content) :]


def _encode_line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, sort_keys=True).encode() + b"\n"


def _find_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
