"""Table: rows of text for the page. Those of results: over seeds, by structure, compared, and goals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vmat_rt.metrics.statistics.compare import JUDGED, POOLED, Comparison, compare_rows
from vmat_rt.metrics.statistics.paired import PairedTest, summarize
from vmat_rt.report.evaluation.goal_map import VERDICTS, GoalMap
from vmat_rt.report.evaluation.labels import (
    ABSENT,
    HEADLINE,
    MetricQuantity,
    describe_quantity,
    format_number,
    sort_metrics,
)
from vmat_rt.report.evaluation.pooled import Model, Pooled

Row = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """One table. The first `names` columns are words, the others numbers. An empty first cell continues the row above.

    strong: numbers of rows that are set in bold; flagged: those that need attention.
    """

    caption: str
    header: Row
    rows: tuple[Row, ...]
    names: int = 1
    strong: frozenset[int] = frozenset()
    flagged: frozenset[int] = frozenset()


def tabulate_seeds(pooled: Pooled) -> Table:
    """Every headline metric of every model: over seeds, then over cases."""
    rows: list[Row] = []
    strong = set()
    for metric in sort_metrics(pooled.metrics, HEADLINE):
        shown = [model for model in pooled.models if model.by_case(metric)]
        best = _find_best(shown, metric)
        for index, model in enumerate(shown):
            if model is best and len(shown) > 1:
                strong.add(len(rows))
            rows.append(("" if index else describe_quantity(metric).axis, model.name, *_format_numbers(model, metric)))
    header = (
        "Metric", "Model", "Mean ± SD over seeds", "Range over seeds", "SD over cases",
        "95 % CI of the cases' mean", "Seeds", "Cases", "Without a value",
    )  # fmt: skip
    caption = (
        "Mean of the seeds' means ± their SD, and their range; SD over cases and bootstrap interval of the cases' mean "
        "(cases drawn, each with its mean over seeds; where seeds have different cases, that mean is another). "
        "Bold: the best mean on the same cases, where one direction is better."
    )
    return Table(caption, header, tuple(rows), names=2, strong=frozenset(strong))


def _format_numbers(model: Model, metric: str) -> Row:
    what, by_seed = describe_quantity(metric), list(model.by_seed(metric).values())
    summary = summarize(model.values[metric])
    mean = what.text(float(np.mean(by_seed)))
    several = len(by_seed) > 1
    over = f"{mean} ± {what.spread(float(np.std(by_seed, ddof=1)))}" if several else mean
    extent = f"{what.text(min(by_seed))} to {what.text(max(by_seed))}" if several else ABSENT
    interval = _format_interval(summary.ci95, what) if metric != POOLED else ABSENT
    seeds = str(len(model.seeds)) if model.seeds else ABSENT
    return over, extent, what.spread(summary.sd), interval, seeds, str(summary.n_cases), str(summary.missing)


def _find_best(models: Sequence[Model], metric: str) -> Model | None:
    better = describe_quantity(metric).better
    if better not in {"lower", "higher"} or not models:
        return None
    if len({frozenset(model.by_case(metric)) for model in models}) > 1:
        return None
    sign = 1 if better == "lower" else -1
    return min(models, key=lambda model: sign * float(np.mean(list(model.by_seed(metric).values()))))


def _format_interval(interval: tuple[float, float] | None, what: MetricQuantity) -> str:
    return ABSENT if interval is None else f"{what.text(interval[0])} to {what.text(interval[1])}"


def tabulate_structures(pooled: Pooled) -> Table | None:
    """Mean ± SD over cases of the gaps of each structure; None without any."""
    names = ("d95_gap_gy", "mean_gap_gy", "near_max_gap_gy")
    structures = list(dict.fromkeys(m.partition(":")[2] for m in sort_metrics(pooled.metrics, names)))
    rows = []
    for structure in structures:
        for index, model in enumerate(pooled.models):
            cells = [_format_mean_sd(model, f"{name}:{structure}") for name in names]
            counts = [len(model.by_case(f"{name}:{structure}")) for name in names]
            rows.append(("" if index else structure, model.name, *cells, str(max(counts))))
    header = ("Structure", "Model", *(f"{describe_quantity(name).label}, Gy" for name in names), "Cases")
    caption = "Predicted − reference, mean ± SD over cases (of their seed means)."
    return Table(caption, header, tuple(rows), names=2) if rows else None


def _format_mean_sd(model: Model, metric: str) -> str:
    what, values = describe_quantity(metric), list(model.by_case(metric).values())
    if not values:
        return ABSENT
    sd = what.spread(float(np.std(values, ddof=1))) if len(values) > 1 else ABSENT
    return f"{what.text(float(np.mean(values)))} ± {sd}"


def compare_models(pooled: Pooled) -> Comparison | None:
    """Every model against the first, on the metrics that have a better direction; None for one model alone."""
    rows = pooled.rows(sort_metrics(pooled.metrics, JUDGED))
    return compare_rows(rows) if len({row.model for row in rows}) > 1 else None


def tabulate_comparison(comparison: Comparison) -> Table:
    """Paired tests; flagged where the corrected p is below 0.05."""
    rows: list[Row] = []
    flagged = set()
    for model, tests in comparison.tests.items():
        for index, (metric, test) in enumerate(tests.items()):
            if test.significant:
                flagged.add(len(rows))
            rows.append(("" if index else f"{model} − {comparison.baseline}", *_format_test(metric, test)))
    header = (
        "Models", "Metric", "Direction", "Mean difference", "95 % CI", "Pairs", "p", "p, Holm", "Rank-biserial",
        "Cohen d_z", "> 2 seed SD",
    )  # fmt: skip
    caption = (
        "Wilcoxon signed-rank, two-sided, paired by case (seeds averaged first), corrected by Holm over the metrics of "
        "one pair of models. Flagged: corrected p < 0.05."
    )
    return Table(caption, header, tuple(rows), names=3, flagged=frozenset(flagged))


def _format_test(metric: str, test: PairedTest) -> Row:
    what = describe_quantity(metric)
    ends = [format_number(end, what.unit, signed=True) for end in test.ci95 or ()]
    # Without a p no case differs by more than rounding, so nothing made of the differences means anything.
    differs = test.p_value is not None
    return (
        what.axis,
        _judge(test.mean_difference, what) if differs else ABSENT,
        format_number(test.mean_difference, what.unit, signed=True),
        " to ".join(ends) or ABSENT,
        str(test.n_pairs),
        _format_p(test.p_value),
        _format_p(test.p_holm),
        _format_plain(test.rank_biserial),
        _format_plain(test.cohen_dz if differs else None),
        {None: ABSENT, True: "yes", False: "no"}[test.exceeds_seed_noise if differs else None],
    )


def _judge(difference: float | None, what: MetricQuantity) -> str:
    if not difference:
        return ABSENT
    return "better" if (difference < 0) == (what.better == "lower") else "worse"


def _format_p(value: float | None) -> str:
    if value is None:
        return ABSENT
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _format_plain(value: float | None) -> str:
    return ABSENT if value is None else f"{value:+.2f}".replace("-", "−")


def tabulate_goals(maps: Iterable[GoalMap]) -> Table:
    """Goals of which the doses do not say the same in every prediction, by model; flagged: a false pass."""
    rows: list[Row] = []
    flagged = set()
    agreed = 0
    for goals in maps:
        named = False
        for goal_set, text in goals.verdicts:
            counts = goals.counts((goal_set, text))
            if not counts["false pass"] + counts["false fail"] + counts["not judged"]:
                agreed += 1
                continue
            if counts["false pass"]:
                flagged.add(len(rows))
            cells = [str(counts[kind]) for kind in VERDICTS]
            rows.append(("" if named else goals.model, goal_set.replace("_", " "), text, *cells))
            named = True
    header = ("Model", "Goal set", "Goal", "Both met", "Both missed", "False pass", "False fail", "Not judged")
    caption = (
        "Predictions (case and seed) by what both doses say of a goal. Left out: "
        f"{agreed} goals of a model on which they agree in every prediction. Flagged: at least one false pass."
    )
    return Table(caption, header, tuple(rows), names=3, flagged=frozenset(flagged))
