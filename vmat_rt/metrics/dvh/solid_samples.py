"""From a structure, contours or voxels, to samples of the dose in it at a given step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Contours, FloatArray, Structure, Volume
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


def sample_structure(structure: Structure, dose: Volume, step_mm: float, detail: Detail) -> DoseSamples:
    """Samples of dose in a structure whose surface is resolved to about step_mm; `detail` says how finely the dose is.

    Errors: GeometryError when the frames differ; ValueError when the structure has neither contours nor voxels.
    """
    if isinstance(structure.shape, Volume):
        return _sample_voxels(structure.shape, dose, step_mm, detail)
    if structure.shape is None:
        raise ValueError("a structure without contours or voxels cannot be sampled")
    cells = _make_cells(structure, structure.shape.slab_mm, dose.grid, step_mm)
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


def _make_cells(structure: Structure, slab_mm: float, dose: Grid, step_mm: float) -> Grid:
    """The grid of cells round contours.

    Along z it divides the solid from end to end, so that equally spaced contours and their caps meet whole cells and
    the volume is exact. In the plane the dose grid's rows and columns are cell centres, where trilinear dose peaks.
    """
    low, high = bounds_mm(structure)
    extent = high[0] - low[0]
    per_slab = math.ceil(slab_mm / step_mm - 1e-9) if step_mm < slab_mm else 1 / math.floor(step_mm / slab_mm + 1e-9)
    nz = max(1, round(extent / slab_mm * per_slab))
    shape, spacing, origin = [nz], [extent / nz], [low[0] + extent / nz / 2]
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

    A contour's slab reaches half the way to connected neighbours, half a slab where there is none: as far as it is the
    better part of the solid. The highest and the lowest dose most often lie there, where cells only come near.
    """
    stack = plane_stack(contours)
    half_way = np.diff(stack.z_mm) / 2
    below = np.append(stack.below_mm[0], np.where(stack.connected, half_way, stack.below_mm[1:]))
    above = np.append(np.where(stack.connected, half_way, stack.above_mm[:-1]), stack.above_mm[-1])
    points = [np.empty((0, 3))]
    for i, plane in enumerate(stack.planes):
        edges = [_walk_along(polygon) for polygon in plane.polygons if len(polygon) >= 3]
        for z in (plane.z_mm - below[i], plane.z_mm, plane.z_mm + above[i]):
            points += [np.column_stack((np.full(len(edge), z), edge)) for edge in edges]
    return np.concatenate(points)


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
