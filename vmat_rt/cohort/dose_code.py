"""A dose as few bytes: rounded to whole steps, differences along the axes, xz. Reversible to the last bit of a step.

    8 bytes   magic
    32 bytes  SHA-256 of everything after it
    4 bytes   length of the header, little endian
    header    JSON: version, step_gy, shape, spacing_mm, origin_mm (z, y, x), orders, planes, mask_bytes
    mask      xz of the packed bits of `dose is not zero`, in C order
    planes    xz of the differences at those voxels: zig-zag coded, all low bytes first, then the next higher ones

A voxel is predicted from those before it by finite differences (Lorenzo prediction; Ibarria, Lindstrom, Rossignac and
Szymczak, Computer Graphics Forum 22(3), 343-348, 2003), of the order along each axis that gives the fewest bytes. A
voxel outside the mask counts as absent, not as zero dose, so that differences start afresh at the skin. All
arithmetic is in integers: every machine unpacks the same dose.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import math
import struct
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vmat_rt.case import Volume
from vmat_rt.errors import ConfigError, GeometryError, InputError, Problem
from vmat_rt.grid import Grid

VERSION: Final = 1
MAGIC = b"VMATdose"
ORDERS = ((1, 1, 1), (1, 0, 1), (1, 0, 2), (0, 1, 1), (1, 1, 0))
"""Orders of the differences along (z, y, x) that are tried: for smooth and for rough doses."""

MOST_STEPS = 1 << 22
"""Doses of more steps than this would not come back from float32 as the same number of steps."""

_SHA = 32
_Integers = NDArray[np.int64]
_Mask = NDArray[np.bool_]


class _Header(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    step_gy: float = Field(gt=0)
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    orders: tuple[int, int, int]
    planes: int = Field(ge=1, le=8)
    mask_bytes: int = Field(ge=0)


def in_steps(volume: Volume, step_gy: float) -> NDArray[np.int64]:
    """The dose in whole steps, rounded to the nearest (ties to even). Raises ConfigError where that cannot be told."""
    if not np.isfinite(step_gy) or step_gy <= 0:
        raise ConfigError(f"a dose cannot be packed in steps of {step_gy} Gy")
    if not np.isfinite(volume.array).all():
        raise ConfigError("a dose with values that are not finite cannot be packed")
    steps = np.rint(volume.array.astype(np.float64) / step_gy)
    if np.abs(steps).max() > MOST_STEPS:
        raise ConfigError(f"a dose of {np.abs(volume.array).max():.6g} Gy cannot be packed in steps of {step_gy} Gy")
    return steps.astype(np.int64)


def pack_dose(volume: Volume, step_gy: float = 0.01) -> bytes:
    """The dose (z, y, x), Gy, rounded to whole steps, with its grid but without its frame of reference.

    Raises ConfigError when a value is not finite or has more than MOST_STEPS steps.
    """
    steps = in_steps(volume, step_gy)
    mask = steps != 0
    packed_mask = _compressed(np.packbits(mask).tobytes())
    tried = [(orders, *_packed_planes(_differences(steps, mask, orders)[mask])) for orders in ORDERS]
    orders, count, planes = min(tried, key=lambda each: len(each[2]))
    header = _Header(
        version=VERSION,
        step_gy=step_gy,
        shape=volume.grid.shape,
        spacing_mm=volume.grid.spacing_mm,
        origin_mm=volume.grid.origin_mm,
        orders=orders,
        planes=count,
        mask_bytes=len(packed_mask),
    )
    text = header.model_dump_json().encode("ascii")
    content = struct.pack("<I", len(text)) + text + packed_mask + planes
    return MAGIC + hashlib.sha256(content).digest() + content


def unpack_dose(data: bytes, frame_uid: str) -> Volume:
    """The dose that `pack_dose` was given, rounded to its steps, in the frame of reference frame_uid.

    float32 Gy, the nearest to the number of steps times the step. Raises InputError (DOSE_CODE_DAMAGED) when the bytes
    are not those that were packed.
    """
    header, packed = _opened(data)
    try:
        grid = Grid(header.shape, header.spacing_mm, header.origin_mm, frame_uid)
        bits = np.frombuffer(lzma.decompress(packed[: header.mask_bytes]), np.uint8)
        size = math.prod(header.shape)
        if min(header.shape) < 1 or len(bits) != (size + 7) // 8:
            raise ValueError(f"a mask of {len(bits)} bytes for {size} voxels")
        mask = np.unpackbits(bits, count=size).astype(bool).reshape(header.shape)
        steps = np.zeros(header.shape, np.int64)
        steps[mask] = _unpacked_planes(packed[header.mask_bytes :], header.planes)
    except (lzma.LZMAError, ValueError, GeometryError) as error:
        raise _damaged(f"cannot be decoded ({error})") from error
    return Volume(grid, (_sums(steps, mask, header.orders) * header.step_gy).astype(np.float32))


def _opened(data: bytes) -> tuple[_Header, bytes]:
    """Header and what follows it, once the checksum agrees."""
    start = len(MAGIC) + _SHA
    if len(data) < start + 4 or not data.startswith(MAGIC):
        raise _damaged(f"are no packed dose ({len(data)} bytes)")
    content = data[start:]
    if hashlib.sha256(content).digest() != data[len(MAGIC) : start]:
        raise _damaged(f"are not the {len(data)} bytes that were packed (SHA-256 differs)")
    (length,) = struct.unpack("<I", content[:4])
    text = content[4 : 4 + length]
    try:
        document: Any = json.loads(text)
        version = document.get("version") if isinstance(document, dict) else None
        if version != VERSION:
            raise _damaged(f"are of version {version}; this program reads version {VERSION}")
        return _Header.model_validate(document), content[4 + length :]
    except (ValueError, ValidationError) as error:
        raise _damaged(f"have a header that cannot be read ({error})") from error


def _damaged(what: str) -> InputError:
    remedy = "Take the file again from where it was packed."
    return InputError(Problem("DOSE_CODE_DAMAGED", f"The bytes of a packed dose {what}.", remedy))


def _differences(steps: _Integers, mask: _Mask, orders: tuple[int, int, int]) -> _Integers:
    """Finite differences along the axes within the mask; what lies before the first voxel of a run counts as zero."""
    result = steps
    for axis, order in enumerate(orders):
        for _ in range(order):
            before = np.zeros_like(result)
            _from(before, axis, 1)[...] = _upto(result, axis)
            result = np.where(mask, result - before, 0)
    return result


def _sums(differences: _Integers, mask: _Mask, orders: tuple[int, int, int]) -> _Integers:
    """The inverse of `_differences`: sums along each run of the mask, axis by axis."""
    result = differences
    for axis, order in reversed(list(enumerate(orders))):
        if not order:
            continue
        values, inside = np.moveaxis(result, axis, -1), np.moveaxis(mask, axis, -1)
        before = np.zeros_like(inside)
        before[..., 1:] = inside[..., :-1]
        starts = np.flatnonzero((~before)[inside])
        lengths = np.diff(starts, append=np.count_nonzero(inside))
        for _ in range(order):
            running = np.cumsum(values[inside])
            # What had been summed before each run is taken off all of the run.
            earlier = np.concatenate([[0], running])[starts]
            summed = np.zeros_like(values)
            summed[inside] = running - np.repeat(earlier, lengths)
            values = summed
        result = np.moveaxis(values, -1, axis)
    return result


def _from(array: _Integers, axis: int, start: int) -> _Integers:
    return np.moveaxis(array, axis, 0)[start:]


def _upto(array: _Integers, axis: int) -> _Integers:
    return np.moveaxis(array, axis, 0)[:-1]


def _packed_planes(values: _Integers) -> tuple[int, bytes]:
    """Number of byte planes, and the zig-zag coded values (0, -1, 1, -2, ... -> 0, 1, 2, 3, ...) in them."""
    folded = ((values << 1) ^ (values >> 63)).view(np.uint64)
    count = max(1, (int(folded.max(initial=0)).bit_length() + 7) // 8)
    planes = folded.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :count]
    return count, _compressed(np.ascontiguousarray(planes.T).tobytes())


def _unpacked_planes(packed: bytes, count: int) -> _Integers:
    planes = np.frombuffer(lzma.decompress(packed), np.uint8).reshape(count, -1)
    folded = np.zeros(planes.shape[1], np.uint64)
    for number, plane in enumerate(planes):
        folded |= plane.astype(np.uint64) << np.uint64(8 * number)
    return (folded >> np.uint64(1)).view(np.int64) ^ -(folded & np.uint64(1)).view(np.int64)


def _compressed(content: bytes) -> bytes:
    # No wider window than the content: the preset's would be 64 MB of memory to clear for every call.
    window = min(max(len(content), 1 << 12), 1 << 26)
    preset = 9 | lzma.PRESET_EXTREME
    filters = [{"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": window, "lc": 4, "lp": 0, "pb": 0}]
    return lzma.compress(content, check=lzma.CHECK_NONE, filters=filters)
