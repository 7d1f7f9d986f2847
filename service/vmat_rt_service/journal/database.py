"""The SQLite file behind the journal: schema, transactions, keyed digests."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vmat_rt_service.files import write_private

SECRET = "secret.key"

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
CREATE TABLE IF NOT EXISTS notes (kind TEXT NOT NULL, mark TEXT NOT NULL, PRIMARY KEY (kind, mark)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS results (content_hash TEXT PRIMARY KEY, files TEXT NOT NULL, seal TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Database:
    """One connection. Processes and threads may share the file, never this object."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_private(path)
        self.path = path
        self._noted: dict[str, set[str]] = {}
        self._sealer = Sealer(path.with_name(SECRET))
        self._db = sqlite3.connect(path, timeout=30.0, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        with self.transaction():
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            _add_columns(self._db)
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

    def seal(self, *parts: str) -> str:
        """A keyed hash that only this state folder's service can make; its key lies beside the journal, not in it."""
        return self._sealer(*parts)

    def expect_result(self, content_hash: str, files: dict[str, str]) -> None:
        """Note what the result of a content is, by name and SHA-256, before it gets its name in the outbox."""
        text = json.dumps(files, sort_keys=True)
        row = (content_hash, text, self.seal("result", content_hash, text))
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", row)

    def is_ours(self, content_hash: str, files: dict[str, str]) -> bool:
        """Whether files of these hashes are what this service wrote as the result of a content."""
        return self._read_result(content_hash) == files

    def is_foreign(self, content_hash: str, files: dict[str, str]) -> bool:
        """Whether what this service wrote as the result of a content is known, and is not these files."""
        return self._read_result(content_hash) not in (None, files)

    def _read_result(self, content_hash: str) -> dict[str, str] | None:
        row = self._db.execute("SELECT files, seal FROM results WHERE content_hash = ?", (content_hash,)).fetchone()
        if row is None or not hmac.compare_digest(row["seal"], self.seal("result", content_hash, row["files"])):
            return None
        return dict(json.loads(row["files"]))

    def note(self, kind: str, mark: str) -> None:
        """Remember a digest for what it was found to be."""
        with self.transaction() as db:
            db.execute("INSERT OR IGNORE INTO notes VALUES (?, ?)", (kind, mark))
        self._noted.setdefault(kind, set()).add(mark)

    def is_noted(self, kind: str, mark: str) -> bool:
        """Whether a digest was remembered so, now or by an earlier service."""
        if kind not in self._noted:
            rows = self._db.execute("SELECT mark FROM notes WHERE kind = ?", (kind,))
            self._noted[kind] = {str(row["mark"]) for row in rows}
        return mark in self._noted[kind]

    def meta(self, name: str) -> str:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return str(row["value"]) if row else ""

    def set_meta(self, name: str, value: str) -> None:
        with self.transaction() as db:
            db.execute(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = ?", (name, value, value)
            )


class Sealer:
    """Makes keyed hashes with a secret file, which is read, or made, when it is first needed. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path, self._key = path, b""

    def __call__(self, *parts: str) -> str:
        self._key = self._key or read_secret(self._path)
        return hmac.new(self._key, "\0".join(parts).encode(), hashlib.sha256).hexdigest()


def read_secret(path: Path) -> bytes:
    """The key of a state folder's seals, made when first needed, readable by its owner only. Raises OSError."""
    if not path.exists():
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        write_private(temporary, secrets.token_hex(32))
        with contextlib.suppress(FileExistsError):  # two processes, one key
            os.link(temporary, path)
        temporary.unlink()
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except ValueError:
        key = b""
    if not key:
        raise OSError(errno.EIO, f"{path.name} of the state folder is damaged")
    return key


def _make_private(path: Path) -> None:
    """The journal holds the key of its digests: it is its owner's, and so are the files that SQLite makes beside it."""
    # Only what is not there is opened: closing a descriptor of a file would free SQLite's locks on it in this process.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with contextlib.suppress(PermissionError):  # another user's journal, which we may only use
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o600)


def _add_columns(db: sqlite3.Connection) -> None:
    """What journals of earlier versions lack."""
    present = {str(row["name"]) for row in db.execute("PRAGMA table_info(jobs)")}
    for name in ("essence", "study"):
        if name not in present:
            db.execute(f"ALTER TABLE jobs ADD COLUMN {name} TEXT")
    db.execute("CREATE INDEX IF NOT EXISTS jobs_by_study ON jobs (study)")
    db.execute("CREATE INDEX IF NOT EXISTS jobs_by_essence ON jobs (essence)")


def make_digest(key: bytes, *parts: object) -> str:
    """The digest of a journal with this key."""
    text = "\0".join(str(part) for part in parts).encode("utf-8", "surrogateescape")
    return hmac.new(key, text, hashlib.sha256).hexdigest()[:32]
