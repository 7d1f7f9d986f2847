"""Distances between slices by hand: regular, missing, twice, uneven, drifting."""

from __future__ import annotations

import numpy as np
import pytest

from vmat_rt.dicom.slice_gaps import gap_problems, name_slices


def codes(z_mm: list[float]) -> list[str]:
    return [problem.code for problem in gap_problems(z_mm)]


@pytest.mark.parametrize(
    ("z_mm", "code"),
    [
        ([], "CT_TOO_FEW_SLICES"),
        ([4.0], "CT_TOO_FEW_SLICES"),
        ([0.0, 3.0, 3.005, 6.0], "CT_DUPLICATE_SLICES"),
        ([0.0, 3.0, 9.0, 12.0], "CT_GAP"),
        ([0.0, 3.0, 7.1, 10.1], "CT_UNEQUAL_GAPS"),
        ([0.0, 3.0, 4.5, 7.5, 10.5], "CT_UNEQUAL_GAPS"),
    ],
)
def test_what_is_wrong_has_its_code(z_mm: list[float], code: str) -> None:
    assert codes(z_mm) == [code]


@pytest.mark.parametrize(
    "z_mm",
    [
        [0.0, 3.0],
        [float(z) for z in np.round(np.arange(200) * 0.625 - 31.2, 2)],  # positions with two decimals
        [-1.5, 1.0, 3.5, 6.0],
    ],
)
def test_regular_slices_pass(z_mm: list[float]) -> None:
    assert codes(z_mm) == []


def test_missing_slices_are_counted_and_named() -> None:
    (problem,) = gap_problems([0.0, 2.5, 10.0, 12.5, 17.5, 20.0])
    assert "2 and 3 (z 2.50 and 10.00 mm); 4 and 5 (z 12.50 and 17.50 mm)" in problem.message
    assert "5.00, 7.50 mm apart, the others 2.50 mm: 3 missing" in problem.message


def test_gaps_that_pass_alone_but_drift_are_noticed() -> None:
    """Half of 100 gaps 1 % smaller: each within tolerance, together a quarter of a gap off."""
    gaps = np.concatenate([np.full(50, 3.0), np.full(50, 2.975)])
    (problem,) = gap_problems([0.0, *np.cumsum(gaps).tolist()])
    assert problem.code == "CT_UNEQUAL_GAPS"
    assert "slice 51" in problem.message
    assert "0.62 mm off" in problem.message


def test_many_slices_are_named_in_short() -> None:
    z_mm = [float(k) for k in range(10)]
    assert name_slices([3], z_mm) == "slice 4 (z 3.00 mm)"
    assert name_slices(range(8), z_mm).endswith("6 (z 5.00 mm) and 2 more")
