"""Draws and fields: closed forms, moments, and numbers that must never change."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vmat_rt.errors import ConfigError
from vmat_rt.phantom.anatomy.fields import BELL_SPREAD, Draws, draw_smooth_noise, lerp_axis, profile, ramp


def test_a_key_gives_its_own_stream_again_and_again() -> None:
    assert Draws(1, 2).uniform(0, 1) == Draws(1, 2).uniform(0, 1)
    keys = [(1, 0), (0, 1), (1, 2), (2, 1), (1, 1)]
    assert len({Draws(*key).uniform(0, 1) for key in keys}) == len(keys)
    with pytest.raises(ConfigError, match="negative"):
        Draws(3, -1)


def test_draws_are_numpys_pcg64() -> None:
    """Against numpy's own generator on the same stream: 53 high bits of each word."""
    truth = np.random.Generator(np.random.PCG64(np.random.SeedSequence([5, 9])))
    draws = Draws(5, 9)
    for _ in range(50):
        assert draws.uniform(-3.0, 4.0) == pytest.approx(-3 + 7 * truth.random(), abs=1e-6)


def test_moments_of_the_draws() -> None:
    draws = Draws(7)
    uniform = np.array([draws.uniform(2, 6) for _ in range(4000)])
    assert (uniform.min() >= 2, uniform.max() <= 6) == (True, True)
    assert uniform.mean() == pytest.approx(4, abs=0.1)
    skewed = np.array([draws.skewed(0, 1, 3.0) for _ in range(4000)])
    assert skewed.mean() == pytest.approx(1 / 4, abs=0.03)  # of u^3
    assert np.mean([draws.chance(0.3) for _ in range(4000)]) == pytest.approx(0.3, abs=0.03)
    bell = draws.bell(301, 299)
    assert bell.shape == (301, 299)
    assert bell.mean() == pytest.approx(0, abs=2)
    assert bell.std() == pytest.approx(BELL_SPREAD, rel=0.02)
    signs = draws.signs((20, 30, 40))
    assert (signs.min() >= -1, signs.max() < 1) == (True, True)
    assert signs.std() == pytest.approx(1 / np.sqrt(3), rel=0.02)


def test_permutations_hold_everybody_and_come_in_every_order() -> None:
    draws = Draws(3)
    seen = [tuple(draws.permutation(3)) for _ in range(600)]
    assert set(seen) == set(itertools.permutations(range(3)))
    assert min(seen.count(order) for order in set(seen)) > 60
    assert draws.permutation(0) == []


@pytest.mark.parametrize(
    ("value", "start", "end", "wanted"),
    [(-1, 0, 4, 0), (0, 0, 4, 0), (1, 0, 4, 0.15625), (2, 0, 4, 0.5), (4, 0, 4, 1), (9, 0, 4, 1), (1, 4, 0, 0.84375)],
)
def test_a_ramp_is_its_cubic(value: float, start: float, end: float, wanted: float) -> None:
    assert float(ramp(np.array([value], np.float32), start, end)[0]) == wanted


def test_a_profile_is_linear_between_its_points() -> None:
    table = ((-2.0, 5.0), (0.0, 1.0), (4.0, 3.0))
    at = np.linspace(-5, 7, 49, dtype=np.float32)
    np.testing.assert_allclose(profile(at, table), np.interp(at, *zip(*table, strict=True)), rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_interpolation_along_an_axis_keeps_a_ramp(axis: int) -> None:
    line = np.arange(6, dtype=np.float32)
    shape = [1, 1, 1]
    shape[axis] = 6
    array = np.broadcast_to(line.reshape(shape), [6 if a == axis else 3 for a in range(3)])
    first, share = np.array([0, 2, 4]), np.array([0.25, 0.5, 1.0], np.float32)
    found = np.moveaxis(lerp_axis(array, axis, first, share), axis, -1)
    np.testing.assert_array_equal(found, np.broadcast_to([0.25, 2.5, 5.0], found.shape))


def test_noise_has_its_knots_half_a_wavelength_apart_and_stays_within_one() -> None:
    field = draw_smooth_noise(Draws(4), (33, 17, 25), 2.0, 32.0)
    knots = Draws(4).signs((33 // 8 + 1 + 2, 17 // 8 + 1 + 2, 25 // 8 + 1 + 2))
    np.testing.assert_allclose(field[::8, ::8, ::8], knots[:5, :3, :4], atol=1e-6)
    assert np.abs(field).max() <= 1
    steps = [np.abs(np.diff(field, axis=a)).max() for a in range(3)]
    assert max(steps) <= 2 * 1.5 / 8 + 1e-6  # the cubic's steepest slope is 1.5 of a knot's difference
