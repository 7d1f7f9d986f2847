"""Networks on voxels coarser than the grid: the grid's own arrays averaged in blocks, and the dose brought back.

A coarse voxel's dose is the mean over its body, and what is brought back has these means again. A case is first put on
the grid (vmat_rt.geometry.gridded), in training and prediction alike, so that the averages are taken of the same
numbers. No torch.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import distance_transform_edt

from vmat_rt.case import Case, FloatArray, Volume
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.geometry.resample import resample
from vmat_rt.grid import Grid
from vmat_rt.nn.encode import Channels, Encoded, encode
from vmat_rt.nn.scene import INSIDE


def encode_coarsened(
    case: Case, grid: Grid, channels: Channels, coarsen: int, prior_gy: FloatArray | None = None
) -> Encoded:
    """The case as `encode` gives it on grid.coarsened(coarsen). prior_gy lies on `grid`, (z, y, x)."""
    coarse = grid.coarsened(coarsen)
    if prior_gy is not None and prior_gy.shape == grid.shape:
        prior_gy = body_average(Volume(grid, prior_gy), case, coarse)
    return encode(case, coarse, channels, prior_gy)


def body_average(dose: Volume, case: Case, coarse: Grid) -> FloatArray:
    """Mean dose over the body in each voxel of a coarser grid; over all of the voxel where it holds no body.

    Doses end at the body (OpenKBP's are zero beyond it), so that a mean over a block that the surface cuts is no dose
    of anything: brought back to the grid such means are off by 1.3 Gy on average over OpenKBP's bodies, these by 0.4
    (benchmarks/coarse.py).
    """
    if coarse.same_as(dose.grid):
        return dose.array
    inside = _inside(case, dose.grid)
    share = resample(Volume(dose.grid, inside), coarse, 0.0).array
    of_body = resample(Volume(dose.grid, dose.array * inside), coarse, 0.0).array
    return np.where(share > 0, of_body / np.maximum(share, 1e-6), resample(dose, coarse, 0.0).array)


def refined_gy(
    relative: FloatArray,
    highest_gy: float,
    case: Case,
    grid: Grid,
    coarsen: int,
    residual_of_gy: FloatArray | None = None,
) -> FloatArray:
    """Dose on `grid`, float32 (z, y, x) Gy, from a network's relative dose on grid.coarsened(coarsen).

    As `sharpened`; zero where less than half a voxel is body. Where the network corrects a dose that is known on
    `grid` (residual_of_gy), only its correction is interpolated, so that the fine detail of that dose stays.
    """
    coarse = grid.coarsened(coarsen)
    change = relative * np.float32(highest_gy)
    if residual_of_gy is not None:
        change -= body_average(Volume(grid, residual_of_gy), case, coarse)
    # The dose at the skin is not to be drawn to what stands in voxels without body.
    inside = _inside(case, grid)
    without = resample(Volume(grid, inside), coarse, 0.0).array <= 0
    _, nearest = distance_transform_edt(without, sampling=coarse.spacing_mm, return_indices=True)
    dose = sharpened(Volume(coarse, np.ascontiguousarray(change[tuple(nearest)])), grid)
    if residual_of_gy is not None:
        dose = dose + residual_of_gy
    return np.maximum(dose, 0, dtype=np.float32) * inside


def _inside(case: Case, grid: Grid) -> FloatArray:
    """1 where at least half a voxel is body, else 0."""
    return (structure_fraction(case.body, grid) >= INSIDE).astype(np.float32)


def sharpened(averages: Volume, grid: Grid) -> FloatArray:
    """Values on `grid` (z, y, x) whose averages over the blocks of grid.coarsened(n), averages.grid, are nearly these.

    A spline through averages taken as samples is flatter than what was averaged: a target of 70 Gy loses 0.8 Gy of its
    maximum at 5 mm. One step of back-projection (M. Irani, S. Peleg 1991) puts what is missing back.
    """
    whole = _whole_blocks(averages.grid, grid)
    values = resample(averages, whole, 0.0, "cubic").array
    missing = averages.array - resample(Volume(whole, values), averages.grid, 0.0).array
    values += resample(Volume(averages.grid, missing), whole, 0.0, "cubic").array
    return np.ascontiguousarray(values[tuple(slice(n) for n in grid.shape)])


def _whole_blocks(coarse: Grid, grid: Grid) -> Grid:
    """`grid` grown to the end of its last blocks."""
    z, y, x = (n * round(c / s) for n, c, s in zip(coarse.shape, coarse.spacing_mm, grid.spacing_mm, strict=True))
    return replace(grid, shape=(z, y, x))
