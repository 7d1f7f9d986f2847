"""The journal made anew from the audit log where it is damaged or lost: what was done is not done again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vmat_rt_service import logs
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.journal import audit
from vmat_rt_service.journal.jobs import Journal
from vmat_rt_service.journal.states import State

_ENDED = {"done": State.DONE, "refused": State.REFUSED, "failed": State.FAILED}
_NOT_KNOWN = "not known since the journal was rebuilt; resend it where the destination lacks it"
_BESIDE = ("", "-wal", "-shm")


@dataclass(frozen=True)
class Rebuilt:
    """How many jobs were found again, and where the damaged journal went (None: there was none)."""

    jobs: int
    aside: Path | None


def open_journal(config: ServiceConfig) -> Journal:
    """The journal, rebuilt where it is damaged. Raises sqlite3.Error where another fault keeps it from being used."""
    fault = find_fault(config.journal)
    if fault:
        logs.event("journal damaged", code="JOURNAL_DAMAGED")
        rebuilt = rebuild(config)
        logs.event("journal rebuilt", count=rebuilt.jobs)
    return Journal(config.journal)


def find_fault(path: Path) -> str:
    """What SQLite finds wrong with a journal; "" where nothing is, or none is there yet."""
    if not path.exists() or path.stat().st_size == 0:
        return ""
    try:
        db = sqlite3.connect(path, timeout=30.0)
        try:
            found = [str(row[0]) for row in db.execute("PRAGMA quick_check(3)")]
            db.execute("SELECT count(*) FROM jobs").fetchone()
        finally:
            db.close()
    except sqlite3.OperationalError as error:
        return "" if "locked" in str(error) else str(error)
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if found == ["ok"] else "; ".join(found)


def rebuild(config: ServiceConfig) -> Rebuilt:
    """Make a new journal of what the audit log says; the old one is kept beside it. The service must not run.

    Jobs come back with their numbers, inputs, results and how they ended; of what was sent where nothing is known. Only
    lines that the chain holds are believed. Raises OSError or sqlite3.Error.
    """
    aside = _move_aside(config.journal)
    journal = Journal(config.journal)
    believed = audit.verify(config.audit).lines
    entries = audit.read_entries(config.audit)[:believed]
    jobs = _collect_ended(entries)
    with journal.transaction() as db:
        for number, entry in jobs.items():
            _insert(db, number, entry, [destination.name for destination in config.destinations])
    for entry in jobs.values():
        if entry["event"] == "done":
            journal.expect_result(entry["content_hash"], entry["results"])
    if entries:
        journal.set_meta(audit.HEAD, entries[-1]["hash"])
    audit.append(config, journal, "journal rebuilt", jobs=len(jobs))
    journal.close()
    return Rebuilt(len(jobs), aside)


def _collect_ended(entries: Iterable[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The last word on each job with a content; of two jobs of one content the later one."""
    ended = {int(e["job"]): e for e in entries if e["event"] in _ENDED and e.get("content_hash")}
    last = {entry["content_hash"]: number for number, entry in sorted(ended.items())}
    return {number: entry for number, entry in ended.items() if last[entry["content_hash"]] == number}


def _insert(db: sqlite3.Connection, number: int, entry: dict[str, Any], destinations: list[str]) -> None:
    state, key = _ENDED[entry["event"]], str(entry["key"])
    model = f"{entry['model']['name']} {entry['model']['version']}" if "model" in entry else None
    codes = str(entry.get("codes", ""))
    reason = "" if state is State.DONE else f"see refused/{key}/reason.html"
    db.execute(
        "INSERT INTO jobs (id, key, study, source, content_hash, essence, state, created, updated, reason_code, "
        "reason, model) VALUES (?, ?, ?, '', ?, ?, ?, ?, ?, ?, ?, ?)",
        (number, key, key, entry["content_hash"], entry.get("essence"), state, entry["at"], entry["at"], codes, reason,
         model),
    )  # fmt: skip
    inputs = entry.get("inputs") or {}
    db.executemany(
        "INSERT OR IGNORE INTO inputs VALUES (?, ?, ?)", [(number, sha, size) for sha, size in inputs.items()]
    )
    if state is State.DONE:
        rows = [(number, name, "failed", entry["at"], _NOT_KNOWN) for name in destinations]
        db.executemany("INSERT INTO sends (job, destination, status, next_at, detail) VALUES (?, ?, ?, ?, ?)", rows)


def _move_aside(path: Path) -> Path | None:
    if not path.exists():
        return None
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in _BESIDE:
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
