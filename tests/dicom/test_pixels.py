"""Stored values of every depth and sign, rubbish bits, padding, and pixel data that are not there."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from vmat_rt.dicom.attributes import Attributes
from vmat_rt.dicom.pixels import hounsfield, stored_values
from vmat_rt.errors import InputError


def image(array: np.ndarray, **values: object) -> Attributes:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.Rows, ds.Columns, ds.SamplesPerPixel = *array.shape[-2:], 1
    bits = 8 * array.dtype.itemsize
    ds.BitsAllocated = ds.BitsStored = bits
    ds.PixelRepresentation = int(array.dtype.kind == "i")
    ds.PixelData = array.tobytes()
    ds.RescaleSlope, ds.RescaleIntercept = 1, 0
    for keyword, value in values.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    ds.set_original_encoding(False, True)
    return Attributes(ds, "CT file 'a'")


def code(source: Attributes, frames: int = 1) -> str:
    with pytest.raises(InputError) as caught:
        stored_values(source, frames)
    (problem,) = caught.value.problems
    return problem.code


@pytest.mark.parametrize("dtype", ["u1", "i1", "<u2", "<i2", "<u4", "<i4"])
def test_extremes_of_every_depth_and_sign_come_back(dtype: str) -> None:
    info = np.iinfo(dtype)
    array = np.array([[[info.min, info.max, 1], [0, 2, 3]], [[4, 5, 6], [7, 8, 9]]], dtype)
    np.testing.assert_array_equal(stored_values(image(array), frames=2), array)


def test_bits_above_those_stored_are_no_value_and_the_sign_is_extended() -> None:
    raw = np.array([[0xF7FF, 0x0800, 0x0FFF, 0x1001]], "<u2")
    unsigned = stored_values(image(raw, BitsStored=12), 1)[0]
    np.testing.assert_array_equal(unsigned, [[0x7FF, 0x800, 0xFFF, 1]])
    signed = stored_values(image(raw.view("<i2"), BitsStored=12), 1)[0]
    np.testing.assert_array_equal(signed, [[2047, -2048, -1, 1]])


def test_float_pixels_are_taken_as_they_are() -> None:
    array = np.array([[0.25, -3.5e8]], "<f4")
    source = image(np.zeros((1, 2), "<u2"), PixelData=None, FloatPixelData=array.tobytes())
    np.testing.assert_array_equal(stored_values(source, 1)[0], array)


def test_hounsfield_is_slope_times_value_plus_intercept() -> None:
    hu = hounsfield(image(np.array([[0, 100, 4000]], "<u2"), RescaleSlope="0.5", RescaleIntercept="-1000"))
    np.testing.assert_array_equal(hu, np.array([[-1000, -950, 1000]], np.float32))
    assert hu.dtype == np.float32


@pytest.mark.parametrize("change", [{"RescaleSlope": None}, {"RescaleIntercept": None}, {"RescaleSlope": 0}])
def test_values_without_a_scale_are_no_hu(change: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        hounsfield(image(np.zeros((2, 2), "<i2"), **change))
    assert [problem.code for problem in caught.value.problems] == ["CT_RESCALE"]


def test_padding_off_the_scale_becomes_minus_1024_and_padding_within_it_stays() -> None:
    array = np.array([[-2000, -1990, -1980, 40]], "<i2")
    source = image(array, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1990)
    source.dataset["PixelPaddingValue"].VR = source.dataset["PixelPaddingRangeLimit"].VR = "SS"
    np.testing.assert_array_equal(hounsfield(source), np.array([[-1024, -1024, -1980, 40]], np.float32))
    within = image(array, PixelPaddingValue=40)
    np.testing.assert_array_equal(hounsfield(within), array.astype(np.float32))


@pytest.mark.parametrize(
    "change",
    [
        {"PixelData": b"\0" * 7},
        {"PixelData": None},
        {"SamplesPerPixel": 3},
        {"BitsAllocated": 24},
        {"BitsStored": 17},
        {"BitsStored": 0, "PixelData": b""},
    ],
    ids=["short", "absent", "colours", "24 bits", "more stored than allocated", "none"],
)
def test_pixels_that_cannot_be_are_refused(change: dict[str, object]) -> None:
    assert code(image(np.zeros((2, 2), "<u2"), **change)) == "PIXELS_UNREADABLE"


@pytest.mark.parametrize("change", [{"Rows": None}, {"Columns": 0}, {"Rows": 9000}])
def test_an_impossible_size_is_refused_before_memory_is_taken(change: dict[str, object]) -> None:
    assert code(image(np.zeros((2, 2), "<u2"), **change)).startswith("ATTRIBUTE_")


def test_too_many_pixels_are_refused_before_memory_is_taken() -> None:
    assert code(image(np.zeros((2, 2), "<u2"), Rows=8192, Columns=8192), frames=1000) == "PIXELS_UNREADABLE"
