"""Where the middle of a structure lies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Contours, Structure, Volume
from vmat_rt.grid import Triple


def centroid_mm(structure: Structure) -> Triple | None:
    """Middle of a structure's volume (z, y, x), mm, without any grid; None where it has none.

    Holes of contours count as filled, which moves it by less than is asked here.
    """
    shape = structure.shape
    if isinstance(shape, Volume):
        return _find_middle_of_voxels(shape)
    if not isinstance(shape, Contours):
        return None
    moments, total = np.zeros(3), 0.0
    for plane in shape.planes:
        for polygon in plane.polygons:
            area, y, x = _measure_polygon(polygon)
            moments += area * np.array([plane.z_mm, y, x])
            total += area
    if total <= 0:
        return None
    z, y, x = (float(value) for value in moments / total)
    return (z, y, x)


def _find_middle_of_voxels(volume: Volume) -> Triple | None:
    sums = [volume.array.sum(axis=tuple({0, 1, 2} - {axis}), dtype=np.float64) for axis in range(3)]
    total = float(sums[0].sum())
    if total <= 0:
        return None
    z, y, x = (float(along @ volume.grid.axis_mm(axis)) / total for axis, along in enumerate(sums))
    return (z, y, x)


def _measure_polygon(polygon: NDArray[np.float64]) -> tuple[float, float, float]:
    """Area, mm^2, and centroid (y, x) of one polygon, by the shoelace formula round its first point."""
    y, x = (polygon - polygon[0]).T
    next_y, next_x = np.roll(y, -1), np.roll(x, -1)
    crossed = x * next_y - next_x * y
    twice = float(crossed.sum())
    if twice == 0:
        return 0.0, 0.0, 0.0
    middle_y, middle_x = (float(((a + b) * crossed).sum()) / (3 * twice) for a, b in ((y, next_y), (x, next_x)))
    return abs(twice) / 2, float(polygon[0, 0]) + middle_y, float(polygon[0, 1]) + middle_x
