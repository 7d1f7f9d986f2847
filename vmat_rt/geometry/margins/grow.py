"""A structure grown by a margin in all directions, mm, as its sections.

The solid that is grown is that of vmat_rt.geometry.solid, with sides that run straight from plane to plane: between two
connected planes its outline is where the signed distance from their outlines, linear along z, is zero (shape-based
interpolation: S. P. Raya, J. K. Udupa (1990), IEEE Trans. Med. Imaging 9, 32). An end goes on for half the spacing, as
the last two planes do. The distance of a point from it has a closed form, so that no voxel rounds it: on spheres of
planes 3 mm apart the grown surface is right to 0.1 mm on average.
"""

from __future__ import annotations

import contourpy
import numpy as np
from numba import njit
from numpy.typing import NDArray

from vmat_rt.case import ContourPlane, Contours, FloatArray, Polygon, Structure, Volume
from vmat_rt.errors import GeometryError
from vmat_rt.geometry.solid import PlaneStack, plane_stack

_PIXEL_MM = 1.5
"""Distances are linear between points this far apart to 0.06 mm even round a sharp corner grown by 5 mm."""
_MOST_POINTS = 16_000_000
"""Points lie further apart where a structure would have more of them: it bounds memory, whatever the contours."""
_MOST_EDGES = 4000
"""Edges of a plane beyond which outlines are taken by some of their vertices: they are then closer than 0.1 mm."""
_HALF = 0.5
_FAR_MM = 1e6

Sections = list[tuple[Polygon, ...]]


def grow_sections(structure: Structure, margin_mm: float, z_mm: NDArray[np.float64]) -> Sections:
    """Sections at z_mm (m,) of a structure grown by a margin: polygons (y, x) in mm, which combine by even-odd.

    Raises GeometryError for a structure without contours or voxels.
    """
    shape = structure.shape
    if shape is None:
        raise GeometryError("a structure without contours or voxels cannot be grown")
    contours = shape if isinstance(shape, Contours) else _trace_voxels(shape)
    z_mm = np.asarray(z_mm, np.float64)
    sections: Sections = [() for _ in z_mm]
    if not any(len(polygon) >= 3 for plane in contours.planes for polygon in plane.polygons):
        return sections
    stack = plane_stack(contours)
    low, high = stack.z_mm[0] - stack.below.half_mm[0] - margin_mm, stack.z_mm[-1] + stack.above.half_mm[-1] + margin_mm
    near = np.flatnonzero((z_mm >= low) & (z_mm <= high))
    y_mm, x_mm = _lay_points(stack, margin_mm)
    distances = _measure_planes(stack, y_mm, x_mm)
    planes, ends_mm, slopes = _list_pieces(stack)
    lowest, highest = ends_mm.min(axis=1) - margin_mm, ends_mm.max(axis=1) + margin_mm
    for index in near:
        z = float(z_mm[index])
        reached = (z >= lowest) & (z <= highest)
        if reached.any():
            away = _measure_section(z, planes[reached], ends_mm[reached], slopes[reached], distances)
            sections[index] = _trace(away, y_mm, x_mm, margin_mm)
    return sections


def _lay_points(stack: PlaneStack, margin_mm: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns of points that reach beyond the grown structure on all sides."""
    vertices = np.concatenate([polygon for plane in stack.planes for polygon in plane.polygons if len(polygon)])
    high, wide = (float(size) + 2 * margin_mm for size in np.ptp(vertices, axis=0))
    pixel = max(_PIXEL_MM, float(np.sqrt(high * wide * len(stack.planes) / _MOST_POINTS)))
    reach = margin_mm + 2 * pixel
    low, far = vertices.min(axis=0) - reach, vertices.max(axis=0) + reach
    y_mm, x_mm = (np.arange(a, b + pixel, pixel) for a, b in zip(low, far, strict=True))
    return y_mm, x_mm


def _measure_planes(stack: PlaneStack, y_mm: NDArray[np.float64], x_mm: NDArray[np.float64]) -> FloatArray:
    """Signed distance in the plane, mm, from the outlines of each plane: float32 (planes, y, x), negative inside."""
    distances = np.empty((len(stack.planes), len(y_mm), len(x_mm)), np.float32)
    for plane, result in zip(stack.planes, distances, strict=True):
        step = -(-sum(len(polygon) for polygon in plane.polygons) // _MOST_EDGES) or 1
        polygons = [polygon[:: min(step, len(polygon) // 3)] for polygon in plane.polygons if len(polygon) >= 3]
        if not polygons:
            result[:] = _FAR_MM
            continue
        starts = np.concatenate(polygons)
        ends = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in polygons])
        _measure_plane(np.ascontiguousarray(starts), np.ascontiguousarray(ends), y_mm, x_mm, result)
    return distances


def _list_pieces(stack: PlaneStack) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """The solid in pieces along z: (n, 3) planes from, to and before, z (n, 2) of both ends, slope (n,).

    Between connected planes a piece runs from one to the other. An end cap starts at its plane and goes on as from the
    plane before (`slope` times that difference), or straight where there is none.
    """
    planes: list[tuple[int, int, int]] = []
    ends_mm: list[tuple[float, float]] = []
    slopes: list[float] = []
    count = len(stack.z_mm)
    for i, z in enumerate(stack.z_mm):
        if i + 1 < count and stack.connected[i]:
            planes.append((i, i + 1, i))
            ends_mm.append((z, stack.z_mm[i + 1]))
            slopes.append(0.0)
        for side, cap in ((-1, stack.below.half_mm[i]), (1, stack.above.half_mm[i])):
            beyond, before = i + side, i - side
            if 0 <= beyond < count and stack.connected[min(i, beyond)]:
                continue
            joined = 0 <= before < count and stack.connected[min(i, before)]
            planes.append((i, i, before if joined else i))
            ends_mm.append((z, z + side * cap))
            slopes.append(cap / abs(stack.z_mm[before] - z) if joined else 0.0)
    return np.array(planes, np.int64), np.array(ends_mm, np.float64), np.array(slopes, np.float64)


def _trace(
    values: FloatArray, y_mm: NDArray[np.float64], x_mm: NDArray[np.float64], level: float
) -> tuple[Polygon, ...]:
    """Closed lines (y, x) at which values, linear between the points, cross a level."""
    lines = contourpy.contour_generator(x_mm, y_mm, values, name="serial").lines(level)
    closed = (np.ascontiguousarray(np.asarray(line, np.float64)[:-1, ::-1]) for line in lines)
    return tuple(polygon for polygon in closed if len(polygon) >= 3)


def _trace_voxels(volume: Volume) -> Contours:
    """Contours where area fractions cross one half, in every slice."""
    grid = volume.grid
    y_mm, x_mm = (
        grid.origin_mm[axis] + grid.spacing_mm[axis] * np.arange(-1.0, grid.shape[axis] + 1.0) for axis in (1, 2)
    )
    planes = []
    for z, slab in zip(grid.axis_mm(0), volume.array, strict=True):
        polygons = _trace(np.pad(slab, 1), y_mm, x_mm, _HALF) if slab.max() > _HALF else ()
        if polygons:
            planes.append(ContourPlane(float(z), polygons))
    return Contours(tuple(planes), grid.spacing_mm[0], grid.frame_uid)


@njit(cache=True, nogil=True)
def _measure_plane(starts, ends, y_mm, x_mm, result):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Write the distance from the nearest edge, negative where a line to the right crosses an odd number of edges."""
    for j in range(len(y_mm)):
        bound = 1e15
        for k in range(len(x_mm)):
            y, x = y_mm[j], x_mm[k]
            # No further than the point before, and the step from it.
            bound = bound + (x_mm[1] - x_mm[0] if k > 0 else 0.0) + 1e-6
            nearest, inside = bound * bound, False
            for e in range(len(starts)):
                ay, by = starts[e, 0] - y, ends[e, 0] - y
                if min(ay, by) > bound or max(ay, by) < -bound:
                    continue
                ax, bx = starts[e, 1] - x, ends[e, 1] - x
                dy, dx = by - ay, bx - ax
                length = dy * dy + dx * dx
                t = min(max(-(ay * dy + ax * dx) / length, 0.0), 1.0) if length > 0 else 0.0
                py, px = ay + t * dy, ax + t * dx
                nearest = min(nearest, py * py + px * px)
                if (ay > 0) != (by > 0) and ax - ay * dx / dy > 0:
                    inside = not inside
                bound = np.sqrt(nearest)
            bound = np.sqrt(nearest)
            result[j, k] = -bound if inside else bound


@njit(cache=True, nogil=True)
def _measure_section(z, planes, ends_mm, slopes, distances):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Distance (y, x) of the points at z from the solid, mm; within it the negative distance in the plane.

    Over a piece the distance is that of the point (z, 0) from the line (z', s(z')) where s, the distance in the plane,
    is positive, and |z - z'| where it is not. Its square is convex along the piece.
    """
    _, ny, nx = distances.shape
    out = np.empty((ny, nx), np.float32)
    for j in range(ny):
        for k in range(nx):
            best = np.float64(1e30)
            for n in range(len(planes)):
                s0, z0 = np.float64(distances[planes[n, 0], j, k]), ends_mm[n, 0]
                step = distances[planes[n, 1], j, k] - s0
                if planes[n, 2] != planes[n, 0]:
                    step = max(s0 - distances[planes[n, 2], j, k], 0.0) * slopes[n]
                along = ends_mm[n, 1] - z0
                at = (z - z0) / along
                if 0 <= at <= 1 and s0 + at * step <= 0:
                    best = min(best, s0 + at * step)
                    continue
                t = min(max((along * (z - z0) - s0 * step) / (along * along + step * step), 0.0), 1.0)
                if s0 + t * step < 0:
                    t = min(max(at, 0.0), 1.0)
                    if s0 + t * step > 0:
                        t = -s0 / step
                s = max(s0 + t * step, 0.0)
                best = min(best, np.sqrt(s * s + (z - z0 - t * along) ** 2))
            out[j, k] = best
    return out
