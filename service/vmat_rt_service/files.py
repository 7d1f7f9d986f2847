"""Small files of our own, and the hash of any file. Stands below every room."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path


def hash_file(path: str | Path) -> str:
    """SHA-256 of a file, read in blocks."""
    with open(path, "rb") as stream:  # noqa: PTH123
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_json(path: Path, document: object) -> None:
    """A small JSON file, flushed to disk; the caller renames its folder into place."""
    with path.open("w", encoding="utf-8") as stream:
        json.dump(document, stream, indent=2, sort_keys=True)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
