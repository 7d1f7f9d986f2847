"""Distances between slices by hand: regular, missing, twice, uneven, drifting."""

from __future__ import annotations

import numpy as np
import pytest

from vmat_rt.dicom.ct.gaps import gap_problems, name_slices, place_slices


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


@pytest.mark.parametrize("first", [-474.1, 0.03, 17.77])
@pytest.mark.parametrize("step", [2.54, 1.25, 0.625, 2.9, 3.0])
def test_positions_rounded_to_a_tenth_stand_for_equal_steps(first: float, step: float) -> None:
    z = first + step * np.arange(84)
    places = place_slices(np.round(z, 1).tolist())
    assert [problem.code for problem in places.problems] in ([], ["CT_POSITIONS_ROUNDED"])
    assert not places.interpolated
    np.testing.assert_allclose(places.z_mm, z, atol=0.1)
    assert places.step_mm == pytest.approx(step, abs=0.002)


def test_one_gap_of_a_tenth_more_is_rounding() -> None:
    z = [3.0 * k + (0.1 if k > 40 else 0) for k in range(84)]
    assert [problem.code for problem in place_slices(z).problems] == ["CT_POSITIONS_ROUNDED"]


@pytest.mark.parametrize("jump", [0.2, 0.5, 1.5])
def test_a_larger_jump_is_refused(jump: float) -> None:
    z = [3.0 * k + (jump if k > 40 else 0) for k in range(84)]
    assert [problem.severity for problem in place_slices(z).problems] == ["error"]


@pytest.mark.parametrize(
    ("gaps", "step"),
    [
        ([3.0] * 10 + [6.0] * 10, 3.0),
        ([5.0] * 10 + [2.5] * 20 + [5.0] * 10, 2.5),
        ([1.0] * 12 + [2.0] * 6 + [3.0] * 4, 1.0),
        ([5.0] * 6 + [3.0] * 9, 3.0),
    ],
)
def test_a_ct_of_two_spacings_gets_the_finer_one(gaps: list[float], step: float) -> None:
    z = [0.0, *np.cumsum(gaps).tolist()]
    places = place_slices(z)
    assert [problem.code for problem in places.problems] == ["CT_MIXED_SPACING"]
    assert places.interpolated
    assert places.step_mm == pytest.approx(step, rel=0.05)
    assert places.step_mm <= step
    assert (places.z_mm[0], places.z_mm[-1]) == pytest.approx((0.0, z[-1]))


@pytest.mark.parametrize(
    ("gaps", "code"),
    [
        ([3.0] * 10 + [6.0] + [3.0] * 10, "CT_GAP"),
        ([3.0] * 10 + [6.0] * 2 + [3.0] * 10, "CT_GAP"),
        ([2.0, 3.0] * 10, "CT_UNEQUAL_GAPS"),
        ([3.0] * 5 + [4.0] * 5 + [5.5] * 5, "CT_UNEQUAL_GAPS"),
    ],
)
def test_missing_slices_are_no_spacing(gaps: list[float], code: str) -> None:
    assert [problem.code for problem in place_slices([0.0, *np.cumsum(gaps).tolist()]).problems] == [code]
