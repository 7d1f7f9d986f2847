"""Any order and direction of axes ends on one increasing LPS grid, with each voxel where it was."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vmat_rt.geometry.orientation import find_signed_axis, make_canonical_volume

SPACING = (3.0, 2.0, 1.5)
FIRST = np.array([11.0, -7.0, 23.0])
AXES = np.eye(3)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_every_voxel_keeps_its_place(order: tuple[int, int, int], signs: tuple[int, int, int]) -> None:
    array = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    directions = tuple(sign * AXES[axis] for axis, sign in zip(order, signs, strict=True))
    volume = make_canonical_volume(array, FIRST, directions, SPACING, "1.2")
    grid = volume.grid
    for index, value in np.ndenumerate(array):
        place = FIRST + sum(n * d * s for n, d, s in zip(index, directions, SPACING, strict=True))
        k, j, i = (np.flatnonzero(np.isclose(grid.axis_mm(a), place[2 - a]))[0] for a in range(3))
        assert volume.array[k, j, i] == value
    assert volume.array.flags.c_contiguous


def test_directions_that_share_an_axis_are_refused() -> None:
    with pytest.raises(ValueError, match="three patient axes"):
        make_canonical_volume(np.zeros((1, 1, 1), np.float32), FIRST, (AXES[0], AXES[0], AXES[2]), SPACING, "1.2")


def test_an_axis_is_known_by_its_sign_and_an_oblique_one_is_none() -> None:
    assert find_signed_axis(np.array([0.0, -1, 0])) == (1, -1)
    assert find_signed_axis(np.array([0.0005, 0, 1])) == (2, 1)
    assert find_signed_axis(np.array([0.1, 0, 0.995])) is None
