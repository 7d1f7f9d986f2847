"""Doses brought back from coarse voxels keep their peaks and their block averages, also where blocks overhang."""

import numpy as np
import pytest

from tests.nn.cases import GRID, make_case
from vmat_rt.case import FloatArray, Volume
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.geometry.resample import resample
from vmat_rt.grid import Grid, Shape
from vmat_rt.nn.coarse import body_average, refined_gy, sharpened


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


def test_a_dose_that_ends_at_the_skin_is_brought_back_to_the_skin() -> None:
    """Blocks that the body's surface cuts hold the mean of their body, not of body and air."""
    case = make_case()
    inside = structure_fraction(case.body, GRID) >= 0.5
    z = np.broadcast_to(GRID.axis_mm(0)[:, None, None] - GRID.axis_mm(0)[0], GRID.shape)
    true = np.where(inside, 40 + 0.2 * z, 0).astype(np.float32)
    coarse = GRID.coarsened(2)

    averages = body_average(Volume(GRID, true), case, coarse)
    found = refined_gy(averages / 70, 70.0, case, GRID, 2)

    assert (found[~inside] == 0).all()
    assert np.abs(found - true)[inside].mean() < 0.1
    assert np.abs(found - true)[inside].max() < 1.0


def test_a_correction_keeps_the_detail_of_what_it_corrects() -> None:
    case = make_case()
    inside = structure_fraction(case.body, GRID) >= 0.5
    known = np.where(inside, np.random.default_rng(3).uniform(20, 60, GRID.shape), 0).astype(np.float32)
    averages = body_average(Volume(GRID, known), case, GRID.coarsened(2)) + np.float32(5)

    found = refined_gy(averages / 70, 70.0, case, GRID, 2, residual_of_gy=known)

    np.testing.assert_allclose(found[inside], known[inside] + 5, atol=1e-3)
