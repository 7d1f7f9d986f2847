"""Networks on voxels coarser than the grid: the grid's own arrays averaged in blocks, and the dose brought back.

A case is first put on the grid (vmat_rt.geometry.gridded), in training and prediction alike, so that the averages are
taken of the same numbers. No torch.
"""

from __future__ import annotations

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
        prior_gy = resample(Volume(grid, prior_gy), coarse, 0.0).array
    return encode(case, coarse, channels, prior_gy)


def refined_gy(
    relative: FloatArray,
    encoded: Encoded,
    case: Case,
    grid: Grid,
    coarsen: int,
    residual_of_gy: FloatArray | None = None,
) -> FloatArray:
    """Dose on `grid`, float32 (z, y, x) Gy, from a network's relative dose on grid.coarsened(coarsen).

    By cubic splines; zero where less than half a voxel is body. Where the network corrects a dose that is known on
    `grid` (residual_of_gy), only its correction is interpolated, so that the fine detail of that dose stays.
    """
    coarse = grid.coarsened(coarsen)
    change = relative * np.float32(encoded.highest_gy)
    if residual_of_gy is not None:
        change -= resample(Volume(grid, residual_of_gy), coarse, 0.0).array
    # Nothing is learned of voxels without body: the dose at the skin is not to be drawn to what stands there.
    _, nearest = distance_transform_edt(encoded.body <= 0, sampling=coarse.spacing_mm, return_indices=True)
    change = np.ascontiguousarray(change[tuple(nearest)])
    dose = resample(Volume(coarse, change), grid, 0.0, "cubic").array
    if residual_of_gy is not None:
        dose = dose + residual_of_gy
    dose = np.maximum(dose, 0, dtype=np.float32)
    dose[structure_fraction(case.body, grid) < INSIDE] = 0
    return dose
