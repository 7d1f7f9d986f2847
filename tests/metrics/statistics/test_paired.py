"""Cohort statistics against hand calculation, scipy and published examples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vmat_rt.metrics.statistics.paired import (
    average_cases,
    bootstrap_ci95,
    compare_pairs,
    compute_seed_sd,
    correct_by_holm,
    summarize,
)

# Hollander and Wolfe, Nonparametric Statistical Methods, table 3.1: Hamilton depression scores before and after.
BEFORE = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
AFTER = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]


def one_seed(values: list[float]) -> dict[tuple[str, str], float | None]:
    return {("42", f"case_{number:02d}"): value for number, value in enumerate(values)}


def test_seeds_are_averaged_before_cases() -> None:
    """Case a was seen by three seeds and b by one: the mean is (2 + 10) / 2, not (1 + 2 + 3 + 10) / 4."""
    values = {("1", "a"): 1.0, ("2", "a"): 2.0, ("3", "a"): 3.0, ("1", "b"): 10.0, ("2", "b"): None}
    assert average_cases(values) == {"a": 2.0, "b": 10.0}
    summary = summarize(values)
    assert (summary.n_cases, summary.n_seeds, summary.missing) == (2, 3, 1)
    assert summary.mean == pytest.approx(6.0)
    assert summary.sd == pytest.approx(np.std([2, 10], ddof=1))


def test_seed_sd_takes_the_cases_that_every_seed_has() -> None:
    values = {("1", "a"): 1.0, ("2", "a"): 3.0, ("1", "b"): 5.0, ("2", "b"): 9.0, ("1", "hard"): 100.0}
    assert compute_seed_sd(values) == pytest.approx(np.std([3.0, 6.0], ddof=1))
    assert compute_seed_sd(one_seed([1.0, 2.0])) is None
    assert compute_seed_sd({}) is None


def test_nothing_is_not_zero() -> None:
    summary = summarize({("1", "a"): None, ("1", "b"): float("nan")})
    assert (summary.mean, summary.sd, summary.ci95, summary.n_cases, summary.missing) == (None, None, None, 0, 2)
    alone = summarize({("1", "a"): 4.0})
    assert (alone.mean, alone.sd, alone.ci95) == (4.0, None, None)


def test_bootstrap_covers_the_mean_nineteen_times_in_twenty() -> None:
    random = np.random.default_rng(0)
    intervals = [bootstrap_ci95(random.normal(3.0, 1.0, 40).tolist()) for _ in range(120)]
    covered = np.mean([low <= 3.0 <= high for low, high in intervals])
    assert 0.90 <= covered <= 0.985


def test_bootstrap_is_seeded_and_over_cases() -> None:
    sample = [1.03, 4.41, 2.92, 8.15, 5.26, 3.37, 0.08]
    assert bootstrap_ci95(sample) == bootstrap_ci95(sample)
    assert bootstrap_ci95(sample) != bootstrap_ci95(sample, seed=1)
    low, high = bootstrap_ci95([0.0, 1.0] * 50)
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.05, 0.5 + 1.96 * 0.05), abs=0.011)


def test_published_wilcoxon() -> None:
    """W+ = 40 of 45 gives the one-sided P = 0.020 of the textbook; two-sided 0.0391."""
    test = compare_pairs(one_seed(AFTER), one_seed(BEFORE))
    assert test.p_value == pytest.approx(0.0390625, abs=1e-9)
    assert test.rank_biserial == pytest.approx((40 - 5) / 45)
    differences = np.subtract(BEFORE, AFTER)
    assert test.mean_difference == pytest.approx(differences.mean())
    assert test.cohen_dz == pytest.approx(differences.mean() / differences.std(ddof=1))


def test_ties_are_counted_exactly() -> None:
    """All 2^7 sign changes of tied ranks, by hand."""
    changes = np.array([1.0, 1.0, 2.0, 2.0, 2.0, -1.0, 3.0])
    ranks = stats.rankdata(np.abs(changes))
    observed = abs(ranks @ np.sign(changes))
    extreme = [abs(ranks @ signs) >= observed - 1e-9 for signs in itertools.product([-1, 1], repeat=7)]
    test = compare_pairs(one_seed([0.0] * 7), one_seed(changes.tolist()))
    assert test.p_value == pytest.approx(np.mean(extreme))


@pytest.mark.parametrize("pairs", range(1, 9))
def test_few_cases_cannot_be_significant(pairs: int) -> None:
    test = compare_pairs(one_seed([10.0] * pairs), one_seed([1.0 + 0.1 * n for n in range(pairs)]))
    assert test.p_value == pytest.approx(2 / 2**pairs)
    if pairs < 6:
        assert "cannot be significant" in test.note
        assert f"{2 / 2**pairs:.3g}" in test.note
        assert test.p_value > 0.05
    else:
        assert test.note == ""


def test_cases_that_do_not_differ_say_nothing() -> None:
    same = compare_pairs(one_seed([1.0, 2.0, 3.0]), one_seed([1.0, 2.0, 3.0]))
    assert (same.p_value, same.rank_biserial, same.cohen_dz, same.note) == (None, None, None, "no case differs")
    part = compare_pairs(one_seed([1.0] * 9), one_seed([1.0] * 5 + [2.0, 3.0, 4.0, 5.0]))
    assert "4 cases that differ (of 9) cannot be significant" in part.note
    rounded = compare_pairs(
        one_seed([0.3] * 3), {(s, f"case_0{n}"): v for n in range(3) for s, v in (("1", 0.1), ("2", 0.5))}
    )
    assert (rounded.note, rounded.cohen_dz, rounded.mean_difference) == ("no case differs", None, 0.0)
    third = compare_pairs(one_seed([0.3, 0.3, 1.0]), one_seed([0.1 + 0.2, 0.3, 1.0]))
    assert (third.note, third.cohen_dz) == ("no case differs", None)
    assert compare_pairs(one_seed([1.0]), {("1", "other"): 2.0}).note == "no case has a value in both"


def test_only_shared_cases_are_paired() -> None:
    first = {("1", "a"): 1.0, ("1", "b"): 2.0, ("1", "c"): None}
    second = {("1", "b"): 5.0, ("1", "c"): 7.0}
    test = compare_pairs(first, second)
    assert (test.n_pairs, test.mean_difference) == (1, 3.0)


@pytest.mark.parametrize(("gain", "counts"), [(1.9, False), (2.1, True), (-2.1, True)])
def test_an_effect_counts_beyond_twice_the_seed_sd(gain: float, counts: bool) -> None:
    """Two seeds whose means are sqrt(2) apart have an SD of 1; the quieter model's SD does not lower the bar."""
    spread = np.sqrt(2) / 2
    first = {(s, f"c{n}"): n + d for n in range(4) for s, d in (("1", -spread), ("2", spread))}
    second = {(s, f"c{n}"): n + gain for n in range(4) for s in ("1", "2")}
    assert compare_pairs(first, second).exceeds_seed_noise is counts
    assert compare_pairs(second, first).exceeds_seed_noise is counts
    assert compare_pairs(one_seed([1.0, 2.0]), one_seed([3.0, 4.0])).exceeds_seed_noise is None


def test_holm_by_hand() -> None:
    """0.01 x 4, 0.02 x 3, 0.03 x 2 -> 0.06 (not below the step before), 0.2; an absent p takes no place."""
    assert correct_by_holm([0.03, None, 0.01, 0.2, 0.02]) == pytest.approx([0.06, None, 0.04, 0.2, 0.06])
    assert correct_by_holm([0.9, 0.8]) == [1.0, 1.0]
    assert correct_by_holm([]) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_p_and_bonferroni(p_values: list[float]) -> None:
    corrected = correct_by_holm(p_values)
    for p, found in zip(p_values, corrected, strict=True):
        assert p <= found <= min(1, len(p_values) * p) + 1e-12
    assert np.argsort(corrected, kind="stable").tolist() == sorted(
        range(len(p_values)), key=lambda n: (corrected[n], n)
    )
    assert all(
        corrected[a] <= corrected[b]
        for a in range(len(p_values))
        for b in range(len(p_values))
        if p_values[a] < p_values[b]
    )


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(-50, 50).map(lambda v: round(v, 3)), min_size=6, max_size=12))
def test_swapping_models_turns_signs_only(changes: list[float]) -> None:
    zero = one_seed([0.0] * len(changes))
    there, back = compare_pairs(zero, one_seed(changes)), compare_pairs(one_seed(changes), zero)
    assert there.p_value == back.p_value
    if there.rank_biserial is not None:
        assert there.rank_biserial == pytest.approx(-back.rank_biserial)
    assert there.mean_difference == pytest.approx(-back.mean_difference)
