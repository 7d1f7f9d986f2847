"""How large a DICOM file may be, in every respect, found by walking over it before anything is built of it.

pydicom makes objects of whatever a file claims: a few megabytes can claim gigabytes (deflated, or millions of empty
items). This walk follows pydicom's reading element by element, keeps nothing, and refuses what no real export comes
near. `read_whole` and `read_header` of `dicom.files` call it; whoever opens a file by other means calls `check_bounds`
first.
"""

from __future__ import annotations

import contextlib
import functools
import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Never

from pydicom.datadict import dictionary_VR
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

from vmat_rt.errors import InputError, Problem

LARGEST_BYTES: Final = 1 << 30
INFLATED_BYTES: Final = 256 << 20
MOST_ITEMS: Final = 200_000
"""Sequence items of a file. A structure set of 60 ROIs on 300 slices has 40,000."""
MOST_ELEMENTS: Final = 1_500_000
MOST_VALUES: Final = 20_000_000
"""Numbers and texts of a file, pixels apart: more than 6 million contour points."""
MOST_OF_ONE: Final = 1_000_000
"""Values of one element."""
DEEPEST: Final = 16
_LONGEST_TEXT: Final = 64 << 20
_CHUNK: Final = 1 << 20
_UNDEFINED: Final = 0xFFFFFFFF
_ITEM_END, _SEQUENCE_END, _PIXELS_GROUP = 0xFFFEE00D, 0xFFFEE0DD, 0x7FE0
_ITEM: Final = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
_VRS: Final = {vr.value.encode(): vr.value for vr in VR if len(vr.value) == 2}
_LONG: Final = {str(vr.value) for vr in EXPLICIT_VR_LENGTH_32}
_WIDTHS: Final = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "AT": 4, "SV": 8, "UV": 8}
_ONE_VALUE: Final = {"OB", "OW", "OF", "OD", "OL", "OV", "UN", "UT", "ST", "LT", "UR"}
_REMEDY: Final = "Export it again without what is not needed; if it is whole, it is larger than vmat-rt reads."


@dataclass
class Weight:
    """What a file holds: elements and sequence items at any depth, and values (numbers, texts) outside of pixels."""

    elements: int = 0
    items: int = 0
    values: int = 0


def weigh(path: Path, what: str, last_tag: int | None = None) -> Weight:
    """What there is in a file up to the top-level element `last_tag`, or in all of it.

    what: the file in messages. Raises InputError (DICOM_TOO_LARGE) where a limit of this module is exceeded, OSError
    where the file cannot be read. A file that ends too soon, or is no DICOM, weighs what could be walked over.
    """
    with path.open("rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        if last_tag is None and size > LARGEST_BYTES:
            _refuse(what, f"is {size / 1e9:.1f} GB long", f"{LARGEST_BYTES / 1e9:.1f} GB")
        walk = _Walk(stream, what, last_tag)
        with contextlib.suppress(struct.error):  # it ends within an element; the reader says so
            walk.file()
        return walk.weight


def check_bounds(path: Path, what: str) -> None:
    """Raises InputError (DICOM_TOO_LARGE) for a file that must not be opened; one that cannot be is told elsewhere."""
    with contextlib.suppress(OSError):
        weigh(path, what)


def _refuse(what: str, fault: str, limit: str) -> Never:
    raise InputError(Problem("DICOM_TOO_LARGE", f"{what} {fault}; {limit} are the most that is read.", _REMEDY))


@functools.lru_cache(maxsize=4096)
def _known_vr(tag: int) -> str:
    """The VR of an element by its tag, UN where it is unknown."""
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "UN"


class _Walk:
    """A walk over one stream. Sequences are entered wherever pydicom would enter them."""

    def __init__(self, stream: BinaryIO, what: str, last_tag: int | None) -> None:
        self.weight = Weight()
        self._stream, self._what, self._last_tag = stream, what, last_tag
        self._order = "<"

    def file(self) -> None:
        self._stream.seek(0)
        if self._stream.read(132)[128:] != b"DICM":
            self._stream.seek(0)
        syntax = self._meta()
        self._elements(True, 0, lambda tag: tag >> 16 != 0)
        if syntax.startswith(DeflatedExplicitVRLittleEndian):
            self._stream = io.BytesIO(self._inflated())
        if syntax.startswith(ExplicitVRBigEndian) or (not syntax and self._looks_big_endian()):
            self._order = ">"
        last = self._last_tag
        self._elements(self._is_implicit(True), 0, None if last is None else lambda tag: tag > last)

    def _meta(self) -> str:
        """Walk over the file meta information; a text that begins with the transfer syntax it names, or ""."""
        start = self._stream.tell()
        self._elements(self._is_implicit(False), 0, lambda tag: tag >> 16 != 2)
        end = self._stream.tell()
        self._stream.seek(start)
        meta = self._stream.read(end - start)
        at = meta.rfind(b"\x02\x00\x10\x00")
        return "" if at < 0 else meta[at + 8 : at + 72].decode("latin-1")

    def _inflated(self) -> bytes:
        inflater, parts, size = zlib.decompressobj(-zlib.MAX_WBITS), [], 0
        start = self._stream.tell()
        try:
            while not inflater.eof and (piece := inflater.unconsumed_tail or self._stream.read(_CHUNK)):
                parts.append(inflater.decompress(piece, _CHUNK))
                size += len(parts[-1])
                if size > INFLATED_BYTES:
                    _refuse(self._what, "is deflated and grows without end", f"{INFLATED_BYTES >> 20} MiB inflated")
        except zlib.error:  # not deflated, whatever it says
            self._stream.seek(start)
            return self._stream.read()
        return b"".join(parts)

    def _looks_big_endian(self) -> bool:
        head = self._peek(6)
        return len(head) == 6 and head[4:] in _VRS and int.from_bytes(head[:2], "little") >= 1024

    def _peek(self, count: int) -> bytes:
        head = self._stream.read(count)
        self._stream.seek(-len(head), io.SEEK_CUR)
        return head

    def _is_implicit(self, assumed: bool) -> bool:
        """Whether a dataset is encoded with implicit VR, by its first element; assumed: where it is empty."""
        head = self._peek(6)
        return assumed if len(head) < 6 else not all(0x40 < byte < 0x5B for byte in head[4:])

    def _elements(
        self, implicit: bool, depth: int, stop: Callable[[int], bool] | None = None, until: int | None = None
    ) -> None:
        """Elements to the end of the dataset: a delimiter, `stop`, the place `until`, or the end of the stream."""
        unpack, read, tell = struct.Struct(f"{self._order}HHL").unpack, self._stream.read, self._stream.tell
        while (until is None or tell() < until) and len(head := read(8)) == 8:
            group, number, length = unpack(head)
            tag, vr, extra = group << 16 | number, "", b""
            if not implicit and (named := head[4:6]) >= b"AA" and named <= b"ZZ":
                vr = _VRS.get(named, "UN")
                extra = read(4) if vr in _LONG and named in _VRS else b""
                length = struct.unpack(f"{self._order}L", extra)[0] if extra else self._short(head)
            if tag == _ITEM_END:
                return
            if stop is not None and stop(tag):
                self._stream.seek(-8 - len(extra), io.SEEK_CUR)
                return
            self.weight.elements += 1
            if self.weight.elements > MOST_ELEMENTS:
                _refuse(self._what, "holds more elements", f"{MOST_ELEMENTS:,}")
            self._value(tag, vr, length, implicit, depth)

    def _short(self, head: bytes) -> int:
        return int(struct.unpack(f"{self._order}H", head[6:])[0])

    def _value(self, tag: int, vr: str, length: int, implicit: bool, depth: int) -> None:
        kind = vr if vr not in ("", "UN") else _known_vr(tag)
        if length == _UNDEFINED:
            if kind == "SQ" or vr == "UN" or (kind == "UN" and self._peek(4) in _ITEM):
                self._sequence(implicit, depth + 1, None)
            else:
                self._skip_to_delimiter()
        elif kind == "SQ":
            end = self._stream.tell() + length
            with contextlib.suppress(struct.error):  # it ends within an item
                self._sequence(implicit, depth + 1, end)
            self._stream.seek(end)
        elif tag >> 16 == _PIXELS_GROUP or kind in _ONE_VALUE:
            self._stream.seek(length, io.SEEK_CUR)
        else:
            self._count(kind, length)

    def _count(self, kind: str, length: int) -> None:
        if kind in _WIDTHS:
            count = length // _WIDTHS[kind]
            self._stream.seek(length, io.SEEK_CUR)
        elif length > _LONGEST_TEXT:
            _refuse(self._what, f"has an element of {length:,} bytes", f"{_LONGEST_TEXT:,}")
        else:
            count = self._stream.read(length).count(b"\\") + 1
        self.weight.values += count
        if count > MOST_OF_ONE:
            _refuse(self._what, f"has an element of {count:,} values", f"{MOST_OF_ONE:,}")
        if self.weight.values > MOST_VALUES:
            _refuse(self._what, "holds more values", f"{MOST_VALUES:,}")

    def _sequence(self, implicit: bool, depth: int, until: int | None) -> None:
        """Items to the delimiter, or to the place `until`."""
        if depth > DEEPEST:
            _refuse(self._what, "has sequences in sequences without end", f"{DEEPEST} levels")
        while until is None or self._stream.tell() < until:
            head = self._stream.read(8)
            group, number, length = struct.unpack(f"{self._order}HHL", head)
            if group << 16 | number == _SEQUENCE_END:
                return
            self.weight.items += 1
            if self.weight.items > MOST_ITEMS:
                _refuse(self._what, "holds more sequence items", f"{MOST_ITEMS:,}")
            end = None if length == _UNDEFINED else self._stream.tell() + length
            if end is None or length:
                self._elements(implicit or self._is_implicit(implicit), depth, until=end)

    def _skip_to_delimiter(self) -> None:
        """Pixel data in fragments, or another value whose end is marked."""
        mark = struct.pack(f"{self._order}HH", 0xFFFE, 0xE0DD)
        kept = b""
        while piece := self._stream.read(_CHUNK):
            at = (kept + piece).find(mark)
            if at >= 0:
                self._stream.seek(at + 8 - len(kept) - len(piece), io.SEEK_CUR)
                return
            kept = piece[-3:]
