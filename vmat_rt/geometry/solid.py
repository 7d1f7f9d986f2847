"""Contours as a solid along z: which planes are connected, what lies between them, how thick each plane counts.

The solid of a structure (see vmat_rt.case.Contours): between two connected planes its area fraction is interpolated
linearly; a run of connected planes ends where its area comes to nothing (vmat_rt.geometry.ends), or, where it does not,
half a slab beyond its first and last plane: half a slab where planes are as far apart as is usual for the structure,
else half of their distance there. Every use of contours (voxels, volume, DVH) takes the rules from here. z in LPS mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import ContourPlane, Contours
from vmat_rt.errors import GeometryError
from vmat_rt.geometry.ends import Ends, find_ends, plane_areas_mm2

# Positions closer than this are one position: DICOM text and spacings computed from it round at about 1e-3 mm.
TOLERANCE_MM = 1e-3
# Planes further apart than so many slabs belong to different runs.
CONNECTED_SLABS = 1.5
# Distances that differ by less than this part are one.
_EQUAL = 0.1


@dataclass(frozen=True)
class PlaneStack:
    """The planes of a solid, ascending and distinct in z, and where neighbours are connected.

    z_mm (n,); connected (n - 1,) tells whether plane i and i + 1 belong to one run; below, above: what lies beyond each
    plane where it is the first or last of a run.
    """

    planes: tuple[ContourPlane, ...]
    z_mm: NDArray[np.float64]
    connected: NDArray[np.bool_]
    below: Ends
    above: Ends


@dataclass(frozen=True)
class SliceBlend:
    """What slices are made of: share * ((1 - weight) * plane `lower` + weight * plane `upper`), each (m,).

    lower and upper are -1 outside the solid. share is below 1 only beyond the last plane of a run that closes.
    """

    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    weight: NDArray[np.float64]
    share: NDArray[np.float64]

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
    areas = plane_areas_mm2(planes)
    turned_z, turned = -z_mm[::-1], connected[::-1]
    below = find_ends(z_mm, areas, connected, _half_spacing_mm(z_mm, connected, contours.slab_mm))
    above = find_ends(turned_z, areas[::-1], turned, _half_spacing_mm(turned_z, turned, contours.slab_mm)).turned()
    return PlaneStack(planes, z_mm, connected, below, above)


def _half_spacing_mm(z_mm: NDArray[np.float64], connected: NDArray[np.bool_], slab_mm: float) -> NDArray[np.float64]:
    """Half of the spacing that a run which begins with plane i has there, (n,): half a slab, or half of another.

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

    Ends are half open, the lower end in and the upper end out, so that slices at any equal spacing count a solid once:
    n planes of one area, one slab apart, meet exactly n slices of that spacing, wherever they lie.
    """
    count = len(stack.z_mm)
    below = np.searchsorted(stack.z_mm, z_mm + TOLERANCE_MM, side="right") - 1
    above = np.minimum(below + 1, count - 1)
    floor = np.maximum(below, 0)
    between = (below >= 0) & np.append(stack.connected, False)[floor]
    gap = np.where(between, stack.z_mm[above] - stack.z_mm[floor], 1.0)
    weight = np.where(between, np.clip((z_mm - stack.z_mm[floor]) / gap, 0, 1), 0.0)
    weight[weight * gap <= TOLERANCE_MM] = 0.0
    over, under = np.maximum(z_mm - stack.z_mm[floor], 0), np.maximum(stack.z_mm[above] - z_mm, 0)
    top_cap = ~between & (below >= 0) & (over < stack.above.reach_mm[floor] - TOLERANCE_MM)
    bottom_cap = ~between & ~top_cap & (below < count - 1)
    bottom_cap &= under <= stack.below.reach_mm[above] + TOLERANCE_MM
    share = np.where(top_cap, stack.above.share(floor, over), 1.0)
    share = np.where(bottom_cap, stack.below.share(above, under), share)
    lower = np.where((between | top_cap | bottom_cap) & (share > 0), np.where(bottom_cap, above, floor), -1)
    return SliceBlend(lower, np.where(weight > 0, above, lower), weight, share)


def plane_weights_mm(stack: PlaneStack, low_mm: float = -np.inf, high_mm: float = np.inf) -> NDArray[np.float64]:
    """Thickness (n,) that each plane counts for between low_mm and high_mm: volume = sum of area * weight.

    Between planes the area follows the mean of the parabolas through the planes on either side and their neighbours,
    which is the volume of a sphere, a cone and every other quadric; a linear blend leaves out what bulges. Ends that
    close count for what is left of them, cut ends for half the spacing, the area going on as from the plane before.
    """
    z = stack.z_mm
    weights = np.zeros(len(z))
    a, b = z[:-1], z[1:]
    gap = b - a
    start, stop = ((np.clip(at, a, b) - a) / gap for at in (low_mm, high_mm))
    length = np.where(stack.connected, gap * np.maximum(stop - start, 0), 0.0)
    weights[:-1] += length * (1 - (start + stop) / 2)
    weights[1:] += length * (start + stop) / 2
    bulge = np.where(length > 0, gap**3 * (stop**2 * (3 - 2 * stop) - start**2 * (3 - 2 * start)) / 12, 0.0)
    _add_bending(weights, stack, -bulge)
    first, last = np.append(True, ~stack.connected), np.append(~stack.connected, True)
    weights += first * stack.below.thickness_mm(z - high_mm, z - low_mm)
    weights += last * stack.above.thickness_mm(low_mm - z, high_mm - z)
    inner_first, inner_last = first[:-1] & stack.connected, last[1:] & stack.connected
    growth = np.where(inner_first, _growth_mm(stack.below, z - high_mm, z - low_mm)[:-1] / gap, 0.0)
    weights[:-1] += growth
    weights[1:] -= growth
    growth = np.where(inner_last, _growth_mm(stack.above, low_mm - z, high_mm - z)[1:] / gap, 0.0)
    weights[1:] += growth
    weights[:-1] -= growth
    return weights


def _add_bending(weights: NDArray[np.float64], stack: PlaneStack, factor: NDArray[np.float64]) -> None:
    """Add to weights (n,) what makes their sum over areas count factor (n - 1,) times the second derivative there.

    It is the mean of those at the two planes; the first and the last plane of a run have that of their neighbour.
    """
    inner = np.flatnonzero(stack.connected[1:] & stack.connected[:-1]) + 1
    below, above = np.diff(stack.z_mm)[inner - 1], np.diff(stack.z_mm)[inner]
    has = np.zeros(len(weights), np.bool_)
    has[inner] = True
    at = np.zeros(len(weights))
    lower, upper = has[:-1], has[1:]
    at[:-1] += factor * np.where(lower & upper, 0.5, lower)
    at[1:] += factor * np.where(lower & upper, 0.5, upper)
    weight = 2 * at[inner] / (below + above)
    np.add.at(weights, inner - 1, weight / below)
    np.add.at(weights, inner, -weight / below - weight / above)
    np.add.at(weights, inner + 1, weight / above)


def _growth_mm(ends: Ends, from_mm: NDArray[np.float64], to_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """The integral of the depth between two depths beyond planes that are cut off, (n,) mm^2."""
    start, stop = (np.clip(depth, 0, ends.reach_mm) for depth in (from_mm, to_mm))
    growth: NDArray[np.float64] = np.where(ends.closed, 0.0, np.maximum(stop**2 - start**2, 0) / 2)
    return growth
