"""A zip of a study that a browser sends, unpacked into a new folder of the inbox, whole or not at all.

Nothing that the zip says is believed: names are ours, sizes are counted while they inflate, links are refused.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, BinaryIO

from vmat_rt.errors import VmatError
from vmat_rt.system.publish import flush
from vmat_rt_service.config import ServiceConfig

MOST_FILES = 5_000
_MOST_INFLATED = 4  # times web.max_upload_mb: CT compresses to about half
_BLOCK = 1 << 20
_HIDDEN = ".uploading"
_UNSUPPORTED = 0x1  # encrypted
_CHECKED_BYTES = 1 << 26
_TAIL_BYTES = (1 << 16) + 42  # the end record, its longest comment, and the locator of the other kind
_DIRECTORY_BYTES = MOST_FILES * 600
_END_RECORD, _END_RECORD_64 = b"PK\5\6", b"PK\6\7"
_alone = threading.Lock()


class UploadError(VmatError):
    """The zip is not taken; the sentence says why and what to do."""


def receive(config: ServiceConfig, content: Iterator[bytes]) -> tuple[str, int]:
    """Unpack what is sent: the new folder's name below the inbox, and how many files it holds. Raises UploadError."""
    if not _alone.acquire(blocking=False):
        raise UploadError("Another study is being received: send this one when that has ended.")
    try:
        return _receive(config, content)
    finally:
        _alone.release()


def _receive(config: ServiceConfig, content: Iterator[bytes]) -> tuple[str, int]:
    most = config.web.max_upload_mb * 10**6
    _require_room(config, 0)
    with tempfile.TemporaryFile(dir=config.state) as kept:
        size = checked = 0
        for block in content:
            size += len(block)
            if size > most:
                raise UploadError(f"The zip has more than {most // 10**6} MB: send fewer studies at a time.")
            if size - checked > _CHECKED_BYTES:
                checked = size
                _require_room(config, 0)
            kept.write(block)
        _require_short_directory(kept)
        try:
            with zipfile.ZipFile(kept) as archive:
                return _unpack(config, archive, _MOST_INFLATED * most)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, RuntimeError) as error:
            sentence = "This is not a zip that can be read: make it anew from the study's folder, without a password."
            raise UploadError(sentence) from error


def _require_short_directory(file: BinaryIO) -> None:
    """Before it is read whole: the list of files, of which a zip can hold millions (APPNOTE 4.3.16, 4.3.14)."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - _TAIL_BYTES))
    tail = file.read()
    position = tail.find(_END_RECORD)
    while position >= 0:
        size = int.from_bytes(tail[position + 12 : position + 16], "little")
        if size > _DIRECTORY_BYTES:
            raise UploadError(f"The zip holds more than {MOST_FILES} files: send one study at a time.")
        position = tail.find(_END_RECORD, position + 1)
    if _END_RECORD_64 in tail:
        raise UploadError("The zip is of the kind for very large archives: send one study at a time.")
    file.seek(0)


def _unpack(config: ServiceConfig, archive: zipfile.ZipFile, most_bytes: int) -> tuple[str, int]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if not entries:
        raise UploadError("The zip is empty: choose the one that holds the study's DICOM files.")
    if len(entries) > MOST_FILES:
        raise UploadError(f"The zip holds more than {MOST_FILES} files: send one study at a time.")
    for entry in entries:
        if stat.S_ISLNK(entry.external_attr >> 16) or entry.flag_bits & _UNSUPPORTED:
            raise UploadError("The zip holds links or encrypted files: make it anew from plain files.")
    _require_room(config, sum(entry.file_size for entry in entries))
    left = most_bytes
    with _published(config.inbox) as folder:
        for number, entry in enumerate(entries, start=1):
            with archive.open(entry) as source, (folder / f"{number:04d}.dcm").open("xb") as target:
                left -= _copy(source, target, left)
    return folder.name, len(entries)


def _copy(source: IO[bytes], target: BinaryIO, most: int) -> int:
    """Bytes written. Counts what comes, not what the zip says that will."""
    size = 0
    while block := source.read(_BLOCK):
        size += len(block)
        if size > most:
            raise UploadError("The zip inflates to more than a study has: send the study's DICOM files only.")
        target.write(block)
    target.flush()
    os.fsync(target.fileno())
    return size


def _require_room(config: ServiceConfig, needed_bytes: int) -> None:
    free = min(shutil.disk_usage(folder).free for folder in (config.inbox, config.state))
    if free - needed_bytes < config.min_free_gb * 1e9:
        raise UploadError("There is no room on the disk for this study: make room and send it again.")


@contextmanager
def _published(inbox: Path) -> Iterator[Path]:
    """A new folder below the inbox that appears with one rename; nothing of it remains where that fails.

    Yields the hidden folder, which has the name of the one to be.
    """
    name = f"upload-{datetime.now().astimezone():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    hidden = inbox / _HIDDEN / name
    try:
        hidden.mkdir(parents=True)
        yield hidden
        flush(hidden)
        hidden.rename(inbox / name)
        flush(inbox)
    except OSError as error:
        raise UploadError(f"The inbox cannot take the study now ({error.strerror}); send it again later.") from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
