"""The body found in CT: ellipses of known area with what stands in the way in real scans."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.geometry.shapes import FRAME
from vmat_rt.case import Volume
from vmat_rt.errors import InputError
from vmat_rt.geometry.body import find_body
from vmat_rt.grid import Grid

GRID = Grid((9, 190, 230), (3.0, 1.9, 1.8), (-12.0, -180.0, -207.0), FRAME)
Y, X = GRID.axis_mm(1)[:, None], GRID.axis_mm(2)[None, :]


def ellipse(half_y: float, half_x: float, y: float = 0.0, x: float = 0.0) -> NDArray[np.bool_]:
    return ((Y - y) / half_y) ** 2 + ((X - x) / half_x) ** 2 < 1


def scan(*parts: tuple[NDArray[np.bool_], float]) -> Volume:
    """Noisy air, and each part's HU written over what is there, on every slice."""
    array = np.random.default_rng(1).normal(-1000, 25, GRID.shape)
    for where, hu in parts:
        array[:, where] = np.random.default_rng(2).normal(hu, 25, (GRID.shape[0], int(where.sum())))
    return Volume(GRID, array.astype(np.float32))


def agreement(found: Volume, truth: NDArray[np.bool_]) -> float:
    """Dice coefficient over all slices."""
    body = found.array > 0.5
    return float(2 * (body & truth).sum() / (body.sum() + GRID.shape[0] * truth.sum()))


BODY = ellipse(105, 170)
# A shell of 4 mm round foam, touching the back.
COUCH_OUTER, COUCH_INNER = (abs(Y - 128) < 25) & (abs(X) < 200), (abs(Y - 128) < 21) & (abs(X) < 196)
SHELL = COUCH_OUTER & ~COUCH_INNER


def test_a_body_alone_is_found_pixel_by_pixel() -> None:
    found = find_body(scan((BODY, 10)))
    np.testing.assert_array_equal(found.array > 0.5, np.broadcast_to(BODY, GRID.shape))
    assert set(np.unique(found.array)) == {0.0, 1.0}


def test_a_couch_that_touches_the_back_is_dropped() -> None:
    found = find_body(scan((COUCH_INNER, -960), (SHELL, -50), (BODY, 10)))
    assert agreement(found, BODY) > 0.99
    lateral = found.array[:, np.broadcast_to(SHELL & (abs(X) > 110), BODY.shape)]
    assert not lateral.any()


def test_a_solid_couch_apart_is_dropped() -> None:
    found = find_body(scan(((Y > 112) & (Y < 140) & (abs(X) < 200), 50), (BODY, 10)))
    np.testing.assert_array_equal(found.array > 0.5, np.broadcast_to(BODY, GRID.shape))


def test_gas_lung_bone_and_metal_are_body() -> None:
    inner = [(ellipse(20, 25, 40), -980.0), (ellipse(30, 40, -40, 60), -850.0), (ellipse(15, 15, 10, -90), 900.0)]
    found = find_body(scan((BODY, 10), *inner, (ellipse(9, 9, 10, 90), 8000.0), (ellipse(3, 80, 10, 60), -1000.0)))
    np.testing.assert_array_equal(found.array > 0.5, np.broadcast_to(BODY, GRID.shape))


def test_a_lung_behind_a_thin_chest_wall_is_body() -> None:
    # 7 mm of wall at the side, where 9 mm is the least that opening leaves.
    lungs = ellipse(70, 80, 0, -85) & ellipse(98, 163)
    found = find_body(scan((BODY, 10), (lungs, -850.0)))
    assert agreement(found, BODY) > 0.995


def test_a_mask_and_the_air_under_it_are_not() -> None:
    head = ellipse(95, 75)
    mask = ellipse(107, 87) & ~ellipse(104, 84)
    found = find_body(scan((mask, -150.0), (head, 10)))
    assert agreement(found, head) > 0.99


def test_both_legs_are_body() -> None:
    legs = ellipse(70, 65, 0, -90) | ellipse(60, 58, 0, 90)
    found = find_body(scan((legs, 10)))
    np.testing.assert_array_equal(found.array > 0.5, np.broadcast_to(legs, GRID.shape))


@pytest.mark.parametrize("padding_hu", [-1000.0, -1024.0, -3024.0])
def test_a_scan_blanked_outside_its_circle(padding_hu: float) -> None:
    ct = scan((BODY, 10))
    ct.array[:, ~np.broadcast_to(ellipse(140, 140), BODY.shape)] = padding_hu
    assert agreement(find_body(ct), BODY & ellipse(140, 140)) > 0.999


def test_a_body_cut_by_the_edge_of_the_scan() -> None:
    wide = ellipse(105, 260)
    found = find_body(scan((wide, 10), (ellipse(20, 25, 40, 180), -980.0)))
    np.testing.assert_array_equal(found.array > 0.5, np.broadcast_to(wide, GRID.shape))


def test_a_coarse_grid_is_used_as_it_is() -> None:
    grid = Grid((12, 60, 64), (4.0, 3.9, 4.1), (0.0, -117.0, -131.0), FRAME)
    y, x = grid.axis_mm(1)[:, None], grid.axis_mm(2)[None, :]
    truth = (y / 80) ** 2 + (x / 100) ** 2 < 1
    ct = Volume(grid, np.where(truth, 20, -1000).astype(np.float32) * np.ones(grid.shape, np.float32))
    np.testing.assert_array_equal(find_body(ct).array > 0.5, np.broadcast_to(truth, grid.shape))


def test_air_has_no_body() -> None:
    with pytest.raises(InputError) as refusal:
        find_body(scan((ellipse(8, 8), 10)))
    assert refusal.value.problems[0].code == "NO_BODY"
