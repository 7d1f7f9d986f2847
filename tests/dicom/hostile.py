"""Structure sets that claim far more than they are: made byte by byte, for no library would write them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import pydicom
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

ROI_CONTOURS = 0x30060039
EMPTY_ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, 0)
UNDEFINED = 0xFFFFFFFF


def element(tag: int, vr: str, content: bytes, length: int | None = None) -> bytes:
    """An element of a long VR (SQ, UN, UT), little endian; length: what it claims."""
    claimed = len(content) if length is None else length
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr.encode(), 0, claimed) + content


def rewrite(path: Path, rest: Iterable[bytes], deflated: bool = False) -> None:
    """The file with `rest` behind its elements up to the list of ROIs, in place of what followed there."""
    ds = pydicom.dcmread(path)
    for tag in [tag for tag in ds.keys() if tag > 0x30060020]:  # noqa: SIM118 - iterating would convert values
        del ds[tag]
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    content = stream.getvalue()
    meta_end = 144 + struct.unpack("<L", content[140:144])[0]
    head, body = content[:meta_end], [content[meta_end:], *rest]
    if not deflated:
        path.write_bytes(head + b"".join(body))
        return
    plain, packed = (uid.encode() for uid in (ExplicitVRLittleEndian + "\0", DeflatedExplicitVRLittleEndian))
    at = head.index(b"\x02\x00\x10\x00")
    value = head[at:].index(plain) + at
    head = head[: value - 2] + struct.pack("<H", len(packed)) + packed + head[value + len(plain) :]
    head = head[:140] + struct.pack("<L", len(head) - 144) + head[144:]
    squeeze = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    with path.open("wb") as stream_out:
        stream_out.write(head)
        for piece in body:
            stream_out.write(squeeze.compress(piece))
        stream_out.write(squeeze.flush())
