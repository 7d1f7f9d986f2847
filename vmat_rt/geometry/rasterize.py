"""Structures on voxels: exact area fractions, the even-odd mask at voxel centres, volumes and bounds.

Contours are read as a solid (vmat_rt.geometry.solid) whose planes are covered exactly (vmat_rt.geometry.scanline).
Everything is (z, y, x), LPS mm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Contours, FloatArray, Polygon, Structure, Volume
from vmat_rt.errors import GeometryError
from vmat_rt.geometry import scanline
from vmat_rt.geometry.resample import resample
from vmat_rt.geometry.solid import PlaneStack, SliceBlend, plane_stack, plane_weights_mm, slice_blend
from vmat_rt.grid import Grid, Triple

Rectangle = tuple[tuple[float, float], tuple[float, float]]
Indices = NDArray[np.int64]

# Slices are filled in groups of so many pixels, which bounds what is held beside the result.
_GROUP_PIXELS = 1 << 20


def plane_fractions(polygon_sets: Sequence[Sequence[Polygon]], grid: Grid) -> FloatArray:
    """Exact area fraction of the grid's pixels inside each set of polygons, even-odd: float32 (n, y, x) in [0, 1].

    polygon_sets holds one set a plane, vertices (y, x) in mm; the grid's z does not matter. Polygons may overlap, nest,
    touch, cross themselves or leave the grid. Raises GeometryError for coordinates that are not finite.
    """
    result = np.zeros((len(polygon_sets), *grid.shape[1:]), np.float32)
    window = _window(polygon_sets, grid)
    if window is not None:
        rows, columns = window
        origin, pixel = _corner_and_pixel(grid, rows.start, columns.start)
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        result[:, rows, columns] = scanline.coverage(polygon_sets, origin, pixel, shape)
    return result


def fraction(contours: Contours, grid: Grid) -> FloatArray:
    """Area fraction of each pixel at the grid's slice centres: float32 (z, y, x) in [0, 1].

    A slice on a contour plane takes that plane exactly, one between connected planes their blend, one beyond the last
    what is left of it there (see solid.slice_blend). Cost follows the structure's own part of the grid.
    Raises GeometryError when the frames differ or there are no contours.
    """
    _require_frame(contours.frame_uid, grid)
    stack = plane_stack(contours)
    result = np.zeros(grid.shape, np.float32)
    blend = slice_blend(stack, grid.axis_mm(0))
    window = _window([plane.polygons for plane in stack.planes], grid)
    slices = np.flatnonzero(blend.inside)
    if window is None or not len(slices):
        return result
    rows, columns = window
    pixels = len(slices) * (rows.stop - rows.start) * (columns.stop - columns.start)
    for group in np.array_split(slices, min(len(slices), pixels // _GROUP_PIXELS + 1)):
        _fill(result[:, rows, columns], group, stack, blend, _corner_and_pixel(grid, rows.start, columns.start))
    return result


def _fill(result: FloatArray, slices: Indices, stack: PlaneStack, blend: SliceBlend, place: Rectangle) -> None:
    """Write these slices of `result`, a window whose corner and pixel size are `place`, from the planes they need."""
    needed = np.unique(np.concatenate((blend.lower[slices], blend.upper[slices])))
    planes = scanline.coverage([stack.planes[i].polygons for i in needed], *place, result.shape[1:])
    lower, upper = np.searchsorted(needed, blend.lower[slices]), np.searchsorted(needed, blend.upper[slices])
    for k, a, b in zip(slices, lower, upper, strict=True):
        result[k] = planes[a]
        if a != b:
            result[k] += np.float32(blend.weight[k]) * (planes[b] - planes[a])
        if blend.share[k] < 1:
            result[k] *= np.float32(blend.share[k])


def even_odd_mask(contours: Contours, grid: Grid) -> NDArray[np.bool_]:
    """Whether each voxel's centre is inside the structure: bool (z, y, x).

    In z a slice takes the plane that most of it is made of (of two equal ones the upper), nothing where less than half
    of the last plane is left; in the plane the test is even-odd, half open as stated in scanline.centre_mask. Raises
    GeometryError as `fraction` does.
    """
    _require_frame(contours.frame_uid, grid)
    stack = plane_stack(contours)
    blend = slice_blend(stack, grid.axis_mm(0))
    most = np.where(blend.weight >= 0.5 - 1e-6, blend.upper, blend.lower)
    slices = np.flatnonzero(blend.inside & (blend.share >= 0.5 - 1e-6))
    needed, place = np.unique(most[slices], return_inverse=True)
    polygon_sets = [stack.planes[i].polygons for i in needed]
    result = np.zeros(grid.shape, np.bool_)
    window = _window(polygon_sets, grid)
    if window is None:
        return result
    rows, columns = window
    origin, pixel = _corner_and_pixel(grid, rows.start, columns.start)
    planes = scanline.centre_mask(polygon_sets, origin, pixel, (rows.stop - rows.start, columns.stop - columns.start))
    for k, i in zip(slices, place, strict=True):
        result[k, rows, columns] = planes[i]
    return result


def structure_fraction(structure: Structure, grid: Grid) -> FloatArray:
    """Area fractions of a structure on the grid, float32 (z, y, x), from its contours or from its voxels.

    Voxels are resampled linearly (averaged onto coarser grids); what lies beyond them is empty. Raises GeometryError
    when the structure has neither contours nor voxels, or the frames differ.
    """
    shape = _shape_of(structure)
    if isinstance(shape, Contours):
        return fraction(shape, grid)
    return np.clip(resample(shape, grid, outside=0.0).array, 0, 1)


def volume_cc(structure: Structure) -> float:
    """Volume in cm^3: for contours the exact even-odd areas times the thickness of each plane, free of any grid."""
    shape = _shape_of(structure)
    if isinstance(shape, Volume):
        return float(shape.array.sum(dtype=np.float64)) * shape.grid.voxel_cc
    stack = plane_stack(shape)
    low, high = _plane_box([plane.polygons for plane in stack.planes])
    return _volume_cc(stack, (low[0], low[1]), (high[0], high[1]), (-np.inf, np.inf))


def volume_inside_cc(structure: Structure, grid: Grid) -> float:
    """The part of volume_cc that lies within the outer faces of the grid. Raises GeometryError when frames differ."""
    shape = _shape_of(structure)
    low, high = grid.bounds_mm
    if isinstance(shape, Contours):
        _require_frame(structure.frame_uid, grid)
        return _volume_cc(plane_stack(shape), low[1:], high[1:], (low[0], high[0]))
    shape.grid.require_same_frame(grid)
    within = [
        np.clip((np.minimum(centre + size / 2, upper) - np.maximum(centre - size / 2, lower)) / size, 0, 1)
        for centre, size, lower, upper in (
            (shape.grid.axis_mm(axis), shape.grid.spacing_mm[axis], low[axis], high[axis]) for axis in range(3)
        )
    ]
    return float(np.einsum("zyx,z,y,x->", shape.array, *within, optimize=True)) * shape.grid.voxel_cc


def bounds_mm(structure: Structure) -> tuple[Triple, Triple]:
    """The box (low, high), each (z, y, x) mm, round a structure: its ends in z, its vertices in the plane.

    For voxels the outer faces of those that are not empty. Raises GeometryError when there is nothing to enclose.
    """
    shape = _shape_of(structure)
    if isinstance(shape, Contours):
        stack = plane_stack(shape)
        low, high = _plane_box([plane.polygons for plane in stack.planes])
        bottom, top = stack.z_mm[0] - stack.below.reach_mm[0], stack.z_mm[-1] + stack.above.reach_mm[-1]
        return (float(bottom), *low), (float(top), *high)
    box = shape.grid.box_of(shape.array != 0)
    if box is None:
        raise GeometryError("a structure whose voxels are all empty has no bounds")
    return shape.grid.part(box).bounds_mm


def _volume_cc(
    stack: PlaneStack, low: tuple[float, float], high: tuple[float, float], z_range: tuple[float, float]
) -> float:
    areas = scanline.areas_mm2([plane.polygons for plane in stack.planes], low, high)
    return float(areas @ plane_weights_mm(stack, *z_range)) / 1000.0


def _shape_of(structure: Structure) -> Contours | Volume:
    if structure.shape is None:
        raise GeometryError(f"{structure.name or 'a structure'} has neither contours nor voxels")
    return structure.shape


def _require_frame(frame_uid: str | None, grid: Grid) -> None:
    if frame_uid != grid.frame_uid:
        raise GeometryError("contours and grid lie in different frames of reference")


def _corner_and_pixel(grid: Grid, row: int, column: int) -> Rectangle:
    """Outer corner of the pixel (row, column) and the size of a pixel, both (y, x) mm."""
    _, sy, sx = grid.spacing_mm
    return (grid.origin_mm[1] + (row - 0.5) * sy, grid.origin_mm[2] + (column - 0.5) * sx), (sy, sx)


def _plane_box(polygon_sets: Sequence[Sequence[Polygon]]) -> Rectangle:
    """The box (low, high), each (y, x) mm, round all vertices."""
    points = [polygon for polygons in polygon_sets for polygon in polygons if len(polygon)]
    if not points:
        raise GeometryError("contours without vertices have no bounds")
    stacked = np.concatenate(points)
    (y0, x0), (y1, x1) = stacked.min(axis=0).tolist(), stacked.max(axis=0).tolist()
    return (y0, x0), (y1, x1)


def _window(polygon_sets: Sequence[Sequence[Polygon]], grid: Grid) -> tuple[slice, slice] | None:
    """Rows and columns of the grid that the polygons can touch; None when they touch none."""
    if not any(len(polygon) for polygons in polygon_sets for polygon in polygons):
        return None
    box = np.array(_plane_box(polygon_sets))
    if not np.isfinite(box).all():
        raise GeometryError("a contour has a coordinate that is not a number")
    index = (box - grid.origin_mm[1:]) / grid.spacing_mm[1:] + 0.5
    first = np.clip(np.floor(index[0]), 0, grid.shape[1:]).astype(int)
    stop = np.clip(np.floor(index[1]) + 1, 0, grid.shape[1:]).astype(int)
    if (first >= stop).any():
        return None
    return slice(int(first[0]), int(stop[0])), slice(int(first[1]), int(stop[1]))
