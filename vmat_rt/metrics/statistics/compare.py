"""Compare models over one cohort: the table and the tests behind `vmat-rt compare`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from vmat_rt.errors import InputError, Problem
from vmat_rt.metrics.statistics.paired import (
    FEW_CASES,
    NARROW,
    PairedTest,
    Summary,
    compare_pairs,
    correct_by_holm,
    summarize,
)
from vmat_rt.metrics.statistics.results_file import ResultRow, read_results

JUDGED: Final = (
    "mae_gy", "mae_target_gy", "mae_outside_gy", "gamma_global_percent", "gamma_target_percent", "d95_abs_gap_gy",
    "goals_agreement_percent", "openkbp_dose_score", "openkbp_dvh_score",
)  # fmt: skip
"""What an evaluation's models are tested on, each by structure where it has any: numbers of which one direction is
better. Of the others a test would mean nothing, but its p would count in the correction of these."""

POOLED: Final = "openkbp_dvh_score"
"""The challenge averages it over all entries of all patients, not over patients."""
_VARIES: Final = frozenset({"seconds"})
"""What no two evaluations of one model have in common."""

Table = dict[str, dict[str, dict[tuple[str, str], float | None]]]
"""model -> metric -> (seed, case) -> value."""
Line = tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Models in the order they were met, the first the baseline; what each metric is; every other model against it.

    summaries: model -> metric -> Summary. tests: model -> metric -> PairedTest of that model minus the baseline, with
    Holm's correction over the metrics of the model. notes: what a reader must know before the numbers.
    """

    models: tuple[str, ...]
    metrics: tuple[str, ...]
    summaries: dict[str, dict[str, Summary]]
    tests: dict[str, dict[str, PairedTest]]
    notes: tuple[str, ...] = ()

    @property
    def baseline(self) -> str:
        return self.models[0]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "baseline": self.baseline,
            "models": {
                model: {"metrics": {metric: summary.as_dict() for metric, summary in by_metric.items()}}
                for model, by_metric in self.summaries.items()
            },
            "tests": {
                model: {metric: test.as_dict() for metric, test in by_metric.items()}
                for model, by_metric in self.tests.items()
            },
            "notes": list(self.notes),
        }

    def as_text(self) -> str:
        """Both tables for a terminal."""
        rows: list[Line] = [("metric", "model", "cases", "seeds", "mean", "SD", "95 % CI", "seed SD")]
        tests: list[Line] = [
            ("metric", "difference", "pairs", "mean", "95 % CI", "p", "p (Holm)", "r_rb", "d_z", "> 2 seed SD")
        ]
        for metric in self.metrics:
            for model in self.models:
                if metric in self.summaries[model]:
                    rows.append((metric, model, *_format_summary(self.summaries[model][metric])))
                if metric in self.tests.get(model, {}):
                    tests.append((metric, f"{model} - {self.baseline}", *_format_test(self.tests[model][metric])))
        parts = [_align_columns(rows)]
        if len(tests) > 1:
            parts.append(_align_columns(tests))
        parts += [f"Note: {note}" for note in self.notes]
        return "\n\n".join(parts)


def compare_results(paths: Sequence[Path]) -> Comparison:
    """Read results files (or the folders that hold them) and compare their models.

    Files may hold several models, or several seeds of one: rows are pooled by model. Raises InputError when a file
    cannot be read, or says two things of one model, seed, case and metric.
    """
    return compare_rows(row for path in paths for row in read_results(path))


def compare_rows(rows: Iterable[ResultRow]) -> Comparison:
    """Compare the models of these rows; the first one met is the baseline. Errors as in compare_results."""
    table = _tabulate(rows)
    models = tuple(table)
    metrics = tuple(dict.fromkeys(metric for by_metric in table.values() for metric in by_metric))
    summaries = {model: {m: summarize(values) for m, values in by_metric.items()} for model, by_metric in table.items()}
    tests = {model: _test_against(table[models[0]], table[model]) for model in models[1:]}
    return Comparison(models, metrics, summaries, tests, _write_notes(table, tests))


def _tabulate(rows: Iterable[ResultRow]) -> Table:
    table: Table = {}
    twice = 0
    for row in rows:
        cell = table.setdefault(row.model, {}).setdefault(row.metric, {})
        before = cell.setdefault((row.seed, row.case), row.value)
        twice += row.metric not in _VARIES and not _is_same(before, row.value)
    if twice:
        raise InputError(
            Problem(
                "RESULTS_TWICE",
                f"{twice} rows give a model, seed, case and metric another value than a row before.",
                "Give models that differ different names, and runs that differ different seeds.",
            )
        )
    if not table:
        raise InputError(Problem("RESULTS_EMPTY", "There is nothing to compare.", "Give at least one results file."))
    return table


def _is_same(one: float | None, other: float | None) -> bool:
    """Whether two rows hold the same values, as those of a baseline that two evaluations share."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


def _test_against(baseline: dict[str, Any], model: dict[str, Any]) -> dict[str, PairedTest]:
    shared = _choose_judged([metric for metric in baseline if metric in model])
    tests = [compare_pairs(baseline[metric], model[metric]) for metric in shared]
    corrected = correct_by_holm([test.p_value for test in tests])
    return {m: replace(t, p_holm=p) for m, t, p in zip(shared, tests, corrected, strict=True)}


def _choose_judged(metrics: Sequence[str]) -> Sequence[str]:
    """Those in JUDGED; all of a table that has none of them, somebody else's."""
    return [metric for metric in metrics if metric.partition(":")[0] in JUDGED] or metrics


def _write_notes(table: Table, tests: dict[str, dict[str, PairedTest]]) -> tuple[str, ...]:
    notes = []
    if any(POOLED in by_metric for by_metric in table.values()):
        notes.append(
            f"{POOLED} is here the mean over patients of their own means, which pairs need; aggregate.json and the "
            "challenge pool all entries, in which patients with more structures count more"
        )
    if any(1 < len(_collect_cases(by_metric)) < FEW_CASES for by_metric in table.values()):
        notes.append(NARROW)
    if len(table) == 1:
        notes.append("one model alone is described, not tested")
    baseline, *others = table
    for model in others:
        ours, theirs = _collect_cases(table[model]), _collect_cases(table[baseline])
        if ours != theirs:
            notes.append(
                f"{model} and {baseline} share {len(ours & theirs)} cases; {len(ours - theirs)} only in {model} and "
                f"{len(theirs - ours)} only in {baseline} stay out of the tests"
            )
        by_note = defaultdict(list)
        for metric, test in tests[model].items():
            if test.note:
                by_note[test.note].append(metric)
        notes += [f"{model} - {baseline}, {', '.join(metrics)}: {note}" for note, metrics in by_note.items()]
    return tuple(notes)


def _collect_cases(by_metric: dict[str, Any]) -> set[str]:
    return {case for values in by_metric.values() for _, case in values}


def _format_summary(summary: Summary) -> tuple[str, ...]:
    numbers = (
        _format_number(summary.mean),
        _format_number(summary.sd),
        _format_interval(summary.ci95),
        _format_number(summary.seed_sd),
    )
    return (str(summary.n_cases), str(summary.n_seeds), *numbers)


def _format_test(test: PairedTest) -> tuple[str, ...]:
    noise = {None: "-", True: "yes", False: "no"}[test.exceeds_seed_noise]
    numbers = (test.p_value, test.p_holm, test.rank_biserial, test.cohen_dz)
    mean = _format_number(test.mean_difference, signed=True)
    return (
        str(test.n_pairs),
        mean,
        _format_interval(test.ci95),
        *(_format_number(number) for number in numbers),
        noise,
    )


def _format_number(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "-"
    return f"{value:+.4g}" if signed else f"{value:.4g}"


def _format_interval(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.4g} to {interval[1]:.4g}"


def _align_columns(rows: list[Line]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
