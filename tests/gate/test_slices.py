"""Slices without the patient: told where others show him on both sides, and not at the ends of a scan."""

from __future__ import annotations

import numpy as np
import pytest

from vmat_rt.case import Volume
from vmat_rt.errors import Problem
from vmat_rt.gate.slices import slice_problems
from vmat_rt.grid import Grid

GRID = Grid((12, 40, 40), (3.0, 2.0, 2.0), (100.0, 0.0, 0.0), "1.2.3")


def problems_of(*empty: int, half_widths: list[int] | None = None) -> list[Problem]:
    """A patient of those half widths, 15 voxels in every slice by default, with slices of air."""
    array = np.full(GRID.shape, -1000, np.float32)
    for k, half in enumerate(half_widths or [15] * GRID.shape[0]):
        if k not in empty:
            array[k, 20 - half : 20 + half, 20 - half : 20 + half] = 0
    return list(slice_problems(Volume(GRID, array)))


def test_a_whole_image_has_no_empty_slice() -> None:
    assert problems_of() == []


def test_one_blank_slice_is_named_by_its_place() -> None:
    (problem,) = problems_of(5)
    assert (problem.code, problem.severity) == ("CT_SLICE_EMPTY", "warning")
    assert problem.message == "One CT slice shows no patient (at z = 115.0 mm), but those on both sides do."


def test_several_blank_slices_are_counted() -> None:
    (problem,) = problems_of(5, 6, 7)
    assert problem.message.startswith("3 CT slices show no patient (from z = 115.0 to 121.0 mm)")


@pytest.mark.parametrize("empty", [(0, 1), (10, 11)])
def test_air_at_an_end_of_the_scan_is_nothing(empty: tuple[int, ...]) -> None:
    assert problems_of(*empty) == []


def test_a_neck_between_head_and_shoulders_is_nothing() -> None:
    assert problems_of(half_widths=[9, 10, 10, 8, 5, 5, 5, 8, 14, 18, 18, 18]) == []


def test_a_couch_beyond_the_end_is_no_patient() -> None:
    """Four voxels of 2 x 2 mm."""
    assert problems_of(9, 10, half_widths=[15] * 9 + [15, 15, 1]) == []
