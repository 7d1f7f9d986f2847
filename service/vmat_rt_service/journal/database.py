"""The SQLite file behind the journal: schema, transactions, keyed digests."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, source TEXT NOT NULL, content_hash TEXT UNIQUE,
    state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, interruptions INTEGER NOT NULL DEFAULT 0,
    created TEXT NOT NULL, updated TEXT NOT NULL, reason_code TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '', model TEXT, seconds REAL, worker TEXT);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, id);
CREATE INDEX IF NOT EXISTS jobs_by_source ON jobs (source);
CREATE TABLE IF NOT EXISTS inputs (
    job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (job, sha256));
CREATE TABLE IF NOT EXISTS transitions (
    id INTEGER PRIMARY KEY, job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    old TEXT NOT NULL, new TEXT NOT NULL, at TEXT NOT NULL, why TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS transitions_by_job ON transitions (job);
CREATE TABLE IF NOT EXISTS sightings (
    signature TEXT PRIMARY KEY, job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE);
CREATE TABLE IF NOT EXISTS sends (
    id INTEGER PRIMARY KEY, job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE, destination TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending', attempts INTEGER NOT NULL DEFAULT 0, next_at TEXT NOT NULL,
    detail TEXT NOT NULL DEFAULT '', UNIQUE (job, destination));
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Database:
    """One connection. Processes and threads may share the file, never this object."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._db = sqlite3.connect(path, timeout=30.0, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        with self.transaction():
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.execute("INSERT OR IGNORE INTO meta VALUES ('key', ?)", (secrets.token_hex(32),))
        self._key = bytes.fromhex(self.meta("key"))

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything or nothing, alone with the file."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # SQLite itself rolls back when the disk is full
                self._db.execute("ROLLBACK")
            raise

    def digest(self, *parts: object) -> str:
        """A keyed digest: it recognises the same parts again and does not show what they were."""
        return make_digest(self._key, *parts)

    def meta(self, name: str) -> str:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return str(row["value"]) if row else ""

    def set_meta(self, name: str, value: str) -> None:
        with self.transaction() as db:
            db.execute(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = ?", (name, value, value)
            )


def make_digest(key: bytes, *parts: object) -> str:
    """The digest of a journal with this key."""
    text = "\0".join(str(part) for part in parts).encode("utf-8", "surrogateescape")
    return hmac.new(key, text, hashlib.sha256).hexdigest()[:32]
