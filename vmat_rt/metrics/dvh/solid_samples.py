"""From a structure, contours or voxels, to samples of the dose in it at a given step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Contours, FloatArray, Structure, Volume
from vmat_rt.geometry.ends import Ends
from vmat_rt.geometry.rasterize import bounds_mm, even_odd_mask, fraction, structure_fraction
from vmat_rt.geometry.solid import plane_stack
from vmat_rt.grid import Box, Grid, box_of
from vmat_rt.metrics.dvh.sampling import Detail, DoseSamples, interpolate_dose, join_samples, sample_cells

_CHUNK_CELLS = 4_000_000
"""Cells that are held at a time; bounds memory to about 100 MB for any structure."""
_BLOCKS = (4, 2)
"""Inside a structure so many cells along each axis are one box: dose varies there, the geometry does not."""
_LARGEST_BOX = 2.0
"""Boxes are no larger than this many dose voxels."""
_PARTS_PER_STEP = 2.0
"""Voxels have no surface to resolve beyond their own, so their parts may be this many steps wide."""
_INNER_FRACTION = 0.5
_EDGE_STEP_MM = 1.0
_END_STEPS = 4


def sample_structure(structure: Structure, dose: Volume, step_mm: float, detail: Detail) -> DoseSamples:
    """Samples of dose in a structure whose surface is resolved to about step_mm; `detail` says how finely the dose is.

    Errors: GeometryError when the frames differ; ValueError when the structure has neither contours nor voxels.
    """
    if isinstance(structure.shape, Volume):
        return _sample_voxels(structure.shape, dose, step_mm, detail)
    if structure.shape is None:
        raise ValueError("a structure without contours or voxels cannot be sampled")
    cells = _make_cells(structure, structure.shape, dose.grid, step_mm)
    detail = replace(detail, blocks=_choose_blocks(cells, dose.grid))
    slices = max(_BLOCKS[0], _CHUNK_CELLS // (cells.shape[1] * cells.shape[2]))
    pieces = [
        sample_cells(fraction(structure.shape, slab), slab, dose, detail) for _, slab in _cut_into_slabs(cells, slices)
    ]
    return join_samples(pieces)


def _cut_into_slabs(cells: Grid, slices: int) -> Iterator[tuple[slice, Grid]]:
    """The cells in pieces of so many slices, each with the place of its slices among them."""
    for first in range(0, cells.shape[0], slices):
        last = min(first + slices, cells.shape[0])
        yield slice(first, last), cells.crop((first, 0, 0), (last, *cells.shape[1:]))


def _choose_blocks(cells: Grid, dose: Grid) -> tuple[int, ...]:
    largest_mm = _LARGEST_BOX * max(dose.spacing_mm)
    return tuple(block for block in _BLOCKS if block * max(cells.spacing_mm) <= largest_mm * 1.001)


def _make_cells(structure: Structure, contours: Contours, dose: Grid, step_mm: float) -> Grid:
    """The grid of cells round contours.

    Along z it divides the planes with half a slab at both ends, so that equally spaced contours that are cut off meet
    whole cells and the volume is exact. In the plane the dose grid's rows and columns are cell centres, where trilinear
    dose peaks.
    """
    low, high = bounds_mm(structure)
    slab_mm = contours.slab_mm
    stack = plane_stack(contours)
    first_mm = stack.z_mm[0] - stack.below.half_mm[0]
    extent = stack.z_mm[-1] + stack.above.half_mm[-1] - first_mm
    per_slab = math.ceil(slab_mm / step_mm - 1e-9) if step_mm < slab_mm else 1 / math.floor(step_mm / slab_mm + 1e-9)
    size = extent / max(1, round(extent / slab_mm * per_slab))
    begin, end = math.floor((low[0] - first_mm) / size + 1e-6), math.ceil((high[0] - first_mm) / size - 1e-6)
    shape, spacing, origin = [end - begin], [size], [first_mm + (begin + 0.5) * size]
    for axis in (1, 2):
        size = dose.spacing_mm[axis]
        size = size / math.ceil(size / step_mm - 1e-9) if step_mm < size else size * math.floor(step_mm / size + 1e-9)
        # One empty cell all round lets edge cells see on which side the inside lies.
        first = math.floor((low[axis] - dose.origin_mm[axis]) / size + 0.5) - 1
        last = math.ceil((high[axis] - dose.origin_mm[axis]) / size - 0.5) + 1
        shape.append(last - first + 1)
        spacing.append(size)
        origin.append(dose.origin_mm[axis] + first * size)
    return Grid(
        (shape[0], shape[1], shape[2]),
        (spacing[0], spacing[1], spacing[2]),
        (origin[0], origin[1], origin[2]),
        dose.frame_uid,
    )


def _sample_voxels(volume: Volume, dose: Volume, step_mm: float, detail: Detail) -> DoseSamples:
    """Samples in a structure of voxels: voxels larger than the step are cut, smaller ones averaged in blocks."""
    box = volume.grid.box_of(volume.array > 0)
    assert box is not None, "something must be inside"
    cells = volume.grid.part(box)
    array, cells = _average_blocks(volume.array[box], cells, step_mm)
    part_mm = _PARTS_PER_STEP * step_mm
    points = math.prod(math.ceil(size / part_mm) for size in cells.spacing_mm)
    slices = max(_BLOCKS[0], _CHUNK_CELLS // (cells.shape[1] * cells.shape[2] * points))
    detail = replace(detail, part_mm=part_mm, blocks=_choose_blocks(cells, dose.grid))
    return join_samples(
        [sample_cells(array[held], slab, dose, detail) for held, slab in _cut_into_slabs(cells, slices)]
    )


def _average_blocks(array: FloatArray, cells: Grid, step_mm: float) -> tuple[FloatArray, Grid]:
    """Mean fraction in blocks of as many voxels as fit into the step; blocks at the end are filled up with nothing."""
    block = tuple(max(1, int(step_mm / size + 1e-9)) for size in cells.spacing_mm)
    if block == (1, 1, 1):
        return array, cells
    z, y, x = (-(-n // b) for n, b in zip(array.shape, block, strict=True))
    padded = np.pad(array, [(0, -n % b) for n, b in zip(array.shape, block, strict=True)])
    mean: FloatArray = padded.reshape(z, block[0], y, block[1], x, block[2]).mean(axis=(1, 3, 5), dtype=np.float32)
    spacing = [s * b for s, b in zip(cells.spacing_mm, block, strict=True)]
    origin = [o + s * (b - 1) / 2 for o, s, b in zip(cells.origin_mm, cells.spacing_mm, block, strict=True)]
    grid = Grid((z, y, x), (spacing[0], spacing[1], spacing[2]), (origin[0], origin[1], origin[2]), cells.frame_uid)
    return mean, grid


def find_extremes_gy(structure: Structure, dose: Volume) -> tuple[float, float]:
    """Lowest and highest dose, Gy, on the surface of a structure and at the dose voxel centres inside it.

    Trilinear dose has its extremes in a solid at one or the other, where samples only come near. (inf, -inf) when
    neither lies in the dose grid. Of voxels those count that are at least half inside.
    """
    shape = structure.shape
    points = _place_surface_points_mm(shape) if isinstance(shape, Contours) else _find_voxel_corners_mm(shape)
    surface = interpolate_dose(points, dose)
    low, high = float(surface.min(initial=math.inf)), float(surface.max(initial=-math.inf))
    box = _find_dose_box(structure, dose.grid)
    array = dose.array[box]
    beyond = (array < low) | (array > high)
    inner = box_of(beyond)
    if inner is None:
        return low, high
    z, y, x = (slice(a.start + b.start, a.start + b.stop) for a, b in zip(box, inner, strict=True))
    cells = dose.grid.part((z, y, x))
    if isinstance(shape, Contours):
        inside = even_odd_mask(shape, cells)
    else:
        inside = structure_fraction(structure, cells) >= _INNER_FRACTION
    within = array[inner][inside]
    return float(within.min(initial=low)), float(within.max(initial=high))


def _find_dose_box(structure: Structure, dose: Grid) -> Box:
    """The voxels of the dose grid whose centres can lie in the structure."""
    low, high = (dose.index_of(np.asarray(corner)) for corner in bounds_mm(structure))
    first = np.clip(np.ceil(low), 0, dose.shape).astype(int)
    last = np.clip(np.floor(high) + 1, first, dose.shape).astype(int)
    return slice(int(first[0]), int(last[0])), slice(int(first[1]), int(last[1])), slice(int(first[2]), int(last[2]))


def _place_surface_points_mm(contours: Contours) -> NDArray[np.float64]:
    """Points (n, 3), (z, y, x) mm, along every contour at most 1 mm apart, at the middle and both faces of its slab.

    A contour's slab reaches half the way to connected neighbours, half a slab where it is cut off: as far as it is the
    better part of the solid. Ends that close are walked along as well. The highest and the lowest dose most often lie
    there, where cells only come near.
    """
    stack = plane_stack(contours)
    half_way = np.diff(stack.z_mm) / 2
    points = [np.empty((0, 3))]
    for i, plane in enumerate(stack.planes):
        edges = [_walk_along(polygon) for polygon in plane.polygons if len(polygon) >= 3]
        points += [_at_height(plane.z_mm, edge) for edge in edges]
        for ends, neighbour, side in ((stack.below, i - 1, -1), (stack.above, i, 1)):
            if 0 <= neighbour < len(half_way) and stack.connected[neighbour]:
                points += [_at_height(plane.z_mm + side * half_way[neighbour], edge) for edge in edges]
            else:
                points += [_at_height(plane.z_mm + side * depth, ring) for depth, ring in _walk_end(ends, i, edges)]
    return np.concatenate(points)


def _at_height(z_mm: float, edge: NDArray[np.float64]) -> NDArray[np.float64]:
    points: NDArray[np.float64] = np.column_stack((np.full(len(edge), z_mm), edge))
    return points


def _walk_end(
    ends: Ends, plane: int, edges: Sequence[NDArray[np.float64]]
) -> Iterator[tuple[float, NDArray[np.float64]]]:
    """Depths beyond the last plane of a run and the points of its edges there.

    As an end closes, edges are drawn in towards their middle to the area that is left; what this moves out of the plane
    (the middle of a ring or a crescent is none of it) does not count.
    """
    reach_mm = float(ends.reach_mm[plane])
    if not ends.closed[plane]:
        yield from ((reach_mm, edge) for edge in edges)
        return
    for depth in np.linspace(0, reach_mm, _END_STEPS + 1)[1:]:
        size = math.sqrt(float(ends.share(np.array([plane]), np.array([depth]))[0]))
        for edge in edges:
            middle = edge.mean(axis=0)
            drawn_in = middle + size * (edge - middle)
            yield float(depth), drawn_in[_are_within(drawn_in, edges)]


def _are_within(points: NDArray[np.float64], outlines: Sequence[NDArray[np.float64]]) -> NDArray[np.bool_]:
    """Whether points (n, 2) lie within closed outlines, even-odd."""
    within = np.zeros(len(points), np.bool_)
    y, x = points[:, :1], points[:, 1:]
    for outline in outlines:
        (y0, x0), (y1, x1) = outline.T, np.roll(outline, -1, axis=0).T
        spans = (y0 > y) != (y1 > y)
        rise = np.where(y1 == y0, 1.0, y1 - y0)
        within ^= (np.count_nonzero(spans & (x < x0 + (y - y0) / rise * (x1 - x0)), axis=1) & 1).astype(np.bool_)
    return within


def _find_voxel_corners_mm(volume: Volume | None) -> NDArray[np.float64]:
    """Corners (n, 3), (z, y, x) mm, on the surface of the voxels that are at least half inside."""
    if volume is None:
        return np.empty((0, 3))
    inner = np.pad(volume.array >= _INNER_FRACTION, 1)
    some, every = inner, inner
    for axis in range(3):
        low, high = (tuple(cut if a == axis else slice(None) for a in range(3)) for cut in (slice(-1), slice(1, None)))
        some, every = some[low] | some[high], every[low] & every[high]
    corners = np.argwhere(some & ~every)
    points: NDArray[np.float64] = np.asarray(volume.grid.origin_mm) + (corners - 0.5) * volume.grid.spacing_mm
    return points


def _walk_along(polygon: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vertices of a closed polygon and points between them, (n, 2)."""
    way = np.roll(polygon, -1, axis=0) - polygon
    pieces = np.maximum(1, np.ceil(np.hypot(way[:, 0], way[:, 1]) / _EDGE_STEP_MM)).astype(np.intp)
    edge = np.repeat(np.arange(len(polygon)), pieces)
    share = (np.arange(len(edge)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) / pieces[edge]
    return polygon[edge] + share[:, None] * way[edge]
