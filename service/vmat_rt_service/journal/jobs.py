"""The journal: every job with its state, attempts, times, reasons and hashes, in one SQLite file.

Nothing of a patient stands in it: no name, ID, date, UID, ROI or path. Where the inbox must be recognised after a
restart it holds keyed digests, whose key never leaves the file. Times are for people; no decision rests on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vmat_rt_service.journal.database import Database
from vmat_rt_service.journal.rows import (
    COLUMNS,
    SUPERSEDED,
    change,
    find_content,
    format_now,
    give_content,
    make_job,
    note_transition,
    require_job,
    supersede,
)
from vmat_rt_service.journal.rows import Job as Job
from vmat_rt_service.journal.rows import JobOutcome as JobOutcome
from vmat_rt_service.journal.states import INCOMPLETE, State


class Journal(Database):
    """The journal file. Every method is one transaction; processes and threads may share the file, not the object."""

    # ---- reading

    def list_jobs(self, *states: State) -> tuple[Job, ...]:
        """The jobs in these states, or all, oldest first."""
        where = f"WHERE state IN ({', '.join('?' * len(states))})" if states else ""
        rows = self._db.execute(f"SELECT {COLUMNS} FROM jobs {where} ORDER BY id", [str(s) for s in states])
        return tuple(make_job(row) for row in rows)

    def find_job(self, number: int) -> Job | None:
        row = self._db.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (number,)).fetchone()
        return make_job(row) if row else None

    def count_jobs(self) -> dict[State, int]:
        """How many jobs stand in each state."""
        found = {
            State(r["state"]): int(r["n"]) for r in self._db.execute("SELECT state, count(*) n FROM jobs GROUP BY 1")
        }
        return {state: found.get(state, 0) for state in State}

    def list_inputs(self, job: int) -> dict[str, int]:
        """SHA-256 -> size of the files that a job was made of."""
        rows = self._db.execute("SELECT sha256, size FROM inputs WHERE job = ?", (job,))
        return {str(row["sha256"]): int(row["size"]) for row in rows}

    def find_essence(self, job: int) -> str | None:
        """The hash of what of a job's files can reach its result; None for jobs of earlier versions."""
        row = self._db.execute("SELECT essence FROM jobs WHERE id = ?", (job,)).fetchone()
        return None if row is None else row["essence"]

    def list_transitions(self, job: int) -> tuple[tuple[str, str], ...]:
        rows = self._db.execute("SELECT old, new FROM transitions WHERE job = ? ORDER BY id", (job,))
        return tuple((str(row["old"]), str(row["new"])) for row in rows)

    def find_sighted(self, signature: str) -> Job | None:
        """The job that these very files were taken for before."""
        row = self._db.execute("SELECT job FROM sightings WHERE signature = ?", (signature,)).fetchone()
        return self.find_job(int(row["job"])) if row else None

    def retry_wanted(self) -> bool:
        """Whether `retry` was called, perhaps by another process, and the files were not yet looked for."""
        row = self._db.execute(
            "SELECT 1 FROM jobs WHERE state = 'receiving' AND reason_code = 'RETRY' LIMIT 1"
        ).fetchone()
        return row is not None

    def list_incomplete(self) -> tuple[tuple[Job, str], ...]:
        """The incomplete jobs, each with its source."""
        rows = self._db.execute(
            f"SELECT {COLUMNS}, source FROM jobs WHERE state IN (?, ?)", [str(state) for state in INCOMPLETE]
        ).fetchall()
        return tuple((make_job(row), str(row["source"])) for row in rows)

    def list_running(self, worker: str) -> tuple[Job, ...]:
        """List the jobs that a worker works on."""
        rows = self._db.execute(f"SELECT {COLUMNS} FROM jobs WHERE state = 'running' AND worker = ?", (worker,))
        return tuple(make_job(row) for row in rows)

    # ---- the inbox side

    def receive(self, source: str, key: str, code: str, reason: str) -> Job:
        """The incomplete job of this source, made if need be, with what it waits for.

        One that was refused before its files could be copied comes back: they are others now.
        """
        with self.transaction() as db:
            row = db.execute(
                "SELECT id, state FROM jobs WHERE source = ? AND (state IN (?, ?) OR "
                "(state = ? AND content_hash IS NULL)) ORDER BY id DESC LIMIT 1",
                (source, *map(str, INCOMPLETE), State.REFUSED),
            ).fetchone()
            if row is None:
                cursor = db.execute(
                    "INSERT INTO jobs (key, source, state, created, updated) VALUES (?, ?, ?, ?, ?)",
                    (key, source, State.RECEIVING, format_now(), format_now()),
                )
                number = int(cursor.lastrowid or 0)
            else:
                number = int(row["id"])
                if State(row["state"]) is State.REFUSED:
                    change(db, number, State.RECEIVING, "files changed")
            db.execute(
                "UPDATE jobs SET reason_code = ?, reason = ?, updated = ? WHERE id = ? AND reason != ?",
                (code, reason, format_now(), number, reason),
            )
            return require_job(db, number)

    def refuse_untaken(self, job: int, code: str, reason: str, signatures: Iterable[str]) -> Job:
        """Close a job whose files could not be copied or judged; these very files are not tried again by themselves."""
        with self.transaction() as db:
            change(db, job, State.REFUSED, code)
            db.execute("UPDATE jobs SET reason_code = ?, reason = ? WHERE id = ?", (code, reason, job))
            db.executemany("INSERT OR REPLACE INTO sightings VALUES (?, ?)", [(s, job) for s in signatures])
            return require_job(db, job)

    def move(self, job: int, new: State, why: str = "") -> Job:
        """One legal change of state. Raises IllegalTransitionError."""
        with self.transaction() as db:
            change(db, job, new, why)
            return require_job(db, job)

    def forget_incomplete(self, job: int) -> None:
        """Drop an incomplete job whose files are gone or turned out to be another job's; never one that once ran."""
        with self.transaction() as db:
            db.execute("DELETE FROM jobs WHERE id = ? AND content_hash IS NULL", (job,))

    def admit(
        self, job: int, key: str, files: dict[str, int], content_hash: str, signatures: Iterable[str], essence: str = ""
    ) -> Job:
        """An incomplete job has its files: it becomes ready. The same content as before: the older job is returned.

        The same is, too, what differs only in what cannot reach a result (essence). key is made unique with digits of
        the content where another content has it, so no result covers another. Of one key the later content counts: an
        earlier one that has not begun is refused as SUPERSEDED, and comes back where its content comes again.
        """
        with self.transaction() as db:
            older = find_content(db, content_hash, essence)
            number = older.id if older else job
            if number != job:
                db.execute("DELETE FROM jobs WHERE id = ? AND content_hash IS NULL", (job,))
            if older is not None and older.reason_code == SUPERSEDED:
                change(db, number, State.RECEIVING, "its content came again")
                older = require_job(db, number)
            if older is None or older.state in INCOMPLETE:
                supersede(db, key, number)
                give_content(db, number, key, files, (content_hash, essence or None))
                change(db, number, State.READY, "complete")
            db.executemany("INSERT OR REPLACE INTO sightings VALUES (?, ?)", [(s, number) for s in signatures])
            return require_job(db, number)

    def retry(self, job: int) -> Job:
        """Fetch a refused or failed job's files again and run it once more. Raises IllegalTransitionError."""
        with self.transaction() as db:
            change(db, job, State.RECEIVING, "retry")
            db.execute(
                "UPDATE jobs SET reason_code = 'RETRY', reason = 'looking for its files in the inbox' WHERE id = ?",
                (job,),
            )
            db.execute("DELETE FROM sightings WHERE job = ?", (job,))
            return require_job(db, job)

    # ---- the worker side

    def claim(self, worker: str) -> Job | None:
        """Take the oldest ready job, or None. One statement inside one transaction: two workers never get the same."""
        with self.transaction() as db:
            row = db.execute(
                "UPDATE jobs SET state = ?, worker = ?, attempts = attempts + 1, updated = ? WHERE id = "
                "(SELECT id FROM jobs WHERE state = ? ORDER BY id LIMIT 1) RETURNING id",
                (State.RUNNING, worker, format_now(), State.READY),
            ).fetchone()
            if row is None:
                return None
            note_transition(db, int(row["id"]), State.READY, State.RUNNING, "claimed")
            return require_job(db, int(row["id"]))

    def finish(self, job: int, outcome: JobOutcome, destinations: Sequence[str] = ()) -> Job:
        """Close a job; where it is done, queue its sends in the same transaction."""
        with self.transaction() as db:
            change(db, job, outcome.state, outcome.code)
            db.execute(
                "UPDATE jobs SET reason_code = ?, reason = ?, model = coalesce(?, model), "
                "seconds = coalesce(?, seconds), key = coalesce(?, key), worker = NULL WHERE id = ?",
                (outcome.code, outcome.reason, outcome.model, outcome.seconds, outcome.key, job),
            )
            if outcome.state is State.DONE:
                rows = [(job, name, format_now()) for name in destinations]
                db.executemany("INSERT OR IGNORE INTO sends (job, destination, next_at) VALUES (?, ?, ?)", rows)
            return require_job(db, job)

    def have_others_finished(self, job: int) -> bool:
        """Whether another job came to its end since this one was last given back."""
        row = self._db.execute(
            "SELECT 1 FROM transitions WHERE job != ? AND new IN ('done', 'refused') AND id > "
            "(SELECT max(id) FROM transitions WHERE job = ? AND old = 'running' AND new = 'ready') LIMIT 1",
            (job, job),
        ).fetchone()
        return row is not None

    def count_anew(self, job: int) -> None:
        """What a job's earlier attempts met is no longer held against it."""
        with self.transaction() as db:
            db.execute("UPDATE jobs SET attempts = 1, interruptions = interruptions + 1 WHERE id = ?", (job,))

    def give_back(self, job: int, why: str, counted: bool) -> Job:
        """A run that ended without an outcome: the job is ready again; uncounted where it was not the job's fault."""
        with self.transaction() as db:
            change(db, job, State.READY, why)
            uncount = "" if counted else ", attempts = max(0, attempts - 1), interruptions = interruptions + 1"
            db.execute(f"UPDATE jobs SET worker = NULL{uncount} WHERE id = ?", (job,))
            return require_job(db, job)
