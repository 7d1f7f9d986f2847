"""Pixel data -> numbers: native and compressed, signed and unsigned, any stored bit depth."""

from __future__ import annotations

from typing import Never

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.utils import pixel_array

from vmat_rt.dicom.attributes import Attributes
from vmat_rt.errors import InputError, Problem

Stored = NDArray[np.signedinteger | np.unsignedinteger | np.floating]
_PADDING_HU = -1024.0
_HIGHEST_PLAUSIBLE_HU = 32767.0
_SIDE_LIMIT = 8192
_VOXEL_LIMIT = 200_000_000
_EXPORT_AGAIN = "Copy or export that file again; it may have been cut off on the way."
_NATIVE = {"", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"}


def hounsfield(slice_: Attributes) -> NDArray[np.float32]:
    """HU (row, column) of a single-frame CT image. Raises InputError."""
    return rescaled(stored_values(slice_, frames=1)[0], slice_, slice_)


def rescaled(stored: Stored, transformation: Attributes, image: Attributes) -> NDArray[np.float32]:
    """HU (row, column) of stored values: value * RescaleSlope + RescaleIntercept (PS3.3 C.11.1).

    transformation: what holds slope and intercept, the image itself or a frame's functional group. Pixels of
    the image's PixelPaddingValue whose HU lie outside the CT scale become -1024. Raises InputError.
    """
    slope, intercept = transformation.number("RescaleSlope"), transformation.number("RescaleIntercept")
    if slope is None or intercept is None or slope == 0:
        found = f"RescaleSlope {slope} and RescaleIntercept {intercept}"
        message = f"{image.what} has {found.replace('None', 'absent')}, so its values are not HU."
        raise InputError(Problem("CT_RESCALE", message, "Export the CT with its rescale values."))
    hu: NDArray[np.float32] = stored.astype(np.float32)
    if slope != 1 or intercept != 0:
        hu = hu * np.float32(slope) + np.float32(intercept)
    padding = _padding(image, stored)
    if padding is not None:
        hu[padding & ((hu < _PADDING_HU) | (hu > _HIGHEST_PLAUSIBLE_HU))] = _PADDING_HU
    return hu


def _padding(slice_: Attributes, stored: Stored) -> NDArray[np.bool_] | None:
    """Pixels at PixelPaddingValue, or from there to PixelPaddingRangeLimit; compared bit by bit, whatever the VR."""
    value = slice_.whole("PixelPaddingValue")
    if value is None or stored.dtype.kind not in "iu":
        return None
    limit = slice_.whole("PixelPaddingRangeLimit")
    ends = [_as_stored(end, stored.dtype) for end in (value, value if limit is None else limit)]
    found: NDArray[np.bool_] = (stored >= min(ends)) & (stored <= max(ends))
    return found


def _as_stored(value: int, dtype: np.dtype[np.generic]) -> int:
    return int(np.array(value % (1 << 8 * dtype.itemsize), dtype=f"u{dtype.itemsize}").view(dtype))


def stored_values(image: Attributes, frames: int) -> Stored:
    """Stored values (frame, row, column) before any rescaling: integers, or floats of FloatPixelData.

    Raises InputError: PIXELS_UNREADABLE when the data are absent, too short or cannot be decoded, ATTRIBUTE_* when the
    image's description is.
    """
    rows, columns = image.need_whole("Rows", 1, _SIDE_LIMIT), image.need_whole("Columns", 1, _SIDE_LIMIT)
    if (image.whole("SamplesPerPixel") or 1) != 1:
        _refuse(image, "has several samples a pixel, so it is a picture, not values")
    shape = (frames, rows, columns)
    if frames * rows * columns > _VOXEL_LIMIT:
        _refuse(image, f"claims {frames} x {rows} x {columns} pixels")
    if "FloatPixelData" in image.dataset:
        return _native(image, "FloatPixelData", np.dtype("<f4"), shape)
    allocated = image.need_whole("BitsAllocated", 8, 32)
    if allocated not in (8, 16, 32):
        _refuse(image, f"has {allocated} bits allocated")
    signed = image.whole("PixelRepresentation") == 1
    if _transfer_syntax(image) in _NATIVE:
        order = "<" if image.dataset.original_encoding[1] is not False else ">"
        values = _native(image, "PixelData", np.dtype(f"{order}{'i' if signed else 'u'}{allocated // 8}"), shape)
    else:
        values = _decoded(image, shape)
    stored = image.whole("BitsStored") or allocated
    if not 1 <= stored <= allocated:
        _refuse(image, f"has {stored} bits stored in {allocated} allocated")
    return _significant_bits(values, stored)


def _transfer_syntax(image: Attributes) -> str:
    meta = getattr(image.dataset, "file_meta", None)
    return "" if meta is None else Attributes(meta, image.what).text("TransferSyntaxUID")


def _native(image: Attributes, keyword: str, dtype: np.dtype[np.generic], shape: tuple[int, int, int]) -> Stored:
    value = getattr(image.stored(keyword), "value", None)
    data = value if isinstance(value, bytes) else b""
    count = int(np.prod(shape))
    if len(data) < count * dtype.itemsize:
        shape_text = " x ".join(str(n) for n in shape)
        _refuse(image, f"has {len(data)} bytes of pixel data where {shape_text} pixels need {count * dtype.itemsize}")
    return np.frombuffer(data, dtype, count).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _decoded(image: Attributes, shape: tuple[int, int, int]) -> Stored:
    if "PixelData" not in image.dataset:
        _refuse(image, "has no pixel data")
    try:
        values = np.asarray(pixel_array(image.dataset, raw=True))
    except Exception as error:  # the boundary: each decoder raises its own kinds
        raise InputError(_problem(image, f"has pixel data that cannot be decoded ({type(error).__name__})")) from error
    if values.size != int(np.prod(shape)):
        _refuse(image, f"decodes to {values.size} pixels where {shape[0]} x {shape[1]} x {shape[2]} belong")
    return values.reshape(shape)


def _significant_bits(values: Stored, stored: int) -> Stored:
    """Only the `stored` low bits, sign extended; what lies above (overlays, rubbish) is no value."""
    spare = 8 * values.dtype.itemsize - stored
    if spare <= 0 or values.dtype.kind not in "iu":
        return values
    shifted: Stored = np.right_shift(np.left_shift(values, spare), spare)
    return shifted


def _problem(image: Attributes, fault: str) -> Problem:
    return Problem("PIXELS_UNREADABLE", f"{image.what} {fault}.", _EXPORT_AGAIN)


def _refuse(image: Attributes, fault: str) -> Never:
    raise InputError(_problem(image, fault))
