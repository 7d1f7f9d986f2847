"""A ready study's own copy: hashed while it is copied, flushed, renamed into place. Then the inbox may change."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vmat_rt.system.publish import flush, published_folder
from vmat_rt_service.files import open_regular
from vmat_rt_service.intake.inbox import Version

_BLOCK = 1 << 20


class ChangedError(Exception):
    """A file is no longer what was examined; the next scan will tell what it became."""


@dataclass(frozen=True)
class Source:
    """A file to stage under a neutral name: the site's own file names may hold the patient's."""

    path: str
    name: str
    version: Version


@dataclass(frozen=True)
class Staged:
    """What was copied: SHA-256 -> size. content_hash covers which contents there are, not how they were called.

    essence: the same of what can reach a result, so without private elements and the like.
    """

    files: dict[str, int]
    content_hash: str
    essence: str = ""


def hash_content(hashes: Iterable[str]) -> str:
    """The identity of a study's content: SHA-256 over its files' SHA-256, sorted."""
    return hashlib.sha256("\n".join(sorted(set(hashes))).encode()).hexdigest()


def stage(sources: Iterable[Source], root: Path) -> tuple[Staged, Path]:
    """Copy into root/<content hash>, which appears whole or not at all. A content that comes twice is copied once.

    Raises ChangedError, OSError, or InputError (DISK_FULL).
    """
    from vmat_rt.dicom.content.hashing import hash_dicom_content  # only the reader's process loads pydicom

    files: dict[str, int] = {}
    essences = []
    incoming = root / "incoming"
    with published_folder(incoming) as temporary:
        for source in sources:
            copied = temporary / source.name
            sha256, size = _copy(source, copied)
            if sha256 in files:
                copied.unlink()
                continue
            files[sha256] = size
            essences.append(hash_dicom_content(copied) or sha256)
    staged = Staged(files, hash_content(files), hash_content(essences))
    final = root / staged.content_hash
    if final.exists():  # the same content from elsewhere in the inbox
        shutil.rmtree(incoming)
    else:
        incoming.rename(final)
        flush(root)
    return staged, final


def _copy(source: Source, target: Path) -> tuple[str, int]:
    hasher = hashlib.sha256()
    size = 0
    with open_regular(source.path) as original:
        if not source.version.is_that_of(os.fstat(original.fileno())):
            raise ChangedError(source.name)
        with target.open("wb") as copy:
            while block := original.read(_BLOCK):
                hasher.update(block)
                copy.write(block)
                size += len(block)
        status = os.fstat(original.fileno())
    if not source.version.is_that_of(status) or size != source.version.size:
        raise ChangedError(source.name)
    return hasher.hexdigest(), size


def sweep(folder: Path, keep: Iterable[str] = ()) -> int:
    """Remove everything of a folder but the names to keep; the count of what went."""
    wanted = set(keep)
    removed = 0
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name in wanted:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        removed += 1
    return removed
