"""Statistics of a cohort in which the case is the unit.

A case seen by three seeds is one observation, not three: values are averaged over seeds first, then over cases. Tests
are paired by case: Wilcoxon signed-rank (Biometrics Bull. 1, 1945), Holm's correction (Scand. J. Stat. 6, 1979),
matched-pairs rank-biserial correlation (Kerby, Compr. Psychol. 3, 2014) and Cohen's d_z as effect sizes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Values = Mapping[tuple[str, str], float | None]
"""One metric of one model: (seed, case) -> value, None where it could not be evaluated."""
Doubles = NDArray[np.float64]

ALPHA = 0.05
FEWEST_PAIRS = 6
"""The smallest two-sided p of n pairs is 2 / 2^n: 0.0625 for five, 0.03125 for six."""
FEW_CASES = 10
NARROW = f"a bootstrap of fewer than {FEW_CASES} cases gives too narrow 95 % intervals (of 2, their range)"
"""What stands beside intervals of the mean of normal values: those of 5 cases cover it 85 times in 100, of 2, 50."""
RESAMPLES = 10_000
BOOTSTRAP_SEED = 42
_MOST_PAIRS_ENUMERATED = 13


@dataclass(frozen=True)
class Summary:
    """Mean over cases of the seed averages, SD over cases, 95 % interval of the mean, SD over seeds of the mean.

    sd and ci95 are None for a single case, seed_sd for a single seed, mean without any value. missing counts the
    (seed, case) values that could not be evaluated.
    """

    n_cases: int
    n_seeds: int
    mean: float | None
    sd: float | None
    ci95: tuple[float, float] | None
    seed_sd: float | None
    missing: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class PairedTest:
    """Second model minus first, over the cases that both have.

    p_value: two-sided Wilcoxon signed-rank; p_holm: corrected for the metrics tested together. rank_biserial: share of
    rank sum that rose minus share that fell, -1 to 1. cohen_dz: mean over SD of the differences. exceeds_seed_noise:
    whether the mean difference is more than twice the larger seed SD, None with one seed. note: what limits the test.
    """

    n_pairs: int
    mean_difference: float | None
    ci95: tuple[float, float] | None
    p_value: float | None
    rank_biserial: float | None
    cohen_dz: float | None
    exceeds_seed_noise: bool | None
    p_holm: float | None = None
    note: str = ""

    @property
    def significant(self) -> bool:
        """Whether the corrected p lies below 0.05; never with fewer than 6 pairs that differ."""
        return self.p_holm is not None and self.p_holm < ALPHA

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "significant": self.significant}


def average_cases(values: Values) -> dict[str, float]:
    """Average over seeds for each case that has a value."""
    by_case: dict[str, list[float]] = defaultdict(list)
    for (_, case), value in sorted(values.items()):
        if _is_number(value):
            by_case[case].append(value)
    return {case: float(np.mean(of_case)) for case, of_case in by_case.items()}


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and bool(np.isfinite(value))


def compute_seed_sd(values: Values) -> float | None:
    """SD over seeds of the mean over cases, from the cases that every seed has; None with fewer than two seeds."""
    by_seed: dict[str, dict[str, float]] = defaultdict(dict)
    for (seed, case), value in values.items():
        if _is_number(value):
            by_seed[seed][case] = value
    shared = set.intersection(*map(set, by_seed.values())) if by_seed else set()
    if len(by_seed) < 2 or not shared:
        return None
    return float(np.std([np.mean([of_seed[case] for case in shared]) for of_seed in by_seed.values()], ddof=1))


def bootstrap_ci95(observations: Sequence[float], seed: int = BOOTSTRAP_SEED) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean over cases, the same for the same seed; None for fewer than two."""
    if len(observations) < 2:
        return None
    sample = np.asarray(observations, np.float64)
    drawn = np.random.default_rng(seed).integers(0, sample.size, (RESAMPLES, sample.size))
    low, high = np.percentile(sample[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def summarize(values: Values) -> Summary:
    """Describe one metric of one model over a cohort."""
    means = list(average_cases(values).values())
    return Summary(
        n_cases=len(means),
        n_seeds=len({seed for (seed, _), value in values.items() if _is_number(value)}),
        mean=float(np.mean(means)) if means else None,
        sd=float(np.std(means, ddof=1)) if len(means) > 1 else None,
        ci95=bootstrap_ci95(means),
        seed_sd=compute_seed_sd(values),
        missing=sum(not _is_number(value) for value in values.values()),
    )


def compare_pairs(first: Values, second: Values) -> PairedTest:
    """Compare two models on one metric. p_holm is left for holm(), which sees all metrics."""
    one, other = average_cases(first), average_cases(second)
    cases = sorted(one.keys() & other.keys())
    differences = _drop_rounding(np.array([other[case] - one[case] for case in cases]), one, other, cases)
    noise = [sd for sd in (compute_seed_sd(first), compute_seed_sd(second)) if sd is not None]
    mean = float(differences.mean()) if cases else None
    spread = float(differences.std(ddof=1)) if len(cases) > 1 else 0.0
    changed = differences[differences != 0]
    return PairedTest(
        n_pairs=len(cases),
        mean_difference=mean,
        ci95=bootstrap_ci95(differences.tolist()),
        p_value=_compute_wilcoxon_p(changed),
        rank_biserial=_compute_rank_biserial(changed),
        cohen_dz=mean / spread if mean is not None and spread > 0 else None,
        exceeds_seed_noise=abs(mean) > 2 * max(noise) if noise and mean is not None else None,
        note=_describe_limits(len(cases), changed.size),
    )


def _drop_rounding(
    differences: Doubles, one: Mapping[str, float], other: Mapping[str, float], cases: list[str]
) -> Doubles:
    """Set to 0 the differences that are only rounding in the averages over seeds."""
    size = np.array([max(abs(one[case]), abs(other[case])) for case in cases])
    return np.where(np.abs(differences) > 1e-12 * size, differences, 0.0)


def _describe_limits(pairs: int, changed: int) -> str:
    if pairs == 0:
        return "no case has a value in both"
    if changed == 0:
        return "no case differs"
    if changed < FEWEST_PAIRS:
        smallest = 2 / 2**changed
        what = f"{changed} {'case' if changed == 1 else 'cases'}"
        what += "" if changed == pairs else f" that differ{'s' if changed == 1 else ''} (of {pairs})"
        return f"{what} cannot be significant: the smallest two-sided p of {changed} is {smallest:.3g}"
    return ""


def _compute_wilcoxon_p(changed: Doubles) -> float | None:
    """Exact where scipy can: without ties up to 50 pairs, with ties by all sign changes up to 13."""
    if changed.size == 0:
        return None
    ties = np.unique(np.abs(changed)).size < changed.size
    method: Any = "auto"
    if ties and changed.size <= _MOST_PAIRS_ENUMERATED:
        method = stats.PermutationMethod(n_resamples=2**_MOST_PAIRS_ENUMERATED)
    elif ties:
        method = "asymptotic"
    return float(stats.wilcoxon(changed, method=method).pvalue)


def _compute_rank_biserial(changed: Doubles) -> float | None:
    if changed.size == 0:
        return None
    ranks = stats.rankdata(np.abs(changed))
    return float((ranks @ np.sign(changed)) / ranks.sum())


def correct_by_holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction, in the given order; None stays None and does not count."""
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        corrected[index] = highest
    return corrected
