"""An object on its way into the inbox: a hidden file that grows, then gets its name by one rename, or is gone.

Nothing of it is decoded but the few elements that say which instance of which study it is. Names are made of UIDs and
digests of them only. This module knows nothing of the network.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
import uuid
import weakref
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    RTDoseStorage,
    RTPlanStorage,
    RTStructureSetStorage,
)

from vmat_rt.dicom.bounds import check_bounds
from vmat_rt.errors import InputError
from vmat_rt.system.publish import flush
from vmat_rt_service import logs
from vmat_rt_service.network.heading import HeadingError, read_heading

KINDS = {CTImageStorage: "CT", RTStructureSetStorage: "RS", RTPlanStorage: "RP", RTDoseStorage: "RD"}
"""SOP classes that are taken -> how the file names of their instances begin."""

FOLDER = "received"
"""Below the inbox; it holds one folder per study, so that a study that still arrives does not hold up another."""

_HIDDEN = ".receiving"
_ABANDONED_SECONDS = 3600.0  # the network's own time limits end an object that stands still long before
_BUFFER_BYTES = 1 << 17
_UID = re.compile(r"[0-9.]{1,64}")


class Status(IntEnum):
    """Answers to a C-STORE (PS3.4 B.2.3, PS3.7 C)."""

    STORED = 0x0000
    INVALID_INSTANCE = 0x0117
    OUT_OF_RESOURCES = 0xA700
    TOO_LARGE = 0xA7FF  # of the same class, told apart from a full disk
    MISMATCH = 0xA900
    NOT_UNDERSTOOD = 0xC000


class RefusalError(Exception):
    """An object is not kept. code says why in the log; nothing of the object stands in it."""

    def __init__(self, status: Status, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Announced:
    """What the sender says of an object before it comes."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str


class Shelf:
    """Where objects are received. Its limits hold for each; its hidden folder is on the inbox's own file system."""

    def __init__(self, inbox: Path, max_bytes: int, min_free_bytes: float) -> None:
        self.inbox, self.max_bytes, self.min_free_bytes = inbox, max_bytes, min_free_bytes
        self.hidden = inbox / _HIDDEN

    def expect(self, announced: Announced) -> Arrival:
        """An object is about to come."""
        return Arrival(self, announced)

    def sweep(self) -> int:
        """Remove what a node that was killed left half received; the count. What another node receives now stays."""
        removed = 0
        for path in self.hidden.iterdir() if self.hidden.is_dir() else ():
            try:
                if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                    path.unlink()
                    removed += 1
            except OSError:  # taken by another node meanwhile, or not ours
                continue
        return removed

    def place(self, sop_class: str, sop_instance: str, study: str) -> Path:
        """Where an instance lies: the same one always in the same place."""
        folder = hashlib.sha256(study.encode()).hexdigest()[:16]
        return self.inbox / FOLDER / folder / f"{KINDS[UID(sop_class)]}.{sop_instance}.dcm"


class Arrival:
    """One object. `write` its encoded dataset, then `keep` or `discard` it."""

    def __init__(self, shelf: Shelf, announced: Announced) -> None:
        self._shelf, self._announced = shelf, announced
        self._path = shelf.hidden / f"{uuid.uuid4().hex}.part"
        self._file: BinaryIO | None = None
        self._size = self._begin = 0
        self._fault: RefusalError | None = None
        if not _UID.fullmatch(announced.sop_instance):
            self._fault = RefusalError(Status.INVALID_INSTANCE, "INSTANCE_UID")
        elif announced.sop_class not in KINDS:
            self._fault = RefusalError(Status.MISMATCH, "SOP_CLASS")

    def write(self, data: bytes | memoryview) -> None:
        """Add to the file. Never raises: the first fault is reported by `keep`, and what follows it is dropped."""
        if self._fault is not None:
            return
        self._size += len(data)
        try:
            if self._size > self._shelf.max_bytes:
                raise RefusalError(Status.TOO_LARGE, "TOO_LARGE")
            self._open_file().write(data)
        except RefusalError as refusal:
            self._fault = refusal
        except OSError:
            self._fault = RefusalError(Status.OUT_OF_RESOURCES, "DISK_FULL")
        if self._fault is not None:
            self._remove()

    def keep(self) -> Path:
        """Flush the file to disk and give it its name, over an older copy of the same instance. Raises RefusalError."""
        try:
            if self._fault is not None:
                raise self._fault
            if self._file is None:
                raise RefusalError(Status.NOT_UNDERSTOOD, "NO_DATASET")
            return self._move_into_place(self._file)
        except OSError as error:
            logs.crash("not written", error)
            raise RefusalError(Status.OUT_OF_RESOURCES, "DISK_FULL") from error
        finally:
            self._remove()

    def discard(self) -> None:
        """The sender left, or the object is not wanted: nothing of it remains."""
        self._fault = self._fault or RefusalError(Status.NOT_UNDERSTOOD, "DISCARDED")
        self._remove()

    def _open_file(self) -> BinaryIO:
        if self._file is None:
            self._shelf.hidden.mkdir(exist_ok=True)
            if shutil.disk_usage(self._shelf.hidden).free < self._shelf.min_free_bytes:
                raise RefusalError(Status.OUT_OF_RESOURCES, "DISK_LOW")
            self._file = self._path.open("xb", buffering=_BUFFER_BYTES)
            weakref.finalize(self, self._path.unlink, missing_ok=True)  # however its connection's threads end
            self._file.write(_encode_file_head(self._announced))
            self._begin = self._file.tell()
        return self._file

    def _move_into_place(self, file: BinaryIO) -> Path:
        file.flush()
        os.fsync(file.fileno())
        target = self._shelf.place(self._announced.sop_class, self._announced.sop_instance, self._read_study())
        for folder in (target.parent.parent, target.parent):
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                flush(folder.parent)
        self._path.replace(target)
        flush(target.parent)
        return target

    def _read_study(self) -> str:
        """The study instance UID, from an object that is what was announced."""
        with self._path.open("rb") as stream:
            stream.seek(self._begin)
            try:
                heading = read_heading(stream, self._announced.transfer_syntax)
            except HeadingError as error:
                raise RefusalError(Status.NOT_UNDERSTOOD, error.code) from error
        if not (heading.sop_class and heading.sop_instance):
            raise RefusalError(Status.NOT_UNDERSTOOD, "UNREADABLE")
        if (heading.sop_class, heading.sop_instance) != (self._announced.sop_class, self._announced.sop_instance):
            raise RefusalError(Status.MISMATCH, "OTHER_INSTANCE")
        if not heading.study:
            raise RefusalError(Status.NOT_UNDERSTOOD, "NO_STUDY_UID")
        try:
            if self._announced.transfer_syntax != DeflatedExplicitVRLittleEndian:  # the reader inflates it, alone
                check_bounds(self._path, "the object")
        except InputError as error:
            raise RefusalError(Status.NOT_UNDERSTOOD, "TOO_COMPLEX") from error
        return heading.study

    def _remove(self) -> None:
        if self._file is None:
            return
        try:
            self._file.close()  # tries to write what is buffered
        except OSError:
            logs.event("part not closed", code="DISK_FULL")
        self._file = None
        self._path.unlink(missing_ok=True)


def _encode_file_head(announced: Announced) -> bytes:
    """Preamble, prefix and file meta information (PS3.10 7.1)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(announced.sop_class)
    meta.MediaStorageSOPInstanceUID = UID(announced.sop_instance)
    meta.TransferSyntaxUID = UID(announced.transfer_syntax)
    head = DicomBytesIO()
    head.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(head, meta, enforce_standard=True)
    return head.getvalue()
