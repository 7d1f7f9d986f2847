"""Gamma in closed forms, what cannot be evaluated, and regions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.metrics.doses import GRID, PAIR, interior, linear, moved, volume
from vmat_rt.errors import ConfigError, GeometryError
from vmat_rt.grid import Grid
from vmat_rt.metrics.gamma.index import GammaResult, compute_region_pass_rates, gamma, grow_region

# Closed forms


@pytest.mark.parametrize("device", ["cpu", "torch"])
def test_a_dose_agrees_with_itself_exactly(device: str) -> None:
    result = gamma(PAIR[0], PAIR[0], lower_cutoff_percent=0, device=device)
    assert result.pass_rate_percent == 100
    assert result.mean == 0
    assert result.points_evaluated == PAIR[0].array.size


@pytest.mark.parametrize(("local", "expected"), [(False, 0.4), (True, 0.4)])
def test_uniform_dose_shift_in_a_constant_region(local: bool, expected: float) -> None:
    result = gamma(volume(np.array(50.0)), volume(np.array(50.0 * 1.012)), local=local)
    np.testing.assert_allclose(result.map.array, expected, rtol=1e-4)


def test_local_criterion_is_a_percentage_of_each_point() -> None:
    """Two plateaus too far apart to see each other, 1 Gy off at 50 and at 20 Gy."""
    grid = Grid((8, 9, 40), (2.0, 2.5, 3.0), (1.0, 2.0, 3.0), "1")
    plateaus = np.where(np.arange(40) < 20, 50.0, 20.0)
    reference, evaluation = volume(plateaus, grid), volume(plateaus + 1.0, grid)
    by_global = gamma(reference, evaluation, max_gamma=3).map.array
    by_local = gamma(reference, evaluation, local=True, max_gamma=3).map.array
    for place, dose in ((3, 50.0), (36, 20.0)):
        np.testing.assert_allclose(by_global[:, :, place], 1 / (0.03 * 50), rtol=1e-4)
        np.testing.assert_allclose(by_local[:, :, place], 1 / (0.03 * dose), rtol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("slope", [0.2, 0.7, 3.0])
def test_shift_of_a_linear_gradient(axis: int, slope: float) -> None:
    """Moving a gradient g by d leaves a dose gap gd: gamma = d / sqrt(dta^2 + (dose criterion / g)^2)."""
    slopes = tuple(slope if a == axis else 0.0 for a in range(3))
    reference, shift_mm = linear(40.0, slopes), 1.7
    evaluation = moved(reference, tuple(shift_mm if a == axis else 0.0 for a in range(3)))
    criterion = 0.03 * float(reference.array.max())
    exact = shift_mm / math.hypot(3.0, criterion / slope)
    found = interior(gamma(reference, evaluation, interpolation_mm=0.1).map.array)
    # Samples can only overestimate, by half a step of 0.1 mm times the steepest change of gamma per mm.
    assert found.min() >= exact - 1e-4
    assert found.max() <= exact + 0.05 * math.hypot(1 / 3.0, slope / criterion)


def test_oblique_gradient_on_two_grids() -> None:
    """The evaluation grid has other spacings and another origin; trilinear interpolation of a linear dose is exact."""
    slopes = (0.3, -0.4, 0.5)
    other = Grid((20, 21, 22), (2.7, 2.3, 3.1), (-47.3, 9.9, -2.2), GRID.frame_uid)
    reference, evaluation = linear(60.0, slopes), linear(60.9, slopes, other)
    criterion = 0.03 * float(reference.array.max())
    exact = 0.9 / math.sqrt(criterion**2 + (3.0 * math.hypot(*slopes)) ** 2)
    found = interior(gamma(reference, evaluation).map.array)
    assert found.min() >= exact - 1e-4
    assert found.max() <= exact + 0.02


# What cannot be evaluated


def assert_not_evaluable(result: GammaResult, says: str) -> None:
    assert result.status == "not evaluable"
    assert (result.pass_rate_percent, result.mean, result.points_evaluated) == (None, None, 0)
    assert says in (result.reason or "")
    assert np.isnan(result.map.array).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("broken", [0, 1])
def test_voxels_that_are_no_numbers_are_counted(value: float, broken: int) -> None:
    doses = [dose.array.copy() for dose in PAIR]
    doses[broken][2, 3, 4:6] = value
    name = ("reference", "evaluation")[broken]
    assert_not_evaluable(gamma(volume(doses[0]), volume(doses[1])), f"2 voxels of the {name} dose")


@pytest.mark.parametrize("level", [0.0, -1.0])
def test_a_reference_without_dose(level: float) -> None:
    assert_not_evaluable(gamma(volume(np.array(level)), PAIR[1]), "nowhere above 0")


def test_an_evaluation_of_one_plane_off_the_reference() -> None:
    plane = Grid((1, 16, 19), (3.0, 2.0, 2.5), (-39.0, 17.0, 5.5), GRID.frame_uid)
    assert_not_evaluable(gamma(PAIR[0], volume(np.array(50.0), plane)), "single plane in z")


def test_negative_doses_are_named() -> None:
    array = PAIR[1].array.copy()
    array[0, 0, :3] = -0.5
    (problem,) = gamma(PAIR[0], volume(array)).problems
    assert problem.code == "DOSE_NEGATIVE"
    assert problem.message.startswith("3 voxels of the evaluation dose")


@pytest.mark.parametrize("device", ["cpu", "torch"])
def test_points_without_evaluation_dose_fail(device: str) -> None:
    """Truncating the evaluation must not raise the pass rate."""
    half = GRID.crop((0, 0, 0), (13, 16, 10))
    result = gamma(PAIR[0], volume(PAIR[0].array[:, :, :10], half), lower_cutoff_percent=0, device=device)
    assert (result.map.array[:, :, :10] == 0).all()
    assert (result.map.array[:, :, 13:] == 2).all()
    assert result.problems[0].code == "GAMMA_OUTSIDE"
    assert result.problems[0].message.startswith(f"{13 * 16 * 9} of {GRID.shape[0] * GRID.shape[1] * GRID.shape[2]} ")


def test_two_frames_never_meet() -> None:
    with pytest.raises(GeometryError):
        gamma(PAIR[0], replace(PAIR[1], grid=replace(GRID, frame_uid="9.9")))


@pytest.mark.parametrize(
    "option",
    [
        {"dose_percent": 0},
        {"distance_mm": -3},
        {"distance_mm": math.nan},
        {"max_gamma": 1},
        {"max_gamma": math.inf},
        {"interpolation_mm": 0},
        {"interpolation_mm": 0.001},
        {"lower_cutoff_percent": 101},
        {"device": "cuda:99"},
        {"device": "abacus"},
    ],
)
def test_criteria_without_meaning_are_refused(option: dict) -> None:
    with pytest.raises(ConfigError):
        gamma(*PAIR, **option)


# Regions


def test_regions_read_the_whole_map() -> None:
    """The region is one slice with the wrong dose; its neighbours, outside the region, hold the right one."""
    reference = linear(40.0, (0.7, 0.0, 0.0))
    evaluation = reference.array.copy()
    evaluation[6] += 1.0
    result = gamma(reference, volume(evaluation))
    region = np.zeros(GRID.shape, np.bool_)
    region[6] = True
    (summary,) = compute_region_pass_rates(result, {"slice": region}).values()
    assert summary.points_evaluated == 16 * 19
    assert summary.mean == pytest.approx(float(result.map.array[6].mean()), rel=1e-6)
    assert summary.mean < 1.0 / (0.03 * float(reference.array.max()))


def test_fractions_weigh_the_points() -> None:
    result = gamma(volume(np.array(50.0)), volume(np.where(np.arange(19) < 9, 50.0, 60.0)), distance_mm=0.5)
    fraction = np.zeros(GRID.shape, np.float32)
    fraction[3, 3, 2], fraction[3, 3, 16] = 0.75, 0.25
    assert compute_region_pass_rates(result, {"edge": fraction})["edge"].pass_rate_percent == pytest.approx(75)


def test_regions_without_points_are_not_evaluable() -> None:
    array = np.full(GRID.shape, 60.0, np.float32)
    array[:4] = 1.0
    result = gamma(volume(array), volume(array))
    low = np.zeros(GRID.shape, np.bool_)
    low[0] = True
    rates = compute_region_pass_rates(result, {"empty": np.zeros(GRID.shape, np.float32), "low": low})
    assert [r.pass_rate_percent for r in rates.values()] == [None, None]
    assert "empty" in str(rates["empty"].reason)
    assert "below" in str(rates["low"].reason)
    with pytest.raises(GeometryError):
        compute_region_pass_rates(result, {"other": np.ones((2, 2, 2), np.float32)})


def test_regions_grow_in_true_millimetres() -> None:
    """A box grows by 5 mm along each axis, whatever the spacings; its surface lies half way between voxel centres."""
    grid = Grid((31, 45, 37), (1.5, 1.0, 1.25), (7.0, -3.0, 2.0), "1")
    box = np.zeros(grid.shape, np.float32)
    box[12:19, 15:30, 12:25] = 1.0
    grown = grow_region(box, grid, 5.0)
    middle = (15, 22, 18)
    for axis, (first, end) in enumerate(((12, 19), (15, 30), (12, 25))):
        line = grown[tuple(slice(None) if a == axis else middle[a] for a in range(3))]
        index, spacing = np.arange(len(line)), grid.spacing_mm[axis]
        outside = np.maximum((first - 0.5 - index) * spacing, (index - end + 0.5) * spacing)
        np.testing.assert_array_equal(line, outside <= 5.0)
    assert not grown[11 - 2, 14 - 4, 11 - 3], "a corner grows by 5 mm, not by 5 mm along each axis at once"


def test_an_empty_region_grows_to_nothing() -> None:
    assert not grow_region(np.zeros(GRID.shape, np.float32), GRID).any()


def test_the_result_as_json() -> None:
    result = gamma(*PAIR)
    content = result.as_dict(compute_region_pass_rates(result, {"all": np.ones(GRID.shape, np.bool_)}))
    assert content["pass_rate_percent"] == result.pass_rate_percent
    assert content["regions"]["all"]["mean"] == pytest.approx(result.mean)
    assert content["criteria"]["interpolation_mm"] == pytest.approx(0.3)
