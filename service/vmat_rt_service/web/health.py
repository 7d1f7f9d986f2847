"""Is the service alive and does it get on with its work? Answered from what it did last, not from what it says."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmat_rt.errors import Problem
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.journal.readings import reading

_GB = 1e9
_PATIENCE_SECONDS = 120.0
_PATIENCE_SCANS = 10
"""Stuck: no sign for two minutes, or ten scans where those are far apart. A large inbox on a slow share needs time."""


class Pulse:
    """The supervisor's signs of life, by the monotonic clock: it writes, the web threads read.

    Each value is replaced whole, so no lock is needed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = self._beaten = self._scan_due = clock()
        self._scans = 0
        self._scanned: float | None = None
        self.pause: Problem | None = None  # why the service takes and makes nothing at present
        self.parts: dict[str, tuple[bool, str]] = {}

    def beat(self, scans: int, next_scan_seconds: float) -> None:
        """The loop has come round; so many scans are behind it, and the next is due in so many seconds."""
        now = self._clock()
        if scans != self._scans:
            self._scans, self._scanned = scans, now
        self._beaten, self._scan_due = now, now + next_scan_seconds

    def report(self, name: str, ok: bool, sentence: str) -> None:
        """A part beside the loop, such as the DICOM node, says how it is."""
        self.parts = {**self.parts, name: (ok, sentence)}

    def age_seconds(self) -> float:
        """Since the loop last came round."""
        return self._clock() - self._beaten

    def scan_age_seconds(self) -> float | None:
        """Since the last scan ended; None before the first."""
        scanned = self._scanned
        return None if scanned is None else self._clock() - scanned

    def scan_overdue_seconds(self) -> float:
        """How long a scan has been due; 0 while it is not."""
        return max(0.0, self._clock() - self._scan_due)

    def measure_up_seconds(self) -> float:
        """Since the service started."""
        return self._clock() - self._started


@dataclass(frozen=True)
class Check:
    """One condition of health, with a sentence for people."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Health:
    """The checks and the figures behind them. Low disk is a fault: the service has stopped taking jobs."""

    checks: tuple[Check, ...]
    up_seconds: float
    scan_age_seconds: float | None
    free_bytes: dict[str, int]

    @property
    def ok(self) -> bool:
        """Whether every check passes."""
        return all(check.ok for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """The JSON of /healthz."""
        return {
            "status": "ok" if self.ok else "failing",
            "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in self.checks],
            "up_seconds": round(self.up_seconds, 1),
            "last_scan_seconds_ago": None if self.scan_age_seconds is None else round(self.scan_age_seconds, 1),
            "free_bytes": self.free_bytes,
        }


def _free_bytes(config: ServiceConfig) -> dict[str, int]:
    """Free bytes for results and for the service's own state; 0 where a folder is not there."""
    return {"outbox": _free(config.outbox), "state": _free(config.state)}


def examine_health(config: ServiceConfig, pulse: Pulse) -> Health:
    """Look at the loop, the scan, the journal, the folders and the disks."""
    free = _free_bytes(config)
    patience = max(_PATIENCE_SECONDS, _PATIENCE_SCANS * config.scan_seconds)
    checks = (
        _check_recent("supervisor", "the loop last came round {:.0f} s ago", pulse.age_seconds(), patience),
        _check_recent(
            "scan", "the next scan of the inbox has been due for {:.0f} s", pulse.scan_overdue_seconds(), patience
        ),
        _check_journal(config.journal),
        Check("inbox", config.inbox.is_dir(), "the inbox is there" if config.inbox.is_dir() else "the inbox is gone"),
        _check_disk(free, config.min_free_gb),
        Check("work", pulse.pause is None, pulse.pause.message if pulse.pause else "nothing stops the work"),
        *(Check(name, ok, sentence) for name, (ok, sentence) in pulse.parts.items()),
    )
    return Health(checks, pulse.measure_up_seconds(), pulse.scan_age_seconds(), free)


def _check_recent(name: str, sentence: str, age_seconds: float, patience_seconds: float) -> Check:
    ok = age_seconds <= patience_seconds
    stuck = f"; more than {patience_seconds:.0f} s means that it is stuck"
    return Check(name, ok, sentence.format(age_seconds) + ("" if ok else stuck))


def _check_journal(path: Path) -> Check:
    try:
        with reading(path) as journal:
            count = sum(journal.count_jobs().values())
    except sqlite3.Error as error:
        return Check("journal", False, f"the journal cannot be read ({type(error).__name__})")
    return Check("journal", True, f"the journal holds {count} jobs")


def _check_disk(free: dict[str, int], min_free_gb: float) -> Check:
    name, least = min(free.items(), key=lambda item: item[1])
    ok = least >= min_free_gb * _GB
    low = "" if ok else f"; below {min_free_gb:g} GB no job is started"
    return Check("disk", ok, f"{least / _GB:.1f} GB are free for the {name}{low}")


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0
