"""The search for the minimum skips nothing that counts, whatever axes, place, scale and cap."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics.doses import GRID, PAIR, interior, linear, moved, smooth_pair, volume
from vmat_rt.case import Volume
from vmat_rt.grid import Grid
from vmat_rt.metrics.gamma.index import gamma
from vmat_rt.metrics.gamma.samples import place_shell_offsets


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


def test_skipping_cells_never_changes_the_minimum() -> None:
    """Every sample in double precision, without order, cells or early exit."""
    from scipy.interpolate import RegularGridInterpolator

    reference, evaluation = PAIR
    dose = RegularGridInterpolator(
        tuple(GRID.axis_mm(a) for a in range(3)), evaluation.array.astype(float), bounds_error=False, fill_value=np.inf
    )
    offsets = place_shell_offsets(0.3, 6.0)
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
