"""Points of voxels and blurred views in closed form; beams placed in patients are in test_beams.py."""

from __future__ import annotations

import numpy as np
import pytest

from vmat_rt.geometry.rays import Fan, list_voxel_points, soften
from vmat_rt.grid import Grid

GRID = Grid((4, 5, 6), (3.0, 2.0, 1.5), (-7.0, 11.0, 13.0), "1.2")
FAN = Fan((0.0, 90.0, 217.0), (1.0, 2.0, 3.0), (40, 60), (-60.0, -60.0), (3.0, 2.0), (2, 2, 2), (0.0, 0.0, 0.0))


def test_voxels_lie_where_the_grid_says_in_c_order() -> None:
    mask = np.zeros(GRID.shape, bool)
    mask[0, 0, 0] = mask[3, 4, 5] = mask[1, 2, 3] = True
    wanted = [[-7.0, 11.0, 13.0], [-4.0, 15.0, 17.5], [2.0, 19.0, 20.5]]
    np.testing.assert_array_equal(list_voxel_points(GRID, mask), np.array(wanted, np.float32))
    assert list_voxel_points(GRID, ~mask & mask).shape == (0, 3)


def test_directions_are_sine_and_cosine() -> None:
    np.testing.assert_allclose(FAN.directions[:2], [[0, 1], [1, 0]], atol=1e-15)
    np.testing.assert_allclose(np.hypot(*FAN.directions.T), 1)


@pytest.mark.parametrize("sigma_mm", [4.0, 6.0])
def test_a_blurred_point_is_a_gaussian_in_millimetres(sigma_mm: float) -> None:
    views = np.zeros((1, *FAN.view_shape), np.float32)
    views[0, 20, 30] = 1.0
    found = soften(FAN, views, sigma_mm)[0].astype(float)
    v, u = (np.arange(n) * step for n, step in zip(FAN.view_shape, FAN.view_step_mm, strict=True))
    for line, at in ((found.sum(axis=1), v), (found.sum(axis=0), u)):
        mean = (line * at).sum() / line.sum()
        assert mean == pytest.approx(at[line.argmax()])
        spread = np.sqrt((line * (at - mean) ** 2).sum() / line.sum())
        assert spread == pytest.approx(sigma_mm, rel=0.02)
    assert found.sum() == pytest.approx(1, rel=1e-5)


def test_beyond_the_view_it_is_dark() -> None:
    views = np.ones((2, *FAN.view_shape), np.float32)
    found = soften(FAN, views, 6.0)
    assert found[:, 20, 30] == pytest.approx(1, abs=1e-5)
    # Half of the Gaussian, and half of its middle cell: 3 mm / (6 mm sqrt(2 pi)).
    assert found[:, 0, 30] == pytest.approx(
        0.5 + 0.5 * 0.1974, abs=0.02
    )  # half of it, and half a cell: erf(1.5 / 6 / sqrt 2)
