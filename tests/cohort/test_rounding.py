"""Shares in whole numbers: Hamilton's method by hand, and tables whose rows, columns and cells all hold."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmat_rt.cohort.rounding import allocate, make_exact_fractions, round_by_largest_remainder


def test_decimals_are_read_as_written_and_add_up_to_one() -> None:
    assert make_exact_fractions((0.7, 0.1, 0.2)) == (Fraction(7, 10), Fraction(1, 10), Fraction(1, 5))
    assert make_exact_fractions((2, 1, 1)) == (Fraction(1, 2), Fraction(1, 4), Fraction(1, 4))


@pytest.mark.parametrize(
    ("total", "fractions", "sizes"),
    [
        (10, (0.7, 0.1, 0.2), (7, 1, 2)),
        (100, (0.475, 0.16, 0.155, 0.21), (48, 16, 15, 21)),  # equal remainders: the first
        (3, (0.8, 0.1, 0.1), (1, 1, 1)),  # each part gets one
        (2, (0.8, 0.1, 0.1), (1, 1, 0)),
        (5, (0.5, 0.5, 0.0), (3, 2, 0)),
        (0, (0.5, 0.5), (0, 0)),
    ],
)
def test_largest_remainders_by_hand(total: int, fractions: tuple[float, ...], sizes: tuple[int, ...]) -> None:
    assert round_by_largest_remainder(total, make_exact_fractions(fractions)) == sizes


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=6).filter(lambda strata: sum(strata) >= 30),
    st.sampled_from([(0.7, 0.15, 0.15), (0.5, 0.25, 0.25), (0.8, 0.1, 0.1)]),
)
def test_rows_columns_and_every_cell_hold(strata: list[int], fractions: tuple[float, ...]) -> None:
    """Cox's controlled rounding: with enough patients every cell is its exact share rounded down or up."""
    exact = make_exact_fractions(fractions)
    table = allocate(strata, exact)
    assert [sum(row) for row in table] == strata
    assert tuple(map(sum, zip(*table, strict=True))) == round_by_largest_remainder(sum(strata), exact)
    for size, row in zip(strata, table, strict=True):
        for share, cell in zip(exact, row, strict=True):
            assert math.floor(size * share) <= cell <= math.ceil(size * share)
