"""Rows of the journal's jobs: how they are read, changed by the table of legal changes, and given their content.

Each function works within a transaction of the caller's.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from vmat_rt_service.journal.states import State, require_legal

COLUMNS = "id, key, content_hash, state, attempts, interruptions, created, updated, reason_code, reason, model, seconds"


SUPERSEDED = "SUPERSEDED"
"""The code of a job that gave way to a later content of its study before it began."""


@dataclass(frozen=True)
class Job:
    """One row of the journal. key names its folder in the outbox; seconds is how long its last run took."""

    id: int
    key: str
    content_hash: str | None
    state: State
    attempts: int
    interruptions: int
    created: str
    updated: str
    reason_code: str
    reason: str
    model: str | None
    seconds: float | None


@dataclass(frozen=True)
class JobOutcome:
    """How a run ended. code and reason are ours; texts about the study's content belong into the outbox, not here."""

    state: State
    code: str = ""
    reason: str = ""
    model: str | None = None
    seconds: float | None = None
    key: str | None = None  # where the result's folder had to be called otherwise


def find_content(db: sqlite3.Connection, content_hash: str, essence: str) -> Job | None:
    """The job of this content, or else of one that gives the same result."""
    row = db.execute(
        f"SELECT {COLUMNS} FROM jobs WHERE content_hash = ? OR (essence = ? AND essence IS NOT NULL) "
        "ORDER BY content_hash = ? DESC, id DESC LIMIT 1",
        (content_hash, essence or None, content_hash),
    ).fetchone()
    return make_job(row) if row else None


def supersede(db: sqlite3.Connection, key: str, by: int) -> None:
    """The jobs of a study that wait for a worker give way to a later content of it."""
    rows = db.execute("SELECT id FROM jobs WHERE study = ? AND state = ? AND id != ?", (key, State.READY, by))
    for row in rows.fetchall():
        change(db, int(row["id"]), State.RUNNING, SUPERSEDED)  # as a worker would take it, so that none does
        change(db, int(row["id"]), State.REFUSED, SUPERSEDED)
        reason = f"a later content of the study came before it began: job {by}"
        db.execute("UPDATE jobs SET reason_code = ?, reason = ? WHERE id = ?", (SUPERSEDED, reason, int(row["id"])))


def give_content(
    db: sqlite3.Connection, number: int, study: str, files: dict[str, int], identity: tuple[str, str | None]
) -> None:
    taken = db.execute("SELECT 1 FROM jobs WHERE key = ? AND id != ? AND content_hash IS NOT NULL", (study, number))
    key = f"{study}-{identity[0][:6]}" if taken.fetchone() else study
    db.execute(
        "UPDATE jobs SET key = ?, study = ?, content_hash = ?, essence = ?, attempts = 0, interruptions = 0, "
        "reason = '', reason_code = '' WHERE id = ?",
        (key, study, *identity, number),
    )
    db.execute("DELETE FROM inputs WHERE job = ?", (number,))
    db.executemany("INSERT OR IGNORE INTO inputs VALUES (?, ?, ?)", [(number, *file) for file in files.items()])


def make_job(row: sqlite3.Row) -> Job:
    values = {name: row[name] for name in COLUMNS.split(", ")}
    return Job(**{**values, "state": State(row["state"])})


def require_job(db: sqlite3.Connection, number: int) -> Job:
    return make_job(db.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (number,)).fetchone())


def change(db: sqlite3.Connection, job: int, new: State, why: str) -> None:
    row = db.execute("SELECT state FROM jobs WHERE id = ?", (job,)).fetchone()
    old = State(row["state"])
    require_legal(old, new)
    db.execute("UPDATE jobs SET state = ?, updated = ? WHERE id = ?", (new, format_now(), job))
    note_transition(db, job, old, new, why)


def note_transition(db: sqlite3.Connection, job: int, old: State, new: State, why: str) -> None:
    db.execute(
        "INSERT INTO transitions (job, old, new, at, why) VALUES (?, ?, ?, ?, ?)", (job, old, new, format_now(), why)
    )


def format_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
