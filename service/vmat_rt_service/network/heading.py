"""Which instance of which study an encoded dataset is, read from its beginning without building anything of the rest.

A sequence of a million empty items takes 8 bytes an item on the wire and hundreds of times as many as objects. Here
values are passed over by their length, sequences of undefined length by a walk that counts, and both have an end.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO, Final

from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

MOST_HEADERS: Final = 20_000
"""Elements and items that may stand before the study's UID; real objects have some hundreds."""

MOST_DEPTH: Final = 32
"""Sequences within sequences; the deepest of the standard have fewer than ten."""

_DEFLATED_BYTES, _INFLATED_BYTES = 1 << 20, 1 << 23
_SOP_CLASS, _SOP_INSTANCE, _STUDY = 0x00080016, 0x00080018, 0x0020000D
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_LONGEST_UID = 66  # 64 and what pads it
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
"""VRs of which the length takes four bytes after two that are reserved (PS3.5 7.1.2)."""


class HeadingError(ValueError):
    """The beginning cannot be read, or has no end within the limits. code says which: UNREADABLE or TOO_COMPLEX."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Heading:
    """What an object says of itself; "" for what it lacks."""

    sop_class: str
    sop_instance: str
    study: str


def read_heading(stream: BinaryIO, transfer_syntax: str) -> Heading:
    """Read an encoded dataset up to its study's UID (PS3.5 7). Raises HeadingError."""
    syntax = UID(transfer_syntax)
    if syntax == DeflatedExplicitVRLittleEndian:
        # The beginning only: what a small file inflates to has no bound.
        try:
            inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(_DEFLATED_BYTES), _INFLATED_BYTES)
        except zlib.error as error:
            raise HeadingError("UNREADABLE") from error
        stream = io.BytesIO(inflated)
    try:
        walk = _Walk(stream, syntax.is_little_endian)
    except ValueError as error:  # no transfer syntax
        raise HeadingError("UNREADABLE") from error
    return walk.read_heading()


class _Walk:
    """One pass over the headers of elements and items."""

    def __init__(self, stream: BinaryIO, little_endian: bool) -> None:
        self._stream = stream
        order = "<" if little_endian else ">"
        self._tag, self._short, self._long = (struct.Struct(order + form) for form in ("HH", "H", "I"))
        self._implicit = self._has_implicit_vrs()
        self._headers = 0

    def read_heading(self) -> Heading:
        found = {_SOP_CLASS: "", _SOP_INSTANCE: "", _STUDY: ""}
        while (header := self._read_element(self._implicit, may_end=True)) is not None:
            tag, length, implicit = header
            if tag > _STUDY:
                break
            if tag in found:
                found[tag] = self._read_uid(length)
            elif length == _UNDEFINED:
                self._pass_sequence(1, implicit)
            else:
                self._stream.seek(length, io.SEEK_CUR)
        return Heading(found[_SOP_CLASS], found[_SOP_INSTANCE], found[_STUDY])

    def _has_implicit_vrs(self) -> bool:
        """Whether the first element names no VR: some senders encode otherwise than they announced."""
        begin = self._stream.tell()
        vr = self._stream.read(6)[4:]
        self._stream.seek(begin)
        return not (vr.isalpha() and vr.isupper())

    def _take(self, count: int) -> bytes:
        content = self._stream.read(count)
        if len(content) != count:
            raise HeadingError("UNREADABLE")
        return content

    def _count(self) -> None:
        self._headers += 1
        if self._headers > MOST_HEADERS:
            raise HeadingError("TOO_COMPLEX")

    def _read_tag(self, may_end: bool = False) -> int | None:
        content = self._stream.read(4)
        if not content and may_end:
            return None
        if len(content) != 4:
            raise HeadingError("UNREADABLE")
        self._count()
        group, element = self._tag.unpack(content)
        return int(group) << 16 | int(element)

    def _read_element(self, implicit: bool, may_end: bool = False) -> tuple[int, int, bool] | None:
        """Tag, length and whether what is within has implicit VRs; None at the end of the dataset."""
        tag = self._read_tag(may_end)
        if tag is None:
            return None
        if implicit or tag >> 16 == 0xFFFE:
            return tag, int(self._long.unpack(self._take(4))[0]), implicit
        vr = self._take(2)
        if vr not in _LONG_VRS:
            return tag, int(self._short.unpack(self._take(2))[0]), False
        self._take(2)
        length = int(self._long.unpack(self._take(4))[0])
        return tag, length, vr == b"UN" and length == _UNDEFINED  # a sequence that somebody did not know (PS3.5 6.2.2)

    def _read_uid(self, length: int) -> str:
        if length > _LONGEST_UID:
            raise HeadingError("UNREADABLE")
        return self._take(length).decode("ascii", "replace").strip("\0 ")

    def _pass_sequence(self, depth: int, implicit: bool) -> None:
        if depth > MOST_DEPTH:
            raise HeadingError("TOO_COMPLEX")
        while (tag := self._read_tag()) != _SEQUENCE_END:
            length = int(self._long.unpack(self._take(4))[0])
            if tag != _ITEM:
                raise HeadingError("UNREADABLE")
            if length == _UNDEFINED:
                self._pass_item(depth, implicit)
            else:
                self._stream.seek(length, io.SEEK_CUR)
        self._take(4)

    def _pass_item(self, depth: int, implicit: bool) -> None:
        while True:
            header = self._read_element(implicit)
            assert header is not None  # the end of the file is no end of an item
            tag, length, within = header
            if tag == _ITEM_END:
                return
            if length == _UNDEFINED:
                self._pass_sequence(depth + 1, within)
            else:
                self._stream.seek(length, io.SEEK_CUR)
