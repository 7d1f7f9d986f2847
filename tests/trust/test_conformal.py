"""Intervals hold what they promise: against the closed form, and on many draws of any distribution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vmat_rt.trust.conformal import Interval, count_needed, find_interval

Draw = Callable[[np.random.Generator, int], np.ndarray]
DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda random, n: random.normal(0.7, 2.0, n),
    "skewed": lambda random, n: random.exponential(1.5, n),
    "heavy tails": lambda random, n: random.standard_t(2, n),
}


@pytest.mark.parametrize(("level", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19)])
def test_fewest_cases_of_a_level(level: float, needed: int) -> None:
    assert count_needed(level) == needed
    ones = np.ones(needed)
    assert find_interval(0.0, 1.0, np.zeros(needed), ones, level) is not None or needed == 1
    if needed > 2:
        assert find_interval(0.0, 1.0, np.zeros(needed - 1), ones[1:], level) is None


def test_the_interval_of_nine_known_errors() -> None:
    """Errors -4 ... 4: the median is 0, of the others half a step away; the largest of nine distances is 4.5."""
    found = find_interval(10.0, 1.0, np.arange(-4.0, 5.0), np.ones(9), 0.9)
    assert found == Interval(5.5, 14.5, 9)


def test_twice_the_spread_is_twice_the_width() -> None:
    errors, spreads = np.arange(-9.0, 10.0), np.ones(19)
    narrow, wide = (find_interval(0.0, spread, errors, spreads, 0.9) for spread in (1.0, 2.0))
    assert narrow is not None
    assert wide is not None
    assert wide.width == pytest.approx(2 * narrow.width)


def test_a_bias_moves_the_interval() -> None:
    errors = np.arange(-9.0, 10.0)
    plain, shifted = (find_interval(0.0, 1.0, errors + bias, np.ones(19), 0.9) for bias in (0.0, 3.0))
    assert plain is not None
    assert shifted is not None
    assert (shifted.low, shifted.high) == pytest.approx((plain.low + 3, plain.high + 3))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("cases", [20, 33, 100])
def test_nine_of_ten_truths_lie_inside(name: str, cases: int) -> None:
    """4,000 new cases, each with calibration cases of its own: SD of the share is 0.5 points."""
    random = np.random.default_rng(cases)
    inside = 0
    for _ in range(4000):
        errors = DISTRIBUTIONS[name](random, cases + 1)
        spreads = random.uniform(0.5, 2.0, cases + 1)
        errors *= spreads
        found = find_interval(0.0, float(spreads[-1]), errors[:-1], spreads[:-1], 0.9)
        assert found is not None
        inside += found.low <= errors[-1] <= found.high
    assert 0.88 <= inside / 4000 <= 0.9 + 1 / (cases + 1) + 0.02
