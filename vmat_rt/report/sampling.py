"""Values of a volume where a report needs them: resampled by the one resampler, NaN where the volume says nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import FloatArray, Structure, Volume
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.geometry.resample import resample
from vmat_rt.grid import Grid

_TOLERANCE_MM = 1e-3
_NEIGHBOURS = 2


def sample_volume(volume: Volume, grid: Grid) -> FloatArray:
    """The volume on another grid of its frame, linear; NaN in voxels that are not wholly within its outer faces."""
    array = resample(crop_round(volume, grid), grid, outside=0.0).array.copy()
    array[~find_covered(volume.grid, grid)] = np.nan
    return array


def compute_fraction(structure: Structure, grid: Grid) -> FloatArray:
    """Area fraction of a structure on the grid; zeros for an ROI without contours."""
    if structure.shape is None:
        return np.zeros(grid.shape, np.float32)
    if isinstance(structure.shape, Volume):
        structure = replace(structure, shape=crop_round(structure.shape, grid))
    return structure_fraction(structure, grid)


def is_empty(structure: Structure) -> bool:
    """Whether there is nothing to draw: no contours, and no voxel with anything in it."""
    shape = structure.shape
    return shape is None or (not shape.array.any() if isinstance(shape, Volume) else not shape.planes)


def find_covered(source: Grid, grid: Grid) -> NDArray[np.bool_]:
    """Find the voxels of `grid` that lie wholly within the outer faces of `source`, bool (z, y, x)."""
    low, high = source.bounds_mm
    inside = []
    for axis in range(3):
        centre, half = grid.axis_mm(axis), grid.spacing_mm[axis] / 2 - _TOLERANCE_MM
        inside.append((centre - half >= low[axis]) & (centre + half <= high[axis]))
    z, y, x = inside
    return z[:, None, None] & y[None, :, None] & x[None, None, :]


def crop_round(volume: Volume, grid: Grid) -> Volume:
    """The part of the volume that the grid's voxels can depend on: a plane needs only a few slices of a large CT."""
    low, high = grid.bounds_mm
    start, stop = [], []
    for axis in range(3):
        origin, step, count = volume.grid.origin_mm[axis], volume.grid.spacing_mm[axis], volume.grid.shape[axis]
        first = math.floor((low[axis] - origin) / step) - _NEIGHBOURS
        last = math.ceil((high[axis] - origin) / step) + _NEIGHBOURS
        start.append(min(max(first, 0), count - 1))
        stop.append(max(min(last + 1, count), start[-1] + 1))
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    piece = volume.grid.crop((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
    return Volume(piece, np.ascontiguousarray(volume.array[box]))
