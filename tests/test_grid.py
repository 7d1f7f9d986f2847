"""Grid: closed forms on a grid with every axis different."""

from __future__ import annotations

import numpy as np
import pytest

from vmat_rt.case import Volume
from vmat_rt.errors import GeometryError
from vmat_rt.grid import Grid, centred_grid

GRID = Grid((5, 7, 9), (3.0, 1.5, 0.8), (-12.5, 40.25, -3.0), "1.2.3")


def test_axes_bounds_and_centre() -> None:
    assert GRID.last_mm == pytest.approx((-0.5, 49.25, 3.4))
    assert GRID.centre_mm == pytest.approx((-6.5, 44.75, 0.2))
    low, high = GRID.bounds_mm
    assert low == pytest.approx((-14.0, 39.5, -3.4))
    assert high == pytest.approx((1.0, 50.0, 3.8))
    assert GRID.axis_mm(1)[[0, -1]] == pytest.approx([40.25, 49.25])
    assert GRID.voxel_cc == pytest.approx(3.0 * 1.5 * 0.8 / 1000)


def test_index_of_undoes_the_axes() -> None:
    point = np.array([GRID.axis_mm(0)[2], GRID.axis_mm(1)[3], GRID.axis_mm(2)[8]])
    assert GRID.index_of(point) == pytest.approx([2, 3, 8])


def test_crop_keeps_voxels_in_place() -> None:
    part = GRID.crop((1, 2, 3), (4, 7, 8))
    assert part.shape == (3, 5, 5)
    assert part.axis_mm(2) == pytest.approx(GRID.axis_mm(2)[3:8])


def test_centred_grid_has_its_middle_there() -> None:
    assert centred_grid((4, 6, 8), (3.0, 2.0, 1.0), (5.0, -7.0, 11.0), "f").centre_mm == pytest.approx((5, -7, 11))


def test_frames_never_meet() -> None:
    other = Grid(GRID.shape, GRID.spacing_mm, GRID.origin_mm, "1.2.4")
    with pytest.raises(GeometryError, match="frames"):
        GRID.require_same_frame(other)
    assert not GRID.same_as(other)


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (-1.0, 1.0, 1.0), (float("nan"), 1.0, 1.0)])
def test_impossible_spacing_is_refused(spacing: tuple[float, float, float]) -> None:
    with pytest.raises(GeometryError):
        Grid((1, 1, 1), spacing, (0.0, 0.0, 0.0), "f")


def test_a_volume_must_have_the_shape_of_its_grid() -> None:
    with pytest.raises(GeometryError):
        Volume(GRID, np.zeros((5, 7, 8), np.float32))


def test_the_box_of_a_mask_is_the_smallest() -> None:
    mask = np.zeros(GRID.shape, bool)
    mask[1, 2, 3] = mask[3, 5, 4] = True
    assert GRID.box_of(mask) == (slice(1, 4), slice(2, 6), slice(3, 5))
    assert GRID.box_of(mask, (1, 0, 9)) == (slice(0, 5), slice(2, 6), slice(0, 9)), "grown as far as the grid reaches"
    assert GRID.box_of(np.ones(GRID.shape, bool)) == (slice(0, 5), slice(0, 7), slice(0, 9))
    assert GRID.box_of(np.zeros(GRID.shape, bool)) is None
    with pytest.raises(GeometryError, match="mask of shape"):
        GRID.box_of(mask[:-1])


def test_a_part_of_a_grid_has_its_voxels_where_they_were() -> None:
    box = (slice(1, 4), slice(2, 6), slice(3, 5))
    part = GRID.part(box)
    assert part == GRID.crop((1, 2, 3), (4, 6, 5))
    for axis in range(3):
        assert np.allclose(part.axis_mm(axis), GRID.axis_mm(axis)[box[axis]], rtol=0, atol=1e-9)
    assert part.part((slice(1, 2), slice(0, 1), slice(1, 2))).same_as(GRID.crop((2, 2, 4), (3, 3, 5)))
