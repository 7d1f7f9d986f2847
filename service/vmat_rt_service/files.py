"""Small files of our own, and how any file is opened and hashed. Stands below every room."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_regular(path: str | Path, follow: bool = True, dir_fd: int | None = None) -> BufferedReader:
    """Open a regular file for reading and nothing else: a pipe or device put in its place neither blocks nor is read.

    follow: whether the last part of the path may be a link. Raises OSError.
    """
    descriptor = os.open(path, _READ | (0 if follow else os.O_NOFOLLOW), dir_fd=dir_fd)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file")
    return os.fdopen(descriptor, "rb")


@contextmanager
def folder_below(root: Path, parts: tuple[str, ...]) -> Iterator[int]:
    """A descriptor of the folder root/parts, which no link on the way below root can lead elsewhere. Raises OSError."""
    current = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            if part in {"", ".", ".."}:
                raise OSError(errno.EINVAL, "not a plain name")
            below = os.open(part, _FOLDER, dir_fd=current)
            os.close(current)
            current = below
        yield current
    finally:
        os.close(current)


def hash_stream(stream: BufferedReader) -> str:
    """SHA-256 of what an open file holds, read in blocks."""
    return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_file(path: str | Path) -> str:
    """SHA-256 of a regular file. Raises OSError."""
    with open_regular(path) as stream:
        return hash_stream(stream)


def write_private(path: Path, text: str) -> None:
    """Replace a small file whole, readable by its owner only."""
    temporary = path.with_name(path.name + ".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def write_json(path: Path, document: object) -> None:
    """A small JSON file, flushed to disk; the caller renames its folder into place."""
    with path.open("w", encoding="utf-8") as stream:
        json.dump(document, stream, indent=2, sort_keys=True)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
