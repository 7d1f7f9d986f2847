"""Doses brought back from coarse voxels keep their peaks and their block averages, also where blocks overhang."""

import numpy as np
import pytest

from vmat_rt.case import FloatArray, Volume
from vmat_rt.geometry.resample import resample
from vmat_rt.grid import Grid, Shape
from vmat_rt.nn.coarse import sharpened


def _ball(grid: Grid, radius_mm: float = 22.0, penumbra_mm: float = 5.0) -> FloatArray:
    """70 Gy in a ball round the grid's middle, falling off as a logistic curve; hot by 4 Gy at one spot."""
    z, y, x = np.meshgrid(*(grid.axis_mm(axis) for axis in (0, 1, 2)), indexing="ij")
    distance = np.sqrt(z**2 + y**2 + x**2)
    spot = 4 * np.exp(-((z**2 + y**2 + (x - 10) ** 2) / (2 * 6.0**2)))
    return ((70 + spot) / (1 + np.exp((distance - radius_mm) / (penumbra_mm / 2)))).astype(np.float32)


def _grid(shape: Shape) -> Grid:
    return Grid(shape, (2.5, 2.5, 2.5), (-40.0, -41.0, -39.0), "1.2.3")


@pytest.mark.parametrize("shape", [(32, 34, 32), (33, 33, 31)])
def test_coarse_dose_keeps_peak_and_averages(shape: Shape) -> None:
    grid = _grid(shape)
    true = _ball(grid)
    averages = resample(Volume(grid, true), grid.coarsened(2), 0.0)
    inner = (slice(0, 32), slice(0, 32), slice(0, 30))

    splined = resample(averages, grid, 0.0, "cubic").array
    found = sharpened(averages, grid)

    assert found.shape == shape
    assert abs(found.max() - true.max()) < 0.25 < abs(splined.max() - true.max())
    assert np.abs(found - true)[inner].mean() < 0.8 * np.abs(splined - true)[inner].mean()
    again = resample(Volume(grid, found), averages.grid, 0.0).array
    assert np.abs(again - averages.array)[:-1, :-1, :-1].max() < 1.0


def test_uniform_dose_stays_uniform_where_blocks_overhang() -> None:
    grid = _grid((7, 9, 11))
    averages = Volume(grid.coarsened(2), np.full(grid.coarsened(2).shape, 50.0, np.float32))

    assert np.allclose(sharpened(averages, grid), 50.0, atol=1e-3)
