"""What is to be sent where, what was acknowledged and what went wrong: the `sends` of the journal.

A send is one job's result for one destination, queued in the same transaction that makes the job done. What a
destination acknowledged is noted object by object, at once, so that a retry goes on where the last attempt ended.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from vmat_rt_service.journal.database import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS acknowledged (
    send INTEGER NOT NULL REFERENCES sends (id) ON DELETE CASCADE, kind TEXT NOT NULL, PRIMARY KEY (send, kind))
"""


class SendStatus(StrEnum):
    """How far a send is."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"  # the destination refused it again and again; `vmat-rt jobs resend` tries once more


@dataclass(frozen=True)
class Send:
    """One row of `sends`. attempts: those that failed; detail: why the last one did, in our own words."""

    id: int
    job: int
    destination: str
    status: SendStatus
    attempts: int
    next_at: str
    detail: str


class Ledger(Database):
    """The sends of a journal file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with self.transaction() as db:
            db.execute(_SCHEMA)

    def list_pending(self, destinations: Collection[str]) -> tuple[Send, ...]:
        """What is still to be sent to these destinations, oldest job first."""
        rows = self._db.execute("SELECT * FROM sends WHERE status = ? ORDER BY job, id", (SendStatus.PENDING,))
        return tuple(_send(row) for row in rows if row["destination"] in destinations)

    def group_by_job(self) -> dict[int, list[Send]]:
        """Every send, by its job."""
        sends: dict[int, list[Send]] = {}
        for row in self._db.execute("SELECT * FROM sends ORDER BY job, id"):
            sends.setdefault(int(row["job"]), []).append(_send(row))
        return sends

    def list_acknowledged(self, send: int) -> frozenset[str]:
        """The kinds of objects that the destination has."""
        rows = self._db.execute("SELECT kind FROM acknowledged WHERE send = ?", (send,))
        return frozenset(str(row["kind"]) for row in rows)

    def acknowledge(self, send: int, kind: str) -> None:
        """The destination said that it has an object."""
        with self.transaction() as db:
            db.execute("INSERT OR IGNORE INTO acknowledged VALUES (?, ?)", (send, kind))

    def complete(self, send: int) -> None:
        """All of it was acknowledged."""
        with self.transaction() as db:
            db.execute("UPDATE sends SET status = ?, detail = '' WHERE id = ?", (SendStatus.SENT, send))

    def postpone(self, send: int, detail: str, seconds: float) -> None:
        """An attempt failed; the next is due in so many seconds (the time of day is for people)."""
        next_at = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
        with self.transaction() as db:
            db.execute(
                "UPDATE sends SET attempts = attempts + 1, detail = ?, next_at = ? WHERE id = ?",
                (detail, next_at, send),
            )

    def give_up(self, send: int, detail: str) -> None:
        """No further attempt is made by itself."""
        with self.transaction() as db:
            db.execute(
                "UPDATE sends SET status = ?, attempts = attempts + 1, detail = ? WHERE id = ?",
                (SendStatus.FAILED, detail, send),
            )

    def resend(self, job: int) -> int:
        """Queue what failed of a job once more; how many sends that are."""
        with self.transaction() as db:
            done = db.execute(
                "UPDATE sends SET status = ?, attempts = 0, detail = '' WHERE job = ? AND status = ?",
                (SendStatus.PENDING, job, SendStatus.FAILED),
            )
            return done.rowcount


def find_pending_sends(journal: Path, destinations: Collection[str]) -> frozenset[int]:
    """The ids of what is still to be sent; a look that locks and writes nothing. Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"{journal.resolve().as_uri()}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT id, destination FROM sends WHERE status = ?", (SendStatus.PENDING,))
        return frozenset(int(number) for number, name in rows if name in destinations)


def _send(row: sqlite3.Row) -> Send:
    values = {name: row[name] for name in ("id", "job", "destination", "attempts", "next_at", "detail")}
    return Send(status=SendStatus(row["status"]), **values)
