"""Signed distances of simple solids, mm, negative inside, and how they combine: element-wise float32 only.

Points are the three coordinate arrays of a `Points`, (z, y, x) order; numbers in argument lists too.
Smooth minimum: polynomial of I. Quilez, "smooth minimum" (2013). Ellipsoid: distance to first order, exact at the
surface.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vmat_rt.case import FloatArray
from vmat_rt.grid import Triple

FAR = np.float32(200)
"""What a field holds where it was not computed: far outside, mm."""

REACH_MM = 16.0
SLACK_MM = 10.0

Knot = tuple[float, float, float, float]
"""A point of a tube and its radius there: (z, y, x, radius) mm."""


@dataclass(frozen=True)
class Points:
    """Coordinates (z, y, x) of lattice points, mm, three arrays of one shape."""

    z: FloatArray
    y: FloatArray
    x: FloatArray

    def mirror(self) -> Points:
        """The same points with |x|: what is built once stands on both sides."""
        return Points(self.z, self.y, np.abs(self.x))


def f32(value: float) -> np.float32:
    return np.float32(value)


def sphere(p: Points, centre: Triple, radius: float) -> FloatArray:
    z, y, x = (a - f32(c) for a, c in zip((p.z, p.y, p.x), centre, strict=True))
    return np.asarray(np.sqrt(z * z + y * y + x * x) - f32(radius), np.float32)


def ellipsoid(p: Points, centre: Triple, radii: Triple) -> FloatArray:
    z, y, x = ((a - f32(c)) / f32(r) for a, c, r in zip((p.z, p.y, p.x), centre, radii, strict=True))
    inner = np.sqrt(z * z + y * y + x * x)
    z, y, x = (a / f32(r) for a, r in zip((z, y, x), radii, strict=True))
    slope = np.sqrt(z * z + y * y + x * x)
    return np.asarray(inner * (inner - f32(1)) / np.maximum(slope, f32(1e-6)), np.float32)


def cone(p: Points, start: Knot, end: Knot) -> FloatArray:
    """A straight rod with round ends, its radius going linearly from start's to end's."""
    axis = tuple(b - a for a, b in zip(start[:3], end[:3], strict=True))
    # A rod without length is a ball.
    squared = max(axis[0] * axis[0] + axis[1] * axis[1] + axis[2] * axis[2], 1e-6)
    z, y, x = (a - f32(c) for a, c in zip((p.z, p.y, p.x), start[:3], strict=True))
    t = (z * f32(axis[0]) + y * f32(axis[1]) + x * f32(axis[2])) / f32(squared)
    t = np.minimum(np.maximum(t, f32(0)), f32(1))
    z, y, x = (a - t * f32(c) for a, c in zip((z, y, x), axis, strict=True))
    return np.asarray(np.sqrt(z * z + y * y + x * x) - (f32(start[3]) + t * f32(end[3] - start[3])), np.float32)


def tube(p: Points, knots: Sequence[Knot], blend_mm: float = 0.0) -> FloatArray:
    """Rods through the knots, joined smoothly over blend_mm; computed within REACH_MM of each rod, FAR beyond."""
    result = np.full(p.z.shape, FAR, np.float32)
    for start, end in itertools.pairwise(knots):
        part = _find_near(p, start, end)
        if part is not None:
            rod = cone(Points(p.z[part], p.y[part], p.x[part]), start, end)
            result[part] = union(result[part], rod, blend_mm)
    return result


def _find_near(p: Points, start: Knot, end: Knot) -> tuple[slice, slice, slice] | None:
    """The box of points that may lie within REACH_MM of a rod; the lattice is bent by less than SLACK_MM."""
    reach = max(start[3], end[3]) + REACH_MM + SLACK_MM
    middle = [n // 2 for n in p.z.shape]
    lines = (p.z[:, middle[1], middle[2]], p.y[middle[0], :, middle[2]], p.x[middle[0], middle[1], :])
    box = []
    for line, a, b in zip(lines, start[:3], end[:3], strict=True):
        near = np.flatnonzero((line > f32(min(a, b) - reach)) & (line < f32(max(a, b) + reach)))
        if near.size == 0:
            return None
        box.append(slice(int(near[0]), int(near[-1]) + 1))
    return (box[0], box[1], box[2])


def slab(values: FloatArray, centre: float, half: float) -> FloatArray:
    """Between centre - half and centre + half along one coordinate."""
    return np.asarray(np.abs(values - f32(centre)) - f32(half), np.float32)


def union(a: FloatArray, b: FloatArray, blend_mm: float = 0.0) -> FloatArray:
    """Both solids; blend_mm rounds the crease between them."""
    lower = np.minimum(a, b)
    if blend_mm <= 0:
        return lower
    near = np.maximum(f32(blend_mm) - np.abs(a - b), f32(0))
    return np.asarray(lower - near * near / f32(4 * blend_mm), np.float32)


def common(a: FloatArray, b: FloatArray, blend_mm: float = 0.0) -> FloatArray:
    """What lies in both solids."""
    return -union(-a, -b, blend_mm)


def without(a: FloatArray, b: FloatArray, gap_mm: float = 0.0, blend_mm: float = 0.0) -> FloatArray:
    """A less b grown by gap_mm."""
    return common(a, f32(gap_mm) - b, blend_mm)
