"""What an object says of itself, read without building the rest: against pydicom, and against traps."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
from typing import Any

import pydicom
import pytest
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from tests.service.attackers import empty_items, nested, object_around, sequence, text_element
from vmat_rt_service.network.heading import MOST_HEADERS, Heading, HeadingError, read_heading

SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]


def encode(dataset: pydicom.Dataset, syntax: pydicom.uid.UID) -> io.BytesIO:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = syntax.is_little_endian, syntax.is_implicit_VR
    write_dataset(stream, dataset)
    return io.BytesIO(stream.getvalue())


def with_sequences(path: Any, undefined: bool) -> pydicom.Dataset:
    """A dataset with sequences, in each other too, before the study's UID."""
    dataset = pydicom.dcmread(path)
    inner = pydicom.Dataset()
    inner.ReferencedSOPClassUID, inner.ReferencedSOPInstanceUID = CTImageStorage, "1.2.3"
    outer = pydicom.Dataset()
    outer.ReferencedSOPSequence = Sequence([inner, inner])
    dataset.ReferencedSeriesSequence = Sequence([outer, pydicom.Dataset()])
    for element in (dataset["ReferencedSeriesSequence"], outer["ReferencedSOPSequence"]):
        element.is_undefined_length = undefined
    for item in (inner, outer):
        item.is_undefined_length_sequence_item = undefined
    return dataset


@pytest.mark.parametrize("undefined", [False, True], ids=["stated lengths", "undefined lengths"])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.keyword)
def test_it_reads_what_pydicom_reads(study: Any, syntax: pydicom.uid.UID, undefined: bool) -> None:
    dataset = with_sequences(study.ct_files[0], undefined)
    expected = Heading(dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.StudyInstanceUID)
    assert read_heading(encode(dataset, syntax), syntax) == expected


def test_an_encoding_other_than_announced_is_recognised(study: Any) -> None:
    dataset = pydicom.dcmread(study.ct_files[0])
    explicit = encode(dataset, ExplicitVRLittleEndian)
    assert read_heading(explicit, ImplicitVRLittleEndian).study == dataset.StudyInstanceUID
    implicit = encode(dataset, ImplicitVRLittleEndian)
    assert read_heading(implicit, ExplicitVRLittleEndian).study == dataset.StudyInstanceUID


def test_a_sequence_that_somebody_wrote_as_unknown_is_passed_over() -> None:
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 12) + struct.pack("<HHI", 8, 0x1150, 4) + b"1.2\0"
    unknown = struct.pack("<HH2sHI", 9, 0x1001, b"UN", 0, 0xFFFFFFFF) + item + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    assert read_heading(io.BytesIO(object_around("1.2.9", unknown)), ExplicitVRLittleEndian).study == "1.2.3"


def test_nothing_past_the_studys_uid_is_read() -> None:
    content = object_around("1.2.9", b"", end=b"\xff" * 100)
    assert read_heading(io.BytesIO(content), ExplicitVRLittleEndian) == Heading(CTImageStorage, "1.2.9", "1.2.3")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (empty_items(1_500_000), "TOO_COMPLEX"),
        (empty_items(MOST_HEADERS), "TOO_COMPLEX"),
        (nested(1000), "TOO_COMPLEX"),
        (object_around("1.2", b"".join(text_element(9, e % 65536, "LO", "x") for e in range(30_000))), "TOO_COMPLEX"),
        (object_around("1.2", sequence(8, 0x1140, b"")[:-8]), "UNREADABLE"),
        (object_around("1.2", sequence(8, 0x1140, b"", length=0x7FFFFFF0))[:40], "UNREADABLE"),
        (text_element(8, 0x16, "UI", "1." * 60), "UNREADABLE"),
        (b"\x08\x00", "UNREADABLE"),
    ],
    ids=[
        "a million items",
        "just too many items",
        "deep",
        "many elements",
        "no end",
        "cut off",
        "long UID",
        "two bytes",
    ],
)
def test_what_has_no_end_within_the_limits_is_refused_soon_and_in_little_memory(content: bytes, code: str) -> None:
    stream = io.BytesIO(content)
    tracemalloc.start()
    begun = time.monotonic()
    with pytest.raises(HeadingError) as told:
        read_heading(stream, ExplicitVRLittleEndian)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert told.value.code == code
    assert peak < 1e6
    assert time.monotonic() - begun < 5, "it takes a tenth of a second on a quiet machine"


def test_items_by_stated_length_cost_nothing_whatever_they_hold() -> None:
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 1_500_000
    content = object_around("1.2.9", sequence(8, 0x1140, items, length=len(items)))
    begun = time.monotonic()
    assert read_heading(io.BytesIO(content), ExplicitVRLittleEndian).study == "1.2.3"
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("syntax", ["", "1.2.3", "nonsense"])
def test_what_is_no_transfer_syntax_is_unreadable(syntax: str) -> None:
    with pytest.raises(HeadingError):
        read_heading(io.BytesIO(object_around("1.2", b"")), syntax)
