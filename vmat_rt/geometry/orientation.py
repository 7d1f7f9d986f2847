"""Arrays as files store them -> canonical volumes: axes (z, y, x), increasing in LPS."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Volume
from vmat_rt.grid import Grid

Vector = NDArray[np.float64]
OBLIQUE_TOLERANCE_DEG = 0.101
"""Axes turned by a tenth of a degree count as the patient's; cosines are written with few decimals."""
COSINE_TOLERANCE = math.sin(math.radians(OBLIQUE_TOLERANCE_DEG))
"""Largest departure of a direction cosine from 0 or 1; 0.44 mm at the edge of a 500 mm field."""


def find_signed_axis(direction: Vector) -> tuple[int, int] | None:
    """(axis, sign) of a unit vector (x, y, z) along a patient axis, axis 0 = x; None when it is oblique."""
    axis = int(np.argmax(np.abs(direction)))
    others = np.delete(direction, axis)
    if np.max(np.abs(others)) > COSINE_TOLERANCE:
        return None
    return axis, 1 if direction[axis] > 0 else -1


def make_canonical_volume(
    array: NDArray[np.float32],
    origin_xyz: Vector,
    directions: tuple[Vector, Vector, Vector],
    spacing_mm: tuple[float, float, float],
    frame_uid: str,
) -> Volume:
    """An array (frame, row, column) whose first voxel lies at origin_xyz -> Volume on an increasing LPS grid.

    directions: unit vectors (x, y, z) of growing frame, row and column index, each along a patient axis;
    spacing_mm: distance along each. Axes are exchanged and flipped as needed; values stay as they are.
    """
    signed = [find_signed_axis(direction) for direction in directions]
    axes = [axis for axis, _ in (pair for pair in signed if pair is not None)]
    if sorted(axes) != [0, 1, 2]:
        raise ValueError("directions must follow the three patient axes")
    origin, spacing = [0.0] * 3, [0.0] * 3
    for index, pair in enumerate(signed):
        assert pair is not None
        axis, sign = pair
        extent = (array.shape[index] - 1) * spacing_mm[index]
        origin[axis] = float(origin_xyz[axis]) - (extent if sign < 0 else 0.0)
        spacing[axis] = spacing_mm[index]
        if sign < 0:
            array = np.flip(array, index)
    array = np.ascontiguousarray(np.transpose(array, [axes.index(axis) for axis in (2, 1, 0)]))
    z, y, x = array.shape
    grid = Grid((z, y, x), (spacing[2], spacing[1], spacing[0]), (origin[2], origin[1], origin[0]), frame_uid)
    return Volume(grid, array)
