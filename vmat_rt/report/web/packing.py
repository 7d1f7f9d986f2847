"""Volumes small enough for a page: whole steps, differences of neighbours, deflate and base64.

A voxel is stored as code = 1 + round((value - lowest) / step), and 0 where there is no value. Codes are replaced by
their differences along x and then along y (modulo 65536), written zigzag (0, -1, 1, -2 ... as 0, 1, 2, 3 ...), lower
bytes of all voxels first, then the upper ones; volume.mjs reads them back. Smooth images then take a third of the room.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import FloatArray
from vmat_rt.grid import Grid

MOST_CODES: Final = 65535
_LEVEL: Final = 6


@dataclass(frozen=True)
class Packed:
    """A volume as a page holds it. step and lowest are in its own unit; data is base64 of the deflated codes."""

    grid: Grid
    step: float
    lowest: float
    data: str

    def describe(self, place: str) -> dict[str, Any]:
        """What volume.mjs needs beside the data, which stand in the element of that id; order (z, y, x), mm."""
        return {
            "shape": self.grid.shape,
            "spacing": self.grid.spacing_mm,
            "origin": self.grid.origin_mm,
            "step": self.step,
            "lowest": self.lowest,
            "data": place,
        }


def pack_volume(grid: Grid, array: FloatArray, step: float, lowest: float) -> Packed:
    """Store a float array (z, y, x) in steps from `lowest` up; NaN stays absent. Raises ValueError past 65535 codes.

    A value is given back to within half a step; what lies below `lowest` is stored as `lowest`.
    """
    known = np.isfinite(array)
    codes = np.where(known, np.rint((np.where(known, array, lowest) - lowest) / step), 0.0)
    np.maximum(codes, 0, out=codes)
    if codes.max(initial=0) + 1 > MOST_CODES:
        raise ValueError(f"{codes.max():.0f} steps of {step:g} do not fit into {MOST_CODES} codes")
    stored = (codes.astype(np.uint16) + np.uint16(1)) * known.astype(np.uint16)
    return Packed(grid, float(step), float(lowest), _deflate(stored))


def unpack_codes(packed: Packed) -> NDArray[np.uint16]:
    """The codes of a packed volume (z, y, x), as volume.mjs finds them; for tests and other readers."""
    raw = np.frombuffer(zlib.decompress(base64.b64decode(packed.data)), np.uint8)
    low, high = raw.reshape(2, *packed.grid.shape).astype(np.uint16)
    zigzag = low | (high << np.uint16(8))
    differences = (zigzag >> np.uint16(1)) ^ (np.uint16(0) - (zigzag & np.uint16(1)))
    rows = np.cumsum(differences, axis=1, dtype=np.uint16)
    return np.cumsum(rows, axis=2, dtype=np.uint16)


def _deflate(codes: NDArray[np.uint16]) -> str:
    difference = codes
    for axis in (2, 1):
        difference = np.diff(difference, axis=axis, prepend=np.uint16(0))
    signed = difference.view(np.int16)
    zigzag = ((signed << 1) ^ (signed >> 15)).view(np.uint16)
    planes = np.concatenate([(zigzag & 255).astype(np.uint8).ravel(), (zigzag >> 8).astype(np.uint8).ravel()])
    return base64.b64encode(zlib.compress(planes.tobytes(), _LEVEL)).decode("ascii")
