"""Packed volumes come back to within half a step; what is absent stays absent."""

from __future__ import annotations

import numpy as np
import pytest

from vmat_rt.grid import Grid
from vmat_rt.report.web.packing import pack_volume, unpack_codes

GRID = Grid((5, 8, 11), (3.0, 2.5, 2.0), (-7.0, 3.0, 11.0), "1.2")


@pytest.mark.parametrize(("step", "lowest"), [(8.0, -1024.0), (0.07, 0.0), (0.02, -1.0)])
def test_a_value_comes_back_to_within_half_a_step(step: float, lowest: float) -> None:
    array = np.random.default_rng(1).uniform(lowest, lowest + 900 * step, GRID.shape).astype(np.float32)
    packed = pack_volume(GRID, array, step, lowest)
    values = lowest + (unpack_codes(packed).astype(np.float64) - 1) * step
    assert np.abs(values - array).max() <= step / 2 * (1 + 1e-3)


def test_what_is_absent_is_code_0_and_no_value() -> None:
    array = np.full(GRID.shape, 3.0, np.float32)
    array[1, 2, 3] = np.nan
    codes = unpack_codes(pack_volume(GRID, array, 1.0, 0.0))
    assert codes[1, 2, 3] == 0
    assert np.count_nonzero(codes == 4) == array.size - 1


def test_steps_that_jump_over_the_whole_range_survive() -> None:
    array = np.indices(GRID.shape).sum(axis=0) % 2 * np.float32(65_000)
    assert np.array_equal(unpack_codes(pack_volume(GRID, array, 1.0, 0.0)), array.astype(np.uint16) + 1)


def test_more_steps_than_there_are_codes_are_refused() -> None:
    array = np.zeros(GRID.shape, np.float32)
    array[0, 0, 0] = 70_000
    with pytest.raises(ValueError, match="do not fit"):
        pack_volume(GRID, array, 1.0, 0.0)


def test_a_description_says_where_the_voxels_lie_and_where_the_data_stand() -> None:
    described = pack_volume(GRID, np.zeros(GRID.shape, np.float32), 0.5, -2.0).describe("volume-3")
    assert described == {
        "shape": GRID.shape, "spacing": GRID.spacing_mm, "origin": GRID.origin_mm, "step": 0.5, "lowest": -2.0,
        "data": "volume-3",
    }  # fmt: skip


def test_smooth_volumes_become_small() -> None:
    z, y, x = np.indices((40, 60, 60))
    smooth = (70 * np.exp(-((z - 20) ** 2 + (y - 30) ** 2 + (x - 30) ** 2) / 300)).astype(np.float32)
    grid = Grid(smooth.shape, (3.0, 3.0, 3.0), (0.0, 0.0, 0.0), "")
    assert len(pack_volume(grid, smooth, 70 / 1023, 0.0).data) < 0.5 * smooth.size
