"""Voxel errors, D95 gaps and isodose overlap against values worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics.doses import GRID, linear, smooth_pair, volume
from vmat_rt.case import Structure, Volume
from vmat_rt.errors import GeometryError, InputError
from vmat_rt.grid import Grid
from vmat_rt.metrics.dose_error import (
    compute_d95_gaps_gy,
    compute_dose_error,
    compute_dose_errors,
    compute_isodose_dice,
)

REFERENCE = volume(np.arange(19) * 4.0)  # 0 to 72 Gy along x
BODY = np.ones(GRID.shape, np.float32)


def test_errors_by_hand() -> None:
    """+3 Gy in 3 of 4 voxels, -1 Gy in one: MAE 2.5, RMSE sqrt(7), signed 2."""
    grid = Grid((1, 2, 2), (3.0, 2.0, 2.5), (0.0, 0.0, 0.0), "1")
    error = compute_dose_error(volume(np.array(20.0), grid), volume(np.array([[[23.0, 23.0], [23.0, 19.0]]]), grid))
    assert error is not None
    assert (error.mae_gy, error.rmse_gy, error.signed_gy) == pytest.approx((2.5, math.sqrt(7), 2.0))
    assert error.volume_cc == pytest.approx(4 * 0.015)


def test_fractions_weigh_the_voxels() -> None:
    evaluation = REFERENCE.array.copy()
    evaluation[2, 3, 4] += 4.0
    evaluation[2, 3, 5] -= 8.0
    region = np.zeros(GRID.shape, np.float32)
    region[2, 3, 4], region[2, 3, 5] = 0.75, 0.25
    error = compute_dose_error(REFERENCE, volume(evaluation), region)
    assert error is not None
    assert (error.mae_gy, error.signed_gy, error.rmse_gy) == pytest.approx((5.0, 1.0, math.sqrt(28)))
    assert error.volume_cc == pytest.approx(GRID.voxel_cc)


def test_regions_of_a_case() -> None:
    """Errors grow with dose, so each level has its own; targets are a union, counted once where they overlap."""
    evaluation = volume(REFERENCE.array * 1.1)
    one, two, body = np.zeros((3, *GRID.shape), np.float32)
    one[..., 14:17], two[..., 16:18] = 1, 1
    body[..., 1:] = 1
    errors = compute_dose_errors(
        REFERENCE, evaluation, body, {"PTV_1": one, "PTV_2": two, "Lens_L": one * 0}, ("PTV_1", "PTV_2")
    )
    doses = np.arange(19) * 4.0
    expected = {
        "body": doses[1:],
        "above 10 %": doses[doses >= 7.2],
        "above 50 %": doses[doses >= 36],
        "above 90 %": doses[doses >= 64.8],
        "targets": doses[14:18],
        "PTV_1": doses[14:17],
        "PTV_2": doses[16:18],
    }
    for name, values in expected.items():
        error = errors[name]
        assert error is not None
        assert error.mae_gy == pytest.approx(0.1 * values.mean(), rel=1e-5), name
    assert errors["Lens_L"] is None
    assert set(errors) == {*expected, "Lens_L"}


def test_levels_refer_to_the_body_alone() -> None:
    body = BODY.copy()
    body[..., 10:] = 0
    errors = compute_dose_errors(REFERENCE, volume(REFERENCE.array + 1), body, {})
    above = errors["above 90 %"]
    assert above is not None
    assert above.volume_cc == pytest.approx(13 * 16 * GRID.voxel_cc), "36 Gy is the highest in the body; one slice"


def test_without_dose_no_level_is_reached() -> None:
    nothing = volume(np.array(0.0))
    errors = compute_dose_errors(nothing, nothing, BODY, {})
    assert errors["above 10 %"] is None
    assert errors["body"] is not None


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 5))
def test_properties(seed: int, factor: float) -> None:
    reference, evaluation = smooth_pair(seed, GRID)
    error, back = compute_dose_error(reference, evaluation), compute_dose_error(evaluation, reference)
    scaled = compute_dose_error(*(volume(d.array * np.float32(factor)) for d in (reference, evaluation)))
    assert error is not None
    assert back is not None
    assert scaled is not None
    assert abs(error.signed_gy) <= error.mae_gy * (1 + 1e-12) <= error.rmse_gy * (1 + 1e-9)
    assert (back.mae_gy, back.signed_gy) == pytest.approx((error.mae_gy, -error.signed_gy))
    assert scaled.mae_gy == pytest.approx(factor * error.mae_gy, rel=1e-4)


def test_d95_gap_of_a_shifted_dose() -> None:
    fine = Grid((20, 30, 30), (2.0, 1.5, 1.0), (0.0, 0.0, 0.0), GRID.frame_uid)
    box = np.zeros(fine.shape, np.float32)
    box[5:15, 8:20, 6:22] = 1
    targets = {
        "PTV_7000": Structure("PTV", "PTV_7000", Volume(fine, box)),
        "PTV_5600": Structure("none", "PTV_5600", None),
    }
    reference, evaluation = linear(60.0, (0.1, 0.2, 0.3), fine), linear(58.5, (0.1, 0.2, 0.3), fine)
    gaps = compute_d95_gaps_gy(targets, reference, evaluation)
    assert gaps["PTV_7000"] == pytest.approx(-1.5, abs=1e-3)
    assert gaps["PTV_5600"] is None


def test_isodose_dice_by_hand() -> None:
    """Columns at or above 40 Gy: 9 in the reference, 8 of these when the dose moves by one column."""
    evaluation = volume(np.maximum(np.arange(19) * 4.0 - 4.0, 0))
    dice = compute_isodose_dice(REFERENCE, evaluation, [0.0, 40.0, 72.0, 80.0])
    assert dice[0.0] == 1
    assert dice[40.0] == pytest.approx(2 * 8 / (9 + 8))
    assert dice[72.0] == 0
    assert dice[80.0] is None


def test_faults_are_named_with_their_count() -> None:
    broken, negative = REFERENCE.array.copy(), REFERENCE.array.copy()
    broken[0, 0, :2] = np.nan
    negative[1, 1, 1:4] = -2
    with pytest.raises(InputError, match=f"2 of {REFERENCE.array.size} voxels"):
        compute_dose_error(REFERENCE, volume(broken))
    with pytest.raises(InputError, match=f"3 of {REFERENCE.array.size} voxels"):
        compute_isodose_dice(volume(negative), REFERENCE, [10.0])
    with pytest.raises(GeometryError):
        compute_dose_error(REFERENCE, replace(REFERENCE, grid=replace(GRID, frame_uid="9.9")))
    with pytest.raises(GeometryError):
        compute_dose_errors(REFERENCE, REFERENCE, np.ones((2, 2, 2), np.float32), {})
