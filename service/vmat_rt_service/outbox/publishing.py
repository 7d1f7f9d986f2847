"""The last step of a job: one rename. And, after a crash, the question whether it was taken."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vmat_rt.errors import VmatError
from vmat_rt.system.publish import flush
from vmat_rt_service.files import hash_stream, open_regular, write_json
from vmat_rt_service.journal.jobs import Job
from vmat_rt_service.logs import event

RECORD = "job.json"
WORK_FOLDER = ".publishing"
"""Below the outbox, so that the rename stays on one file system; hidden, so that readers pass over it."""


IsOurs = Callable[[str, dict[str, str]], bool]
"""Of a content hash and file hashes."""


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


def publish(folder: Path, outbox: Path, record: Record, is_ours: IsOurs | None = None) -> str:
    """Give a finished folder its name in the outbox; returns the name. Never replaces another content's result.

    Two services that made the same result end here too: the second finds the first's and drops its own. is_ours: what
    the journal knows of results. A result that it does not know is only taken for one where its DICOM objects are those
    that were made here just now, bit for bit; else the name counts as taken.
    """
    write_json(folder / RECORD, record.as_dict())
    flush(folder)
    for name in _propose_names(record.key, record.content_hash):
        try:
            folder.rename(outbox / name)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise
            if _is_same_result(outbox / name, record, is_ours):
                return name
            continue
        flush(outbox)
        return name
    raise VmatError(f"the outbox holds other results under the name {record.key}")


def _is_same_result(folder: Path, record: Record, is_ours: IsOurs | None) -> bool:
    other = read_record(folder)
    if other is None or other.content_hash != record.content_hash:
        return False
    if is_ours is None:
        return True
    if not _is_whole(folder, other):
        return False
    if is_ours(other.content_hash, other.files):
        return True
    objects, own = ({n: sha for n, sha in r.files.items() if n.endswith(".dcm")} for r in (other, record))
    return bool(own) and objects == own


def find_published(outbox: Path, job: Job, is_ours: IsOurs | None = None) -> Record | None:
    """The record of this job's result where it lies in the outbox already, whole, and is what this service wrote.

    is_ours: whether the journal knows files of these hashes as the result of a content; by default the record's word is
    taken for it.
    """
    if job.content_hash is None:
        return None
    for name in _propose_names(job.key, job.content_hash):
        record = read_record(outbox / name)
        if record is None or record.content_hash != job.content_hash:
            continue
        if is_ours is None or (is_ours(record.content_hash, record.files) and _is_whole(outbox / name, record)):
            return Record(**{**record.__dict__, "key": name})
        event("not a result of ours", logging.WARNING, job=job.id, key=job.key, code="FOREIGN_RESULT")
    return None


def find_result_folder(outbox: Path, job: Job, is_foreign: IsOurs | None = None) -> Path | None:
    """Where a job's result lies. is_foreign: whether the journal knows the result of a content to be another."""
    for name in _propose_names(job.key, job.content_hash or ""):
        record = read_record(outbox / name)
        if record is None or record.content_hash != job.content_hash:
            continue
        if is_foreign is None or not is_foreign(record.content_hash, record.files):
            return outbox / name
    return None


def _is_whole(folder: Path, record: Record) -> bool:
    """Whether the folder holds what its record says, no file less, more or other."""
    try:
        return hash_folder(folder) == record.files
    except OSError:
        return False


def read_record(folder: Path) -> Record | None:
    """The job.json of a folder, None where there is none of ours."""
    try:
        values = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        del values["schema_version"]
        return Record(**values)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def hash_folder(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder but its record, by its name relative to it. Raises OSError, for links too."""
    files = sorted(path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    names = {os.fspath(path.relative_to(folder)): path for path in files}
    return {name: _hash_own(path) for name, path in names.items() if name != RECORD}


def _hash_own(path: Path) -> str:
    with open_regular(path, follow=False) as stream:
        return hash_stream(stream)


def _propose_names(key: str, content_hash: str) -> tuple[str, str]:
    return key, f"{key}-{content_hash[:6]}"
