"""Contours as a solid along z: which planes are connected, what lies between them, how thick each plane counts.

The solid of a structure (see vmat_rt.case.Contours): between two connected planes its area fraction is interpolated
linearly; a run of connected planes ends half a slab beyond its first and last plane, where planes are as far apart as
is usual for the structure, else half of their distance there. Every use of contours (voxels,
volume, DVH) takes the rules from here. z in LPS mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import ContourPlane, Contours
from vmat_rt.errors import GeometryError

# Positions closer than this are one position: DICOM text and spacings computed from it round at about 1e-3 mm.
TOLERANCE_MM = 1e-3
# Planes further apart than so many slabs belong to different runs.
CONNECTED_SLABS = 1.5
# Distances that differ by less than this part are one.
_EQUAL = 0.1


@dataclass(frozen=True)
class PlaneStack:
    """The planes of a solid, ascending and distinct in z, and where neighbours are connected.

    z_mm (n,); connected (n - 1,) tells whether plane i and i + 1 belong to one run; below_mm, above_mm (n,): the cap
    of each plane where it is the first or last of a run.
    """

    planes: tuple[ContourPlane, ...]
    z_mm: NDArray[np.float64]
    connected: NDArray[np.bool_]
    below_mm: NDArray[np.float64]
    above_mm: NDArray[np.float64]


@dataclass(frozen=True)
class SliceBlend:
    """What slices are made of: (1 - weight) * plane `lower` + weight * plane `upper`; -1 for both outside the solid."""

    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    weight: NDArray[np.float64]

    @property
    def inside(self) -> NDArray[np.bool_]:
        return self.lower >= 0


def plane_stack(contours: Contours) -> PlaneStack:
    """Sort the planes, join those at one z (their polygons XOR) and find the runs.

    Raises GeometryError when there is no plane, the slab is not a positive length or `connected` is of other planes.
    """
    if not contours.planes:
        raise GeometryError("a structure without contours is no solid")
    if not (np.isfinite(contours.slab_mm) and contours.slab_mm > 0):
        raise GeometryError(f"a slab of {contours.slab_mm} mm is not a thickness")
    planes = _joined(contours.planes)
    z_mm = np.array([plane.z_mm for plane in planes], np.float64)
    connected = np.diff(z_mm) <= CONNECTED_SLABS * contours.slab_mm + TOLERANCE_MM
    if contours.connected is not None:
        if len(contours.connected) != len(planes) - 1:
            raise GeometryError(f"{len(contours.connected)} connections do not belong to {len(planes)} planes")
        connected = np.array(contours.connected, np.bool_)
    below = _caps_mm(z_mm, connected, contours.slab_mm)
    above = _caps_mm(-z_mm[::-1], connected[::-1], contours.slab_mm)[::-1]
    return PlaneStack(planes, z_mm, connected, below, above)


def _caps_mm(z_mm: NDArray[np.float64], connected: NDArray[np.bool_], slab_mm: float) -> NDArray[np.float64]:
    """How far a run that begins with plane i reaches beyond it, (n,): half a slab, or half of the spacing there.

    The spacing there is another where two gaps say so, or one that is wider than the slab alone would connect.
    """
    gaps = np.append(np.where(connected, np.diff(z_mm), 0.0), (0.0, 0.0))
    first, second = gaps[:-1], np.append(gaps[1:-1], 0.0)
    local = (first > 0) & (np.abs(first - second) <= _EQUAL * first)
    local |= first > CONNECTED_SLABS * slab_mm + TOLERANCE_MM
    other = np.abs(first - slab_mm) > _EQUAL * slab_mm
    return np.where(local & other, first, slab_mm) / 2


def _joined(planes: tuple[ContourPlane, ...]) -> tuple[ContourPlane, ...]:
    """Ascending planes; the polygons of planes at one z together."""
    joined: list[ContourPlane] = []
    for plane in sorted(planes, key=lambda plane: plane.z_mm):
        if joined and plane.z_mm - joined[-1].z_mm <= TOLERANCE_MM:
            joined[-1] = ContourPlane(joined[-1].z_mm, joined[-1].polygons + plane.polygons)
        else:
            joined.append(plane)
    return tuple(joined)


def slice_blend(stack: PlaneStack, z_mm: NDArray[np.float64]) -> SliceBlend:
    """The planes that make up slices at z_mm (m,).

    End caps are half open, the lower end in and the upper end out, so that slices at any equal spacing count a solid
    once: a run of n planes one slab apart meets exactly n slices of that spacing, wherever they lie.
    """
    count = len(stack.z_mm)
    below = np.searchsorted(stack.z_mm, z_mm + TOLERANCE_MM, side="right") - 1
    above = np.minimum(below + 1, count - 1)
    floor = np.maximum(below, 0)
    between = (below >= 0) & np.append(stack.connected, False)[floor]
    gap = np.where(between, stack.z_mm[above] - stack.z_mm[floor], 1.0)
    weight = np.where(between, np.clip((z_mm - stack.z_mm[floor]) / gap, 0, 1), 0.0)
    weight[weight * gap <= TOLERANCE_MM] = 0.0
    top_cap = ~between & (below >= 0) & (z_mm - stack.z_mm[floor] < stack.above_mm[floor] - TOLERANCE_MM)
    bottom_cap = ~between & ~top_cap & (below < count - 1)
    bottom_cap &= stack.z_mm[above] - z_mm <= stack.below_mm[above] + TOLERANCE_MM
    lower = np.where(between | top_cap, floor, np.where(bottom_cap, above, -1))
    return SliceBlend(lower, np.where(weight > 0, above, lower), weight)


def plane_weights_mm(stack: PlaneStack, low_mm: float = -np.inf, high_mm: float = np.inf) -> NDArray[np.float64]:
    """Thickness (n,) that each plane counts for between low_mm and high_mm: volume = sum of area * weight.

    The integral of the linear interpolation (the trapezoid rule where nothing is cut off) plus the end caps.
    """
    z = stack.z_mm
    weights = np.zeros(len(z))
    a, b = z[:-1], z[1:]
    start, stop = np.clip(low_mm, a, b), np.clip(high_mm, a, b)
    length = np.where(stack.connected, np.maximum(stop - start, 0), 0.0)
    share = ((start + stop) / 2 - a) / (b - a)
    weights[:-1] += length * (1 - share)
    weights[1:] += length * share
    starts, ends = np.append(True, ~stack.connected), np.append(~stack.connected, True)
    weights += starts * _overlap(z - stack.below_mm, z, low_mm, high_mm)
    weights += ends * _overlap(z, z + stack.above_mm, low_mm, high_mm)
    return weights


def _overlap(
    start: NDArray[np.float64], stop: NDArray[np.float64], low_mm: float, high_mm: float
) -> NDArray[np.float64]:
    length: NDArray[np.float64] = np.maximum(np.minimum(stop, high_mm) - np.maximum(start, low_mm), 0)
    return length
