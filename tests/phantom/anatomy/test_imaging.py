"""Partial volume, noise and the couch in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from vmat_rt.grid import Grid
from vmat_rt.phantom.anatomy.fields import Draws
from vmat_rt.phantom.anatomy.imaging import AIR_HU, Couch, convert_to_fraction, draw_noise_plane


@pytest.mark.parametrize(
    ("distance_mm", "share"), [(-9, 1), (-1, 1), (-0.5, 0.75), (0, 0.5), (0.5, 0.25), (1, 0), (9, 0)]
)
def test_a_voxels_share_is_linear_across_the_surface(distance_mm: float, share: float) -> None:
    assert float(convert_to_fraction(np.array([distance_mm], np.float32), 2.0)[0]) == share


def test_noise_has_its_standard_deviation_and_is_smooth_along_both_axes() -> None:
    plane = draw_noise_plane(Draws(3), (300, 310), 12.0)
    assert plane.std() == pytest.approx(12, rel=0.03)
    assert plane.mean() == pytest.approx(0, abs=0.3)
    for a, b in ((plane[1:], plane[:-1]), (plane[:, 1:], plane[:, :-1])):
        # 1 2 1 against itself moved by one: (2 + 2) / (1 + 4 + 1)
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] == pytest.approx(2 / 3, abs=0.03)


def test_a_couch_is_dense_skins_round_foam_and_never_darkens_a_patient() -> None:
    grid = Grid((1, 200, 300), (3.0, 1.0, 2.0), (0.0, -50.5, -300.0), "1")
    plane = np.full(grid.shape[1:], AIR_HU, np.float32)
    plane[:60] = 40.0
    Couch(top_mm=20.0, thickness_mm=45.0, skin_mm=5.0).paint(plane, grid, (0.0, 0.0, 0.0))
    column, y = plane[:, 150], grid.axis_mm(1)
    assert (column[:60] == 40).all()
    assert np.unique(column[(y > 26) & (y < 59)]).tolist() == [AIR_HU + 45]
    assert column[(y > 20.6) & (y < 24.4)] == pytest.approx(AIR_HU + 820)
    assert column[(y > 60.6) & (y < 64.4)] == pytest.approx(AIR_HU + 820)
    assert (column[y > 66] == AIR_HU).all()
    x = grid.axis_mm(2)
    assert (plane[100:, np.abs(x) > 252] == AIR_HU).all()
