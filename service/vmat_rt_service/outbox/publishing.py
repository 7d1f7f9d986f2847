"""The last step of a job: one rename. And, after a crash, the question whether it was taken."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vmat_rt.errors import VmatError
from vmat_rt.system.publish import flush
from vmat_rt_service.files import hash_file, write_json
from vmat_rt_service.journal.jobs import Job

RECORD = "job.json"
WORK_FOLDER = ".publishing"
"""Below the outbox, so that the rename stays on one file system; hidden, so that readers pass over it."""


@dataclass(frozen=True)
class Record:
    """What job.json in a published folder says: what it was made of, by what, and the SHA-256 of every file in it."""

    content_hash: str
    key: str
    model: dict[str, str]
    versions: dict[str, str]
    files: dict[str, str]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        return {"schema_version": 1, **asdict(self)}


def publish(folder: Path, outbox: Path, record: Record) -> str:
    """Give a finished folder its name in the outbox; returns the name. Never replaces another content's result.

    Two services that made the same result end here too: the second finds the first's and drops its own.
    """
    write_json(folder / RECORD, record.as_dict())
    flush(folder)
    for name in _propose_names(record.key, record.content_hash):
        try:
            folder.rename(outbox / name)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise
            if (other := read_record(outbox / name)) is not None and other.content_hash == record.content_hash:
                return name
            continue
        flush(outbox)
        return name
    raise VmatError(f"the outbox holds other results under the name {record.key}")


def find_published(outbox: Path, job: Job) -> Record | None:
    """The record of this job's result where it lies in the outbox already."""
    if job.content_hash is None:
        return None
    for name in _propose_names(job.key, job.content_hash):
        record = read_record(outbox / name)
        if record is not None and record.content_hash == job.content_hash:
            return record
    return None


def find_result_folder(outbox: Path, job: Job) -> Path | None:
    """Where a job's result lies."""
    names = _propose_names(job.key, job.content_hash or "")
    return next(
        (outbox / n for n in names if (r := read_record(outbox / n)) and r.content_hash == job.content_hash), None
    )


def read_record(folder: Path) -> Record | None:
    """The job.json of a folder, None where there is none of ours."""
    try:
        values = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        del values["schema_version"]
        return Record(**values)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def hash_folder(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder, by its name relative to it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    return {os.fspath(path.relative_to(folder)): hash_file(path) for path in files}


def _propose_names(key: str, content_hash: str) -> tuple[str, str]:
    return key, f"{key}-{content_hash[:6]}"
