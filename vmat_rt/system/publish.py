"""Results appear whole or not at all: written beside their place, flushed to disk, then renamed into it."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from vmat_rt.errors import ConfigError, InputError, Problem

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NOT_WRITABLE = frozenset({errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST})
_NO_PLACE = _NOT_WRITABLE | {errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EISDIR}
"""While the folder is made. Later they may as well be of a file that is read to fill it."""


@contextlib.contextmanager
def published_folder(final: Path, replace: bool = True) -> Iterator[Path]:
    """Yield a temporary folder beside `final`; on success it becomes `final`, on any failure nothing of it remains.

    An older `final` is replaced as a whole; with replace=False it stays and FileExistsError is raised. A full disk or
    an unwritable place raises InputError (DISK_FULL, OUTPUT_NOT_WRITABLE). The temporary folder's name starts with a
    dot, so readers of the parent can ignore it.
    """
    with _name_failures(final, _NO_PLACE):
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = _make_beside(final)
    with _name_failures(final, _NOT_WRITABLE):
        try:
            yield temporary
            _flush_tree(temporary)
            if replace:
                _swap_in(temporary, final)
            else:
                _move_in(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def require_writable(folder: Path) -> None:
    """Make the folder if it is not there, and see that files can be made in it, before hours are spent on what it shall
    hold. Raises InputError as published_folder.
    """
    with _name_failures(folder / "any", _NO_PLACE):
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        if made:
            folder.rmdir()


def refuse_foreign(folder: Path, marks: Collection[str], what: str) -> None:
    """Raises ConfigError for a folder that holds files, but none whose name tells that it is `what` ("a run")."""
    if not folder.is_dir():
        return
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    if names and names.isdisjoint(marks):
        raise ConfigError(f"{folder} holds something else than {what}; give a new folder")


@contextlib.contextmanager
def _name_failures(final: Path, of_the_place: Collection[int]) -> Iterator[None]:
    """Raise InputError for a full disk, and for the errors that are of the place where `final` shall be."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise InputError(
                Problem(
                    "DISK_FULL",
                    f"The disk became full while writing to {final.parent}; nothing partial was left.",
                    "Free some space and run the study again.",
                )
            ) from error
        if error.errno in of_the_place:
            raise InputError(
                Problem(
                    "OUTPUT_NOT_WRITABLE",
                    f"Results cannot be written to {final.parent}: {error.strerror}.",
                    "Give another folder with --out, or the right to write there.",
                )
            ) from error
        raise


def _make_beside(final: Path) -> Path:
    """A new hidden folder beside `final`, with the rights that the user's umask leaves (mkdtemp would give 0700)."""
    while True:
        temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}")
        with contextlib.suppress(FileExistsError):
            temporary.mkdir()
            return temporary


def _flush_tree(folder: Path) -> None:
    """Flush every file, then every folder, so that a rename never publishes data that is still in memory."""
    for root, _, names in os.walk(folder):
        for name in names:
            flush(Path(root) / name)
        flush(Path(root))


def flush(path: Path) -> None:
    """Fsync a file, or a folder so that the names in it outlive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move_in(temporary: Path, final: Path) -> None:
    """One rename, which the kernel refuses where `final` holds anything: of several writers one succeeds."""
    try:
        temporary.rename(final)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            # ENOTEMPTY, not EEXIST: it is not a fault of the place that `_name_failures` should name.
            raise FileExistsError(errno.ENOTEMPTY, "there is one already", str(final)) from error
        raise
    flush(final.parent)


def _swap_in(temporary: Path, final: Path) -> None:
    old = Path(tempfile.mkdtemp(prefix=f".{final.name}.old.", dir=final.parent))
    try:
        if final.exists():
            final.rename(old / "previous")
        temporary.rename(final)
        flush(final.parent)
    finally:
        shutil.rmtree(old, ignore_errors=True)
