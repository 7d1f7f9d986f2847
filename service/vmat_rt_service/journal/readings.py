"""What the journal says, for the status page and the metrics: read-only, from any thread, in nobody's way."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from vmat_rt_service.journal.jobs import Job
from vmat_rt_service.journal.states import State

BUCKETS_SECONDS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds of the histogram of run times."""

_PATIENCE_SECONDS = 5.0
_MOST_SOURCES = 500
_JOB = ", ".join(field.name for field in fields(Job))


@dataclass(frozen=True)
class Step:
    """One change of a job's state."""

    old: str
    new: str
    at: str
    why: str


@dataclass(frozen=True)
class Durations:
    """Run times of the jobs that are done: how many took at most each of BUCKETS_SECONDS, their number and sum."""

    at_most: tuple[int, ...]
    count: int
    total_seconds: float


@dataclass(frozen=True)
class Search:
    """Which jobs are looked for: in these states (none: all) and with this text, or from one of these sources."""

    text: str = ""
    states: tuple[State, ...] = ()
    sources: tuple[str, ...] = ()


class Readings:
    """One consistent look at the journal, as it was when the look began."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def count_jobs(self) -> dict[State, int]:
        """How many jobs stand in each state."""
        found = dict(map(tuple, self._db.execute("SELECT state, count(*) FROM jobs GROUP BY state")))
        return {state: int(found.get(str(state), 0)) for state in State}

    def meta(self, name: str) -> str:
        """A value that the journal keeps under a name; "" where there is none."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def list_oldest(self, limit: int, *states: State) -> tuple[Job, ...]:
        """The first jobs in these states: the order in which they are taken."""
        return self._read_jobs(limit, "id", *states)

    def list_latest(self, limit: int, *states: State) -> tuple[Job, ...]:
        """The jobs in these states that changed last, newest first."""
        return self._read_jobs(limit, "updated DESC, id DESC", *states)

    def find_job(self, number: int) -> Job | None:
        """One job, None where there is none."""
        rows = self._read_rows("WHERE id = ?", (number,))
        return rows[0] if rows else None

    def knows(self, key: str) -> bool:
        """Whether any job has this key: nothing else in the outbox is served."""
        row = self._db.execute("SELECT 1 FROM jobs WHERE key = ? LIMIT 1", (key,)).fetchone()
        return row is not None

    def search(self, wanted: Search, limit: int, offset: int) -> tuple[tuple[Job, ...], int]:
        """The jobs that are wanted, those that changed last first, from one on; and how many there are in all."""
        states = wanted.states or tuple(State)
        clause, values = f"state IN ({', '.join('?' * len(states))})", [*map(str, states)]
        if wanted.text:
            like = f"%{_escape_like(wanted.text)}%"
            columns = ("key", "reason", "reason_code", "model", "CAST(id AS TEXT)")
            alternatives = [f"{column} LIKE ? ESCAPE '!'" for column in columns]
            sources = wanted.sources[:_MOST_SOURCES]
            alternatives.append(f"source IN ({', '.join('?' * len(sources))})")
            clause += f" AND ({' OR '.join(alternatives)})"
            values += [like] * len(columns) + list(sources)
        (total,) = self._db.execute(f"SELECT count(*) FROM jobs WHERE {clause}", values).fetchone()
        order = "ORDER BY updated DESC, id DESC LIMIT ? OFFSET ?"
        return self._read_rows(f"WHERE {clause} {order}", (*values, limit, offset)), int(total)

    def list_sources(self, jobs: Iterable[int]) -> dict[int, str]:
        """Job -> the digest of what it was recognised by in the inbox."""
        numbers = tuple(jobs)
        marks = ", ".join("?" * len(numbers))
        rows = self._db.execute(f"SELECT id, source FROM jobs WHERE id IN ({marks})", numbers)
        return {int(number): str(source) for number, source in rows}

    def read_key(self) -> bytes:
        """What the digests are made with."""
        return bytes.fromhex(self._db.execute("SELECT value FROM meta WHERE name = 'key'").fetchone()[0])

    def list_steps(self, job: int) -> tuple[Step, ...]:
        """A job's history, oldest first."""
        rows = self._db.execute("SELECT old, new, at, why FROM transitions WHERE job = ? ORDER BY id", (job,))
        return tuple(Step(*row) for row in rows)

    def count_inputs(self, job: int) -> tuple[int, int]:
        """How many files a job was made of, and their bytes."""
        row = self._db.execute("SELECT count(*), coalesce(sum(size), 0) FROM inputs WHERE job = ?", (job,)).fetchone()
        return int(row[0]), int(row[1])

    def read_latest_seconds(self, limit: int) -> tuple[float, ...]:
        """Run times of the last jobs that were done, oldest first."""
        rows = self._db.execute(
            "SELECT seconds FROM jobs WHERE state = ? AND seconds IS NOT NULL ORDER BY updated DESC, id DESC LIMIT ?",
            (str(State.DONE), limit),
        )
        return tuple(float(row[0]) for row in rows)[::-1]

    def count_durations(self) -> Durations:
        """The histogram of all run times, counted by SQLite."""
        columns = ", ".join("coalesce(sum(seconds <= ?), 0)" for _ in BUCKETS_SECONDS)
        *at_most, count, total = self._db.execute(
            f"SELECT {columns}, count(seconds), coalesce(sum(seconds), 0.0) FROM jobs WHERE state = ?",
            (*BUCKETS_SECONDS, str(State.DONE)),
        ).fetchone()
        return Durations(tuple(map(int, at_most)), int(count), float(total))

    def count_changes(self) -> dict[State, int]:
        """How often any job has entered each state since the journal began; never falls."""
        counts = dict(map(tuple, self._db.execute("SELECT new, count(*) FROM transitions GROUP BY new")))
        return {state: int(counts.get(str(state), 0)) for state in State}

    def count_sends(self) -> dict[tuple[str, str], int]:
        """(destination, status) -> how many results."""
        rows = self._db.execute("SELECT destination, status, count(*) FROM sends GROUP BY 1, 2")
        return {(str(name), str(status)): int(count) for name, status, count in rows}

    def list_sent(self, job: int) -> tuple[tuple[str, str], ...]:
        """How far a job's results have gone: (destination, status)."""
        rows = self._db.execute("SELECT destination, status FROM sends WHERE job = ? ORDER BY id", (job,))
        return tuple((str(name), str(status)) for name, status in rows)

    def _read_jobs(self, limit: int, order: str, *states: State) -> tuple[Job, ...]:
        marks = ", ".join("?" * len(states))
        return self._read_rows(f"WHERE state IN ({marks}) ORDER BY {order} LIMIT ?", (*map(str, states), limit))

    def _read_rows(self, clause: str, values: tuple[str | int, ...]) -> tuple[Job, ...]:
        rows = self._db.execute(f"SELECT {_JOB} FROM jobs {clause}", values)
        return tuple(Job(**{**dict(row), "state": State(row["state"])}) for row in rows)


def _escape_like(text: str) -> str:
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


@contextmanager
def reading(journal: Path) -> Iterator[Readings]:
    """Open the journal for one look. Raises sqlite3.Error when it is not there or cannot be read."""
    db = sqlite3.connect(f"{journal.resolve().as_uri()}?mode=ro", uri=True, timeout=_PATIENCE_SECONDS)
    try:
        db.row_factory = sqlite3.Row
        db.execute("BEGIN")
        yield Readings(db)
    finally:
        db.close()
