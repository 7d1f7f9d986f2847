"""Attributes as typed values: absent, empty, wrong, and bytes that no value can be made of."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from vmat_rt.dicom.attributes import Attributes, readable_header
from vmat_rt.errors import InputError


def read(**values: object) -> Attributes:
    """The attributes as a reader meets them: written and read again, text as raw bytes where it is no number."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    stream = BytesIO()
    pydicom.dcmwrite(stream, ds)
    return Attributes(pydicom.dcmread(BytesIO(stream.getvalue()), force=True), "the file")


def broken(keyword: str, text: bytes) -> Attributes:
    """A numeric attribute whose text is replaced, byte for byte, after it was written."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    setattr(ds, keyword, "7" * len(text))
    stream = BytesIO()
    pydicom.dcmwrite(stream, ds)
    content = stream.getvalue().replace(b"7" * len(text), text)
    return Attributes(pydicom.dcmread(BytesIO(content), force=True), "the file")


def code(get: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        get()
    (problem,) = caught.value.problems
    assert "the file" in problem.message
    return problem.code


def test_values_come_as_what_their_keyword_says() -> None:
    a = read(
        PatientID=" 4711 ", ImageType=["ORIGINAL", "AXIAL"], KVP="120.5", InstanceNumber="3", PixelSpacing=[2, 1.5]
    )
    assert a.text("PatientID") == "4711"
    assert a.text("ImageType") == "ORIGINAL\\AXIAL"
    assert a.number("KVP") == 120.5
    assert a.whole("InstanceNumber") == a.need_whole("InstanceNumber", 1, 3) == 3
    assert a.need_numbers("PixelSpacing", 2).tolist() == [2.0, 1.5]


@pytest.mark.parametrize("a", [read(), read(PatientID="", KVP=None, PixelSpacing=None)], ids=["absent", "empty"])
def test_what_is_absent_or_empty_is_nothing_unless_it_is_needed(a: Attributes) -> None:
    assert a.text("PatientID") == ""
    assert (a.number("KVP"), a.whole("KVP"), a.numbers("PixelSpacing", 2)) == (None, None, None)
    assert a.items("BeamSequence") == ()
    assert code(lambda: a.need_text("PatientID")) == "ATTRIBUTE_MISSING"
    assert code(lambda: a.need_number("KVP")) == "ATTRIBUTE_MISSING"
    assert code(lambda: a.need_whole("KVP", 0, 9)) == "ATTRIBUTE_MISSING"
    assert code(lambda: a.need_numbers("PixelSpacing", 2)) == "ATTRIBUTE_MISSING"


@pytest.mark.parametrize(
    "get",
    [
        lambda: read(PixelSpacing=[1, 2]).numbers("PixelSpacing", 3),
        lambda: read(KVP="1.5").whole("KVP"),
        lambda: read(InstanceNumber="12").need_whole("InstanceNumber", 1, 11),
        lambda: read(PatientID="x").items("PatientID"),
        lambda: broken("KVP", b"12a4").number("KVP"),
        lambda: broken("KVP", b"nan ").number("KVP"),
        lambda: broken("KVP", b"-inf").number("KVP"),
        lambda: broken("KVP", b"1e999 ").number("KVP"),
        lambda: broken("KVP", b"1\\2\\").numbers("KVP"),
    ],
    ids=["count", "fraction", "range", "no sequence", "letters", "nan", "infinite", "overflow", "empty part"],
)
def test_what_cannot_be_what_it_says_is_invalid(get: Callable[[], object]) -> None:
    assert code(get) == "ATTRIBUTE_INVALID"


def test_raw_numbers_keep_what_is_not_finite() -> None:
    values = broken("ContourData", b"1\\nan\\-inf ").raw_numbers("ContourData")
    assert values is not None
    assert values[0] == 1
    assert np.isnan(values[1])
    assert values[2] == -np.inf


def test_a_header_holds_what_can_be_converted_and_nothing_left_out() -> None:
    a = broken("KVP", b"12a4")
    a.dataset.PatientID, a.dataset.StudyID = "4711", "7"
    header = readable_header(a.dataset, "StudyID")
    assert header.PatientID == "4711"
    assert "StudyID" not in header
    assert all(header[tag].value is not None for tag in header.keys())  # noqa: SIM118 - iteration converts
