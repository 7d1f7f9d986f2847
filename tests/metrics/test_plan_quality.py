"""Conformity, gradient, gEUD and EQD2 in closed form: balls in a dose that falls with the distance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vmat_rt.case import Structure, Volume
from vmat_rt.grid import Grid
from vmat_rt.metrics.dvh.compute import Dvh, compute_dvh, compute_isodose_volume_cc
from vmat_rt.metrics.plan_quality import (
    VOLUME_EXPONENTS,
    compute_organ_effect,
    compute_target_quality,
    measure_isodose_cc,
)

GRID = Grid((61, 61, 61), (2.0, 2.0, 2.0), (-60.0, -60.0, -60.0), "f")
FINE = Grid((81, 81, 81), (1.0, 1.0, 1.0), (-40.0, -40.0, -40.0), "f")
SLOPE, TOP = 1.5, 80.0
"""Gy per mm and Gy at the centre: D Gy and more lie within (TOP - D) / SLOPE mm."""


def ball_cc(radius_mm: float) -> float:
    return 4 / 3 * np.pi * radius_mm**3 / 1000


def distance(grid: Grid) -> np.ndarray:
    z, y, x = (grid.axis_mm(axis) for axis in range(3))
    return np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)


def cone(grid: Grid = GRID) -> Volume:
    return Volume(grid, np.maximum(TOP - SLOPE * distance(grid), 0).astype(np.float32))


def ball(radius_mm: float, name: str = "PTV") -> Structure:
    return Structure(name, name, Volume(FINE, np.clip(radius_mm - distance(FINE) + 0.5, 0, 1).astype(np.float32)))


@pytest.fixture(scope="module")
def target() -> Dvh:
    return compute_dvh(ball(15.0), cone(), metrics=("D2%", "D50%", "D98%"))


@pytest.mark.parametrize("prescription_gy", [50.0, 57.5, 62.0])
def test_indices_of_a_ball_in_a_cone(target: Dvh, prescription_gy: float) -> None:
    isodose, half = ((TOP - gy) / SLOPE for gy in (prescription_gy, prescription_gy / 2))
    found = compute_target_quality(target, cone(), prescription_gy)
    inside = ball_cc(min(15.0, isodose))
    assert found.paddick_ci == pytest.approx(inside**2 / (ball_cc(15) * ball_cc(isodose)), rel=0.04)
    assert found.rtog_ci == pytest.approx((isodose / 15) ** 3, rel=0.02)
    assert found.gradient_index == pytest.approx((half / isodose) ** 3, rel=0.02)
    assert found.r50 == pytest.approx((half / 15) ** 3, rel=0.02)
    assert found.reason == ""


def test_homogeneity_is_that_of_icru_83(target: Dvh) -> None:
    found = compute_target_quality(target, cone(), 57.5).homogeneity
    d2, d50, d98 = (TOP - SLOPE * 15 * part ** (1 / 3) for part in (0.02, 0.5, 0.98))
    assert found == pytest.approx((d2 - d98) / d50, rel=0.02)


def test_a_perfect_plan_has_conformity_1(target: Dvh) -> None:
    found = compute_target_quality(target, cone(), TOP - SLOPE * 15)
    assert found.paddick_ci == pytest.approx(1, abs=0.04)
    assert found.rtog_ci == pytest.approx(1, abs=0.04)


def test_an_isodose_that_leaves_the_grid_has_no_volume(target: Dvh) -> None:
    small = Grid((25, 25, 25), (2.0, 2.0, 2.0), (-24.0, -24.0, -24.0), "f")
    half_outside = compute_target_quality(target, cone(small), 57.5)
    assert half_outside.rtog_ci == pytest.approx(1, abs=0.04)
    assert half_outside.r50 is None
    assert half_outside.gradient_index is None
    assert "half the prescription leaves the dose grid" in half_outside.reason
    outside = compute_target_quality(target, cone(small), 20.0)
    assert outside.paddick_ci is None
    assert "the prescribed isodose leaves the dose grid" in outside.reason


def test_a_dose_that_nobody_gets_has_no_gradient(target: Dvh) -> None:
    found = compute_target_quality(target, cone(), 90.0)
    assert found.paddick_ci == 0
    assert found.rtog_ci == 0
    assert found.gradient_index is None
    assert found.reason == "nothing gets the prescribed dose"


def test_a_target_that_is_cut_off_has_no_indices(target: Dvh) -> None:
    found = compute_target_quality(replace(target, covered_fraction=0.9, reason="cut off"), cone(), 57.5)
    assert (found.paddick_ci, found.rtog_ci, found.r50, found.reason) == (None, None, None, "cut off")


def test_without_a_prescription_there_are_no_indices(target: Dvh) -> None:
    assert "no dose is prescribed" in compute_target_quality(target, cone(), 0.0).reason


@pytest.mark.parametrize("level_gy", [20.0, 40.0, 55.0])
def test_fewer_samples_give_the_same_isodose(level_gy: float) -> None:
    assert measure_isodose_cc(cone(), level_gy) == pytest.approx(ball_cc((TOP - level_gy) / SLOPE), rel=0.015)
    assert measure_isodose_cc(cone(), level_gy) == pytest.approx(compute_isodose_volume_cc(cone(), level_gy), rel=0.01)


def test_geud_of_a_uniform_dose_is_that_dose_and_eqd2_follows_the_linear_quadratic_model() -> None:
    uniform = Volume(GRID, np.full(GRID.shape, 42.0, np.float32))
    dvh = compute_dvh(ball(15.0, "Rectum"), uniform)
    found = compute_organ_effect(dvh, 28, 3.0)
    assert found.geud_gy == pytest.approx(42.0, abs=0.01)
    assert found.exponent == pytest.approx(1 / 0.12)
    assert found.eqd2_gy["Dmean"] == pytest.approx(42 * (1 + 1.5 / 3) / (1 + 2 / 3), abs=0.01)
    assert found.eqd2_gy["D0.03cc"] == pytest.approx(37.8, abs=0.01)


def test_geud_of_a_linear_dose_is_its_integral() -> None:
    ramp = np.broadcast_to(np.linspace(0, 60, 61, dtype=np.float32)[:, None, None], GRID.shape).copy()
    whole = Structure("Rectum", "Rectum", Volume(GRID, np.ones(GRID.shape, np.float32)))
    found = compute_organ_effect(compute_dvh(whole, Volume(GRID, ramp)), 28, None)
    a = 1 / VOLUME_EXPONENTS["Rectum"]
    assert found.geud_gy == pytest.approx(60 * (a + 1) ** (-1 / a), rel=0.01)
    assert found.eqd2_gy == {}
    assert found.alpha_beta_gy is None


def test_an_organ_that_the_table_lacks_has_no_geud() -> None:
    uniform = Volume(GRID, np.full(GRID.shape, 42.0, np.float32))
    found = compute_organ_effect(compute_dvh(ball(15.0, "PenileBulb"), uniform), 28, 3.0)
    assert (found.geud_gy, found.exponent) == (None, None)
    assert found.eqd2_gy["Dmean"] is not None
