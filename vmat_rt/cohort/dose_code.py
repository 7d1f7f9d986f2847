"""A dose as few bytes: rounded to whole steps, each voxel predicted from those before it, xz. Reversible to the step.

    8 bytes   magic
    32 bytes  SHA-256 of everything after it
    4 bytes   length of the header, little endian
    header    JSON: version, step_gy, shape, spacing_mm, origin_mm (z, y, x), weights, planes, mask_bytes
    mask      xz of one byte a voxel, in C order: 1 where the dose is not zero
    planes    xz of what prediction leaves there: zig-zag coded, all low bytes first, then the next higher ones

Unpacking is arithmetic in integers, the same on every machine.
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
from vmat_rt.cohort.dose_prediction import Integers, first_weights, fitted_weights, remainders, restored
from vmat_rt.errors import ConfigError, GeometryError, InputError, Problem
from vmat_rt.grid import Grid
from vmat_rt.strict import reason

VERSION: Final = 1
MAGIC = b"VMATdose"
MOST_STEPS = 1 << 22
"""Doses of more steps than this would not come back from float32 as the same number of steps."""

_SHA = 32


class _Header(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    step_gy: float = Field(gt=0)
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    weights: tuple[tuple[int, ...], ...]
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
    packed_mask = _compressed(mask.tobytes())
    weights = fitted_weights(steps, mask)
    count, planes = _packed_planes(remainders(steps, mask, weights))
    header = _Header(
        version=VERSION,
        step_gy=step_gy,
        shape=volume.grid.shape,
        spacing_mm=volume.grid.spacing_mm,
        origin_mm=volume.grid.origin_mm,
        weights=tuple(map(tuple, weights.tolist())),
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
        inside = np.frombuffer(lzma.decompress(packed[: header.mask_bytes]), np.uint8)
        if min(header.shape) < 1 or len(inside) != math.prod(header.shape):
            raise ValueError(f"a mask of {len(inside)} voxels for a grid of {header.shape}")
        mask = (inside != 0).reshape(header.shape)
        rest = _unpacked_planes(packed[header.mask_bytes :], header.planes)
        weights = np.array(header.weights, np.int64)
        if len(rest) != np.count_nonzero(mask) or weights.shape != first_weights().shape:
            raise ValueError(f"{len(rest)} values for {np.count_nonzero(mask)} voxels, weights of {weights.shape}")
    except (lzma.LZMAError, ValueError, GeometryError) as error:
        raise _damaged(f"cannot be decoded ({error})") from error
    return Volume(grid, (restored(rest, mask, weights) * header.step_gy).astype(np.float32))


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
        raise _damaged(f"have a header that cannot be read ({reason(error)})") from error


def _damaged(what: str) -> InputError:
    remedy = "Take the file again from where it was packed."
    return InputError(Problem("DOSE_CODE_DAMAGED", f"The bytes of a packed dose {what}.", remedy))


def _packed_planes(values: Integers) -> tuple[int, bytes]:
    """Number of byte planes, and the zig-zag coded values (0, -1, 1, -2, ... -> 0, 1, 2, 3, ...) in them."""
    folded = ((values << 1) ^ (values >> 63)).view(np.uint64)
    count = max(1, (int(folded.max(initial=0)).bit_length() + 7) // 8)
    planes = folded.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :count]
    return count, _compressed(np.ascontiguousarray(planes.T).tobytes())


def _unpacked_planes(packed: bytes, count: int) -> Integers:
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
