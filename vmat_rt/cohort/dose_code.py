"""A dose as few bytes: rounded to whole steps, less its neighbours along z and x, xz. Reversible to the step.

    an xz stream, whose check is SHA-256, of
    header    a line of JSON: version, step_gy, shape, spacing_mm, origin_mm (z, y, x)
    planes    the differences as whole numbers of 4 bytes, zig-zag coded: all lowest bytes first, then the next higher

docs/decisions/dose-code.md says what other codecs make of the same doses.
"""

from __future__ import annotations

import json
import lzma
import math
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from vmat_rt.case import Volume
from vmat_rt.errors import ConfigError, GeometryError, InputError, Problem
from vmat_rt.grid import Grid
from vmat_rt.strict import Strict, reason
from vmat_rt.system.unpack import unpack_xz

VERSION: Final = 2
MOST_STEPS = 1 << 22
"""Doses of more steps than this would not come back from float32 as the same number of steps."""

_START_OF_VERSION_1 = b"VMATdose"
_AXES = (0, 2)
"""Of the differences: along z and x. A third along y makes the files larger, see the decision."""


_MOST_BYTES = 400 << 20
"""A hundred million voxels."""


class _Header(Strict):
    version: Literal[2]
    step_gy: float = Field(gt=0)
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]


def round_to_steps(volume: Volume, step_gy: float) -> NDArray[np.int64]:
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
    grid = volume.grid
    rest = round_to_steps(volume, step_gy).astype(np.int32)
    for axis in _AXES:
        rest = np.diff(rest, axis=axis, prepend=np.int32(0))
    header = _Header(
        version=VERSION, step_gy=step_gy, shape=grid.shape, spacing_mm=grid.spacing_mm, origin_mm=grid.origin_mm
    )
    content = header.model_dump_json().encode("ascii") + b"\n" + _split_planes(rest)
    return lzma.compress(content, check=lzma.CHECK_SHA256, preset=6 | lzma.PRESET_EXTREME)


def unpack_dose(data: bytes, frame_uid: str) -> Volume:
    """The dose that `pack_dose` was given, rounded to its steps, in the frame of reference frame_uid.

    float32 Gy, the nearest to the number of steps times the step. Raises InputError (DOSE_CODE_DAMAGED) when the bytes
    are not those that were packed.
    """
    header, planes = _open_packed(data)
    try:
        grid = Grid(header.shape, header.spacing_mm, header.origin_mm, frame_uid)
        if min(header.shape) < 1 or len(planes) != 4 * math.prod(header.shape):
            raise ValueError(f"{len(planes)} bytes for a grid of {header.shape}")
    except (ValueError, GeometryError) as error:
        raise _report_damage(f"cannot be decoded ({error})") from error
    steps = _join_planes(planes).reshape(header.shape)
    for axis in reversed(_AXES):
        steps = np.cumsum(steps, axis=axis, dtype=np.int32)
    return Volume(grid, (steps * header.step_gy).astype(np.float32))


def _split_planes(values: NDArray[np.int32]) -> bytes:
    """The values zig-zag coded (0, -1, 1, -2, ... -> 0, 1, 2, 3, ...), lowest bytes first."""
    folded = ((values << 1) ^ (values >> 31)).astype("<i4")
    return folded.view(np.uint8).reshape(-1, 4).T.tobytes()


def _join_planes(planes: bytes) -> NDArray[np.int32]:
    folded = np.ascontiguousarray(np.frombuffer(planes, np.uint8).reshape(4, -1).T).view("<u4")
    return (folded >> 1).astype(np.int32) ^ -(folded & 1).astype(np.int32)


def _open_packed(data: bytes) -> tuple[_Header, bytes]:
    """Header and planes, once the checksum agrees."""
    if data.startswith(_START_OF_VERSION_1):
        raise _report_damage(f"are of version 1; this program reads version {VERSION}")
    try:
        text, _, planes = unpack_xz(data, _MOST_BYTES).partition(b"\n")
    except ValueError as error:
        raise _report_damage(f"are not the {len(data)} bytes that were packed ({error})") from error
    try:
        document: Any = json.loads(text)
        version = document.get("version") if isinstance(document, dict) else None
        if version != VERSION:
            raise _report_damage(f"are of version {version}; this program reads version {VERSION}")
        return _Header.model_validate(document), planes
    except (ValueError, ValidationError) as error:
        raise _report_damage(f"have a header that cannot be read ({reason(error)})") from error


def _report_damage(what: str) -> InputError:
    remedy = "Copy the file again from where it was packed."
    return InputError(Problem("DOSE_CODE_DAMAGED", f"The bytes of a packed dose {what}.", remedy))
