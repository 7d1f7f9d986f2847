"""Where a structure ends beyond its last contours: where its area does, if that comes to nothing before a next plane.

The area of a sphere, an ellipsoid or a cone is a parabola along z, and so is the square of a lying cylinder's. An end
closes where the parabola through the areas of the last three planes (through their squares, where that meets the fourth
plane clearly better) comes to zero within the spacing of the planes; on the way there the last plane counts for the
part of its area that is left. Where it does not (a standing cylinder, an organ that is cut off) nothing tells where
between this plane and the next the structure stops, and the last plane counts for half the spacing. See
docs/decisions/ends-of-solids.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import ContourPlane, Polygon
from vmat_rt.geometry import scanline

Lengths = NDArray[np.float64]
Flags = NDArray[np.bool_]

_CLOSES_WITHIN = 1.1
"""Spacings within which a parabola must reach zero: one, and rounding of the areas."""
_CLOSED = 0.1
"""A parabola that comes down to this part of its value at the last plane before it would rise again closes: a cone's
touches zero and no more."""
_PLANES = 4
_CLEARLY = 0.5
"""A miss of less than this part of the other's is clearly better."""
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(12)


@dataclass(frozen=True)
class Ends:
    """What lies beyond each plane where it is the last of a run, each (n,).

    At a depth of d mm beyond plane i, up to reach_mm[i], (1 + slope[i] d + curve[i] d^2)^(1 / power[i]) of the plane
    is left; slope and curve are 0 where the structure is cut off. half_mm: half the spacing there, the reach of a cut.
    """

    half_mm: Lengths
    reach_mm: Lengths
    slope: Lengths
    curve: Lengths
    power: Lengths

    @property
    def closed(self) -> Flags:
        """Which ends close; the others are cut off."""
        closed: Flags = self.slope != 0
        return closed

    def share(self, planes: NDArray[np.int64], depth_mm: Lengths) -> Lengths:
        """The part of each plane that is left at a depth within its reach."""
        left = 1 + (self.slope[planes] + self.curve[planes] * depth_mm) * depth_mm
        share: Lengths = np.clip(left, 0, 1) ** (1 / self.power[planes])
        return share

    def thickness_mm(self, from_mm: Lengths, to_mm: Lengths) -> Lengths:
        """What each plane counts for between two depths, (n,): the integral of its share."""
        start, stop = (np.clip(depth, 0, self.reach_mm) for depth in (from_mm, to_mm))
        thickness: Lengths = np.where(stop > start, self._integral_beyond(start) - self._integral_beyond(stop), 0.0)
        return thickness

    def _integral_beyond(self, depth_mm: Lengths) -> Lengths:
        """The integral of the share from a depth to the end, by Gauss's rule in the root of what is left to go."""
        # d = reach - u^2: a share that goes to zero as a root does is smooth in u.
        half = np.sqrt(self.reach_mm - depth_mm)[:, None] / 2
        u = half * (1 + _NODES)
        planes = np.arange(len(depth_mm))[:, None]
        values = self.share(planes, self.reach_mm[:, None] - u**2) * 2 * u
        integral: Lengths = (values * _NODE_WEIGHTS).sum(axis=1) * half[:, 0]
        return integral

    def turned(self) -> Ends:
        """The same ends with the planes in reverse order."""
        return Ends(*(values[::-1] for values in vars(self).values()))


def plane_areas_mm2(planes: Sequence[ContourPlane]) -> Lengths:
    """Area of each plane's polygons, (n,): even-odd where there are several."""
    return np.array([_area_mm2(plane.polygons) for plane in planes], np.float64)


def _area_mm2(polygons: Sequence[Polygon]) -> float:
    outlines = [polygon for polygon in polygons if len(polygon) > 2]
    if not outlines:
        return 0.0
    if len(outlines) == 1:
        y, x = (outlines[0] - outlines[0][0]).T
        return abs(float(np.dot(y, np.roll(x, -1)) - np.dot(x, np.roll(y, -1)))) / 2
    points = np.concatenate(outlines)
    (y0, x0), (y1, x1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return float(scanline.areas_mm2([outlines], (y0, x0), (y1, x1))[0])


def find_ends(z_mm: Lengths, areas_mm2: Lengths, connected: Flags, half_mm: Lengths) -> Ends:
    """What lies before each plane as the first of a run; half_mm (n,) is half the spacing there.

    Two planes give a straight line in place of the parabola; one plane is cut off at both ends.
    """
    none = np.zeros(len(z_mm))
    ends = Ends(half_mm, half_mm.copy(), none, none.copy(), none + 1)
    for i in np.flatnonzero(np.append(connected, False) & ~np.append(False, connected)).tolist():
        apart = np.flatnonzero(~connected[i : i + _PLANES])
        run = slice(i, i + (int(apart[0]) + 1 if len(apart) else _PLANES))
        for power in _rank_powers(z_mm[run], areas_mm2[run]):
            closed = _close(z_mm[run], areas_mm2[run] ** power, 2 * float(half_mm[i]))
            if closed is not None:
                # Ends of two runs do not overlap.
                room = float(z_mm[i] - z_mm[i - 1]) / 2 if i else math.inf
                ends.reach_mm[i] = min(closed[0], room)
                ends.slope[i], ends.curve[i], ends.power[i] = *closed[1:], power
                break
    return ends


def _rank_powers(z_mm: Lengths, areas_mm2: Lengths) -> tuple[int, ...]:
    """Power 1, after 2 where a parabola of squares through the last three planes meets the fourth clearly better."""
    if len(z_mm) < _PLANES:
        return (1,)
    missed = []
    for power in (1, 2):
        values = areas_mm2**power
        slope, curve = _bend(z_mm, values)
        back = z_mm[0] - z_mm[3]
        expected = max(float(values[0] + (slope + curve * back) * back), 0.0) ** (1 / power)
        missed.append(abs(expected - float(areas_mm2[3])))
    return (2, 1) if missed[1] < _CLEARLY * missed[0] else (1,)


def _bend(z_mm: Lengths, values: Lengths) -> tuple[float, float]:
    """Slope and curve, outwards from the first plane, of the parabola through three planes, or the line through two."""
    gaps = np.diff(z_mm)
    slope, curve = float(values[0] - values[1]) / float(gaps[0]), 0.0
    if len(values) > 2:
        before = float(values[1] - values[2]) / float(gaps[1])
        curve = (slope - before) / float(gaps[0] + gaps[1])
        slope += curve * float(gaps[0])
    return slope, curve


def _close(z_mm: Lengths, values: Lengths, spacing: float) -> tuple[float, float, float] | None:
    """Reach, slope and curve, relative to the last plane, of an end that closes within the spacing, else None.

    values: the area, or its square, of the planes of a run from the outermost inwards.
    """
    last = float(values[0])
    if last <= 0 or values[1] <= last:
        return None
    slope, curve = (number / last for number in _bend(z_mm, values))
    depth = _find_zero(slope, curve)
    return None if depth > _CLOSES_WITHIN * spacing else (min(depth, spacing), slope, curve)


def _find_zero(slope: float, curve: float) -> float:
    """Where 1 + slope d + curve d^2 first comes to 0, or near it before it would rise again; infinite where never."""
    if slope >= 0:
        return math.inf
    discriminant = slope * slope - 4 * curve
    if discriminant >= 0:
        return 2 / (math.sqrt(discriminant) - slope)
    lowest = -slope / (2 * curve)
    return lowest if 1 + slope * lowest / 2 <= _CLOSED else math.inf
