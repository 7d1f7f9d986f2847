"""Gamma against closed forms, pymedphys, and itself through torch."""

from __future__ import annotations

import itertools
import math
import warnings
from dataclasses import replace

import numpy as np
import pymedphys
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics.doses import GRID, linear, smooth_pair, volume
from vmat_rt.case import Volume
from vmat_rt.errors import ConfigError, GeometryError
from vmat_rt.grid import Grid
from vmat_rt.metrics.gamma.index import GammaResult, gamma, grown_region, region_pass_rates
from vmat_rt.metrics.gamma.samples import shell_offsets

PAIR = smooth_pair(5, GRID)


def moved(dose: Volume, by_mm: tuple[float, float, float]) -> Volume:
    origin = tuple(o + d for o, d in zip(dose.grid.origin_mm, by_mm, strict=True))
    return replace(dose, grid=replace(dose.grid, origin_mm=origin))


def blob(grid: Grid, shift_mm: float, height_gy: float) -> Volume:
    """A Gaussian about the middle of GRID, moved along every axis."""
    along = [(grid.axis_mm(a) - GRID.centre_mm[a] - shift_mm) / (9.0 + a) for a in range(3)]
    squared = along[0][:, None, None] ** 2 + along[1][:, None] ** 2 + along[2] ** 2
    return volume(height_gy * np.exp(-squared / 2), grid)


def interior(array: np.ndarray, voxels: int = 4) -> np.ndarray:
    return array[voxels:-voxels, voxels:-voxels, voxels:-voxels]


def pymedphys_gamma(reference: Volume, evaluation: Volume, **options: float) -> np.ndarray:
    axes = [tuple(dose.grid.axis_mm(a) for a in range(3)) for dose in (reference, evaluation)]
    settings_ = {"lower_percent_dose_cutoff": 10, "interp_fraction": 10, "max_gamma": 2, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pymedphys.gamma(
            axes[0],
            reference.array.astype(np.float64),
            axes[1],
            evaluation.array.astype(np.float64),
            3,
            3,
            **settings_,
        )


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


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 2.5), st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: math.hypot(*v) > 0.1), st.integers(0, 50))
def test_a_spatial_shift_never_exceeds_shift_over_distance(size: float, direction: tuple, seed: int) -> None:
    """The moved point itself is there to be found, but for the sampling step of 0.3 mm."""
    reference, _ = smooth_pair(seed, GRID)
    shift = tuple(size * c / math.hypot(*direction) for c in direction)
    evaluation = moved(reference, shift)
    steepest = max(float(np.abs(np.diff(reference.array, axis=a)).max()) / s for a, s in enumerate(GRID.spacing_mm))
    slack = 0.26 * math.hypot(1 / 3.0, math.sqrt(3) * steepest / (0.03 * 70))
    for one, two in ((reference, evaluation), (evaluation, reference)):
        assert np.nanmax(interior(gamma(one, two, lower_cutoff_percent=0).map.array)) <= size / 3 + slack


# Independent program


@pytest.mark.slow
def test_agrees_with_pymedphys_on_30_smooth_pairs() -> None:
    for seed in range(30):
        spacing = (3.0, 2.0, 2.5) if seed % 2 else (2.5, 2.5, 2.5)
        reference, evaluation = smooth_pair(seed, Grid((20, 22, 24), spacing, (-7.0, 3.5, 11.0), "1.2.3"))
        assert_agrees_with_pymedphys(gamma(reference, evaluation), pymedphys_gamma(reference, evaluation))


def test_agrees_with_pymedphys_on_local_gamma() -> None:
    """Local criteria are steep in low dose: more points stand at the edge of passing, where the samples decide."""
    reference, evaluation = smooth_pair(0, Grid((18, 20, 22), (3.0, 2.0, 2.5), (-7.0, 3.5, 11.0), "1.2.3"))
    theirs = pymedphys_gamma(reference, evaluation, local_gamma=True)
    assert_agrees_with_pymedphys(gamma(reference, evaluation, local=True), theirs, percent=0.2)


def assert_agrees_with_pymedphys(ours: GammaResult, theirs: np.ndarray, percent: float = 0.1) -> None:
    np.testing.assert_array_equal(np.isfinite(ours.map.array), np.isfinite(theirs))
    known = theirs[np.isfinite(theirs)]
    assert ours.pass_rate_percent == pytest.approx(100 * np.mean(known <= 1), abs=percent)
    assert ours.mean == pytest.approx(known.mean(), abs=0.005)


def test_agrees_with_pymedphys_on_two_grids() -> None:
    """On a second grid, past the first on all sides, the same smooth dose stands 2 % higher and 1 mm further on."""
    wider = Grid((17, 15, 22), (2.8, 2.6, 2.5), (-43.0, 13.1, 3.9), GRID.frame_uid)
    reference, evaluation = blob(GRID, 0.0, 60.0), blob(wider, 1.0, 61.2)
    assert_agrees_with_pymedphys(gamma(reference, evaluation), pymedphys_gamma(reference, evaluation))


def test_published_box_in_box() -> None:
    """Values to one decimal that pymedphys documents: a box of 1.015 in a larger box of 1, 3 % / 0.3 mm, 0.1 mm voxels.

    Two layers in from the larger box's border gamma rises to 0.4, 0.7, 1 with the way back to dose 0, and is 0.5 where
    1.015 meets 1.
    """
    grid = Grid((10, 12, 14), (0.1, 0.1, 0.1), (0.0, 0.0, 0.0), "1")
    reference, evaluation, expected = np.zeros((3, *grid.shape))
    small = (slice(3, -2), slice(4, -2), slice(5, -2))
    reference[small] = 1.015
    for inset, value in ((2, 0.4), (3, 0.7), (4, 1.0)):
        layer = (slice(inset, -inset),) * 3
        evaluation[layer] = 1.0
        expected[layer] = value
    expected[small] = 0.5
    result = gamma(volume(reference, grid), volume(evaluation, grid), 3, 0.3, lower_cutoff_percent=0)
    np.testing.assert_array_equal(np.round(result.map.array, 1), expected.astype(np.float32))


# Properties


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_axis_order_does_not_matter(order: tuple[int, int, int]) -> None:
    def turned(dose: Volume) -> Volume:
        g = dose.grid
        grid = Grid(*(tuple(v[a] for a in order) for v in (g.shape, g.spacing_mm, g.origin_mm)), g.frame_uid)
        return volume(dose.array.transpose(order), grid)

    straight = gamma(*PAIR).map.array.transpose(order)
    np.testing.assert_allclose(gamma(turned(PAIR[0]), turned(PAIR[1])).map.array, straight, atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_direction_of_an_axis_does_not_matter(axis: int) -> None:
    straight = gamma(*PAIR).map.array
    flipped = gamma(*(volume(np.flip(dose.array, axis)) for dose in PAIR)).map.array
    np.testing.assert_allclose(np.flip(flipped, axis), straight, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.floats(-800, 800)] * 3), st.floats(1e-3, 1e3))
def test_place_and_scale_do_not_matter(by_mm: tuple[float, float, float], factor: float) -> None:
    straight = gamma(*PAIR)
    other = gamma(*(moved(volume(dose.array * np.float32(factor)), by_mm) for dose in PAIR))
    np.testing.assert_allclose(other.map.array, straight.map.array, atol=2e-3)
    assert other.pass_rate_percent == pytest.approx(straight.pass_rate_percent, abs=0.05)


@pytest.mark.parametrize("max_gamma", [1.2, 3.0])
def test_max_gamma_only_caps(max_gamma: float) -> None:
    usual, other = gamma(*PAIR, max_gamma=4.0), gamma(*PAIR, max_gamma=max_gamma)
    np.testing.assert_allclose(other.map.array, np.minimum(usual.map.array, max_gamma), atol=1e-5)
    assert other.pass_rate_percent == usual.pass_rate_percent


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize(
    "grid",
    [
        GRID,
        replace(GRID, origin_mm=(-40.2, 16.1, 6.4)),
        Grid((9, 18, 15), (3.7, 1.9, 3.3), (-38.0, 15.0, 4.0), GRID.frame_uid),
    ],
    ids=["same grid", "shifted", "other spacing"],
)
def test_torch_gives_the_same_answer(grid: Grid, local: bool) -> None:
    reference, (_, evaluation) = (
        volume(PAIR[0].array[:7, :9, :8], GRID.crop((0, 0, 0), (7, 9, 8))),
        smooth_pair(5, grid),
    )
    by_numba = gamma(reference, evaluation, local=local)
    by_torch = gamma(reference, evaluation, local=local, device="torch")
    np.testing.assert_allclose(by_torch.map.array, by_numba.map.array, atol=2e-5)


def test_skipping_cells_never_changes_the_minimum() -> None:
    """Every sample in double precision, without order, cells or early exit."""
    from scipy.interpolate import RegularGridInterpolator

    reference, evaluation = PAIR
    dose = RegularGridInterpolator(
        tuple(GRID.axis_mm(a) for a in range(3)), evaluation.array.astype(float), bounds_error=False, fill_value=np.inf
    )
    offsets = shell_offsets(0.3, 6.0)
    found = gamma(reference, evaluation).map.array
    criterion = 0.03 * float(reference.array.max())
    for place in [(0, 0, 0), (6, 7, 9), (12, 15, 18), (3, 14, 2), (9, 2, 17), (5, 5, 5)]:
        if not np.isfinite(found[place]):
            continue
        point = np.array([GRID.axis_mm(a)[i] for a, i in enumerate(place)])
        gaps = (dose(point + offsets) - float(reference.array[place])) / criterion
        exact = min(2.0, float(np.sqrt(gaps**2 + (offsets**2).sum(axis=1) / 9).min()))
        assert found[place] == pytest.approx(exact, abs=1e-4)


def test_a_single_slice_is_searched_in_its_plane() -> None:
    flat = Grid((1, 16, 19), (3.0, 2.0, 2.5), (4.0, 17.0, 5.5), "1.2.3")
    reference = linear(40.0, (0.0, 0.6, 0.0), flat)
    evaluation = moved(reference, (0.0, 1.5, 0.0))
    exact = 1.5 / math.hypot(3.0, 0.03 * float(reference.array.max()) / 0.6)
    found = gamma(reference, evaluation).map.array[0, 4:-4, 4:-4]
    np.testing.assert_allclose(found, exact, atol=0.02)


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
    (summary,) = region_pass_rates(result, {"slice": region}).values()
    assert summary.points_evaluated == 16 * 19
    assert summary.mean == pytest.approx(float(result.map.array[6].mean()), rel=1e-6)
    assert summary.mean < 1.0 / (0.03 * float(reference.array.max()))


def test_fractions_weigh_the_points() -> None:
    result = gamma(volume(np.array(50.0)), volume(np.where(np.arange(19) < 9, 50.0, 60.0)), distance_mm=0.5)
    fraction = np.zeros(GRID.shape, np.float32)
    fraction[3, 3, 2], fraction[3, 3, 16] = 0.75, 0.25
    assert region_pass_rates(result, {"edge": fraction})["edge"].pass_rate_percent == pytest.approx(75)


def test_regions_without_points_are_not_evaluable() -> None:
    array = np.full(GRID.shape, 60.0, np.float32)
    array[:4] = 1.0
    result = gamma(volume(array), volume(array))
    low = np.zeros(GRID.shape, np.bool_)
    low[0] = True
    rates = region_pass_rates(result, {"empty": np.zeros(GRID.shape, np.float32), "low": low})
    assert [r.pass_rate_percent for r in rates.values()] == [None, None]
    assert "empty" in str(rates["empty"].reason)
    assert "below" in str(rates["low"].reason)
    with pytest.raises(GeometryError):
        region_pass_rates(result, {"other": np.ones((2, 2, 2), np.float32)})


def test_regions_grow_in_true_millimetres() -> None:
    """A box grows by 5 mm along each axis, whatever the spacings; its surface lies half way between voxel centres."""
    grid = Grid((31, 45, 37), (1.5, 1.0, 1.25), (7.0, -3.0, 2.0), "1")
    box = np.zeros(grid.shape, np.float32)
    box[12:19, 15:30, 12:25] = 1.0
    grown = grown_region(box, grid, 5.0)
    middle = (15, 22, 18)
    for axis, (first, end) in enumerate(((12, 19), (15, 30), (12, 25))):
        line = grown[tuple(slice(None) if a == axis else middle[a] for a in range(3))]
        index, spacing = np.arange(len(line)), grid.spacing_mm[axis]
        outside = np.maximum((first - 0.5 - index) * spacing, (index - end + 0.5) * spacing)
        np.testing.assert_array_equal(line, outside <= 5.0)
    assert not grown[11 - 2, 14 - 4, 11 - 3], "a corner grows by 5 mm, not by 5 mm along each axis at once"


def test_an_empty_region_grows_to_nothing() -> None:
    assert not grown_region(np.zeros(GRID.shape, np.float32), GRID).any()


def test_the_result_as_json() -> None:
    result = gamma(*PAIR)
    content = result.as_dict(region_pass_rates(result, {"all": np.ones(GRID.shape, np.bool_)}))
    assert content["pass_rate_percent"] == result.pass_rate_percent
    assert content["regions"]["all"]["mean"] == pytest.approx(result.mean)
    assert content["criteria"]["interpolation_mm"] == pytest.approx(0.3)
