"""The inputs of a finished study are archived or deleted: those of the inbox, and no file that a link leads to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from vmat_rt.system.publish import published_folder
from vmat_rt_service.files import folder_below, hash_file, hash_stream, open_regular
from vmat_rt_service.intake.inbox import Version, version_of


@dataclass(frozen=True)
class _Input:
    """A file below a root, by the names on the way to it; version: what its open descriptor said."""

    root: Path
    parts: tuple[str, ...]
    name: str
    version: Version


def dispose(files: Iterable[tuple[str, str]], known: set[str], archive: Path | None, inbox: Path | None = None) -> int:
    """Archive the files under their neutral names, or delete them; only such whose content is among the known hashes.

    Every folder on the way from the inbox is opened without following links, so nothing outside of it is touched
    (inbox: by default each file's own folder). Nothing is unlinked before all of it lies in the archive, flushed.
    Returns how many files were left where they are. Raises OSError or InputError (DISK_FULL, OUTPUT_NOT_WRITABLE).
    """
    listed = list(files)
    if archive is not None and archive.exists():
        known = known & {hash_file(path) for path in archive.iterdir()}
    elif archive is not None:
        with published_folder(archive) as temporary:
            known = known & set(_copy_inputs(listed, known, inbox, temporary))
    gone = [_unlink(found) for found in _find_inputs(listed, known, inbox)]
    return len(listed) - sum(gone)


def _find_inputs(files: Iterable[tuple[str, str]], known: set[str], inbox: Path | None) -> Iterator[_Input]:
    for path, name in files:
        with _opened(path, inbox) as opened:
            if opened is None:
                continue
            stream, root, parts = opened
            if hash_stream(stream) in known:
                yield _Input(root, parts, name, version_of(os.fstat(stream.fileno())))


def _copy_inputs(files: Iterable[tuple[str, str]], known: set[str], inbox: Path | None, into: Path) -> Iterator[str]:
    for path, name in files:
        with _opened(path, inbox) as opened:
            if opened is None or (sha256 := hash_stream(opened[0])) not in known:
                continue
            opened[0].seek(0)
            with (into / name).open("wb") as copy:
                shutil.copyfileobj(opened[0], copy)
            if hash_file(into / name) == sha256:
                yield sha256


@contextmanager
def _opened(path: str, inbox: Path | None) -> Iterator[tuple[BufferedReader, Path, tuple[str, ...]] | None]:
    """The file for reading, the root and the names below it; None where it lies elsewhere or a link leads to it."""
    root = Path(path).parent if inbox is None else inbox
    prefix = os.fspath(root).rstrip("/") + "/"
    parts = tuple(path.removeprefix(prefix).split("/"))
    stream = None
    try:
        if path.startswith(prefix):
            with folder_below(root, parts[:-1]) as folder:
                stream = open_regular(parts[-1], follow=False, dir_fd=folder)
    except OSError:
        stream = None
    if stream is None:
        yield None
        return
    with stream:
        yield stream, root, parts


def _unlink(found: _Input) -> bool:
    """Whether the file went: the very one that was read, from the folder that it was read in."""
    *folders, last = found.parts
    with folder_below(found.root, tuple(folders)) as folder:
        if version_of(os.stat(last, dir_fd=folder, follow_symlinks=False)) != found.version:
            return False
        os.unlink(last, dir_fd=folder)
    return True
