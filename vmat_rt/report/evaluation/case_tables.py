"""Tables of single cases: those that several seeds saw, those that stand out, those that failed, plans that do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from vmat_rt.report.evaluation.labels import ABSENT, describe_quantity, format_number
from vmat_rt.report.evaluation.pooled import Model, Pooled, order_seeds, summarize_spread
from vmat_rt.report.evaluation.tables import Row, Table

FEWEST_FOR_FENCES: Final = 5
_MOST_ROWS: Final = 40
_WATCHED: Final = ("mae_gy", "mae_target_gy", "gamma_global_percent", "gamma_target_percent", "d95_abs_gap_gy")


def tabulate_recurring(model: Model) -> Table | None:
    """Cases that two or more seeds were evaluated on, worst first, and whether they are hard for every seed."""
    errors = model.values.get("mae_gy", {})
    ranks = _rank_cases(errors)
    by_case: dict[str, list[tuple[str, float]]] = {}
    for (seed, case), value in sorted(errors.items(), key=lambda item: order_seeds(item[0][0])):
        if value is not None:
            by_case.setdefault(case, []).append((seed, value))
    repeated = {case: own for case, own in by_case.items() if len(own) > 1}
    if not repeated:
        return None
    gamma = model.by_case("gamma_target_percent")
    ordered = sorted(repeated, key=lambda case: -float(np.mean([value for _, value in repeated[case]])))
    rows = [_describe_recurring(case, repeated[case], ranks, gamma.get(case)) for case in ordered[:_MOST_ROWS]]
    header = (
        "Case", "Seeds", "MAE by seed, Gy", "Mean, Gy", "SD over seeds, Gy", "Place by seed (1 = worst)",
        "γ targets, mean, %",
    )  # fmt: skip
    caption = (
        f"{model.name}: {len(repeated)} of {len(by_case)} cases were evaluated for more than one seed. {_split(model)}"
    )
    if len(ordered) > _MOST_ROWS:
        caption += f" The {_MOST_ROWS} worst are shown."
    return Table(caption, header, tuple(rows))


def _rank_cases(values: dict[tuple[str, str], float | None]) -> dict[tuple[str, str], str]:
    """Place of each (seed, case) among the cases of its seed, `1/12` the worst."""
    ranks: dict[tuple[str, str], str] = {}
    for seed in {seed for seed, _ in values}:
        own = sorted(((v, case) for (of, case), v in values.items() if of == seed and v is not None), reverse=True)
        ranks |= {(seed, case): f"{rank}/{len(own)}" for rank, (_, case) in enumerate(own, start=1)}
    return ranks


def _describe_recurring(
    case: str, own: Sequence[tuple[str, float]], ranks: dict[tuple[str, str], str], gamma: float | None
) -> Row:
    values = [value for _, value in own]
    return (
        case,
        ", ".join(seed for seed, _ in own),
        ", ".join(f"{value:.2f}" for value in values),
        f"{np.mean(values):.2f}",
        f"{np.std(values, ddof=1):.2f}",
        ", ".join(ranks[seed, case] for seed, _ in own),
        format_number(gamma, "%"),
    )


def _split(model: Model) -> str:
    spread = summarize_spread(model.values["mae_gy"])
    if spread is None:
        return ""
    between, within = spread
    return f"MAE varies by {between:.2f} Gy (SD) between cases and by {within:.2f} Gy between the seeds of one case."


def tabulate_outliers(pooled: Pooled) -> Table | None:
    """Cases beyond Tukey's fences (1.5 interquartile ranges) on the bad side; None where no model has enough cases."""
    rows: list[Row] = []
    judged = False
    for model in pooled.models:
        metrics = [m for name in _WATCHED for m in model.values if m.partition(":")[0] == name]
        for metric in metrics:
            values = model.by_case(metric)
            if len(values) >= FEWEST_FOR_FENCES:
                judged = True
                rows += _find_beyond(model, metric, values)
    header = ("Case", "Model", "Metric", "Value", "Fence", "Median")
    caption = "Worse than the quartile by more than 1.5 interquartile ranges (Tukey); a case counts with its seed mean."
    return Table(caption, header, tuple(sorted(rows)), names=3) if judged else None


def _find_beyond(model: Model, metric: str, values: dict[str, float]) -> list[Row]:
    what = describe_quantity(metric)
    first, middle, third = np.percentile(list(values.values()), [25, 50, 75])
    reach = 1.5 * (third - first)
    fence = third + reach if what.better == "lower" else first - reach
    worse = [case for case, v in values.items() if (v > fence if what.better == "lower" else v < fence)]
    numbers = {case: (what.text(values[case]), what.text(float(fence)), what.text(float(middle))) for case in worse}
    return [(case, model.name, what.axis, *numbers[case]) for case in worse]


def tabulate_failures(pooled: Pooled) -> Table | None:
    """Cases that gave no result, and why; None when every case gave one."""
    rows = []
    for model in pooled.models:
        for (seed, case), value in sorted(model.values.get("failed", {}).items()):
            if value:
                document = model.documents.get((seed, case))
                problems = document.problems if document is not None else []
                reason = "; ".join(f"{p.message} [{p.code}]" for p in problems) or "its document is not there"
                rows.append((case, model.name, seed or ABSENT, reason))
    return Table("Cases without a result.", ("Case", "Model", "Seed", "Reason"), tuple(rows), names=4) if rows else None


def tabulate_clinical(pooled: Pooled) -> Table | None:
    """Plans that are worse than predicted, ranked; None where no evaluation asked."""
    with_clinical = [evaluation for evaluation in pooled.evaluations if evaluation.clinical is not None]
    if not with_clinical:
        return None
    rows: list[Row] = []
    for evaluation in with_clinical:
        document = evaluation.clinical
        assert document is not None
        for f in document.findings[:_MOST_ROWS]:
            model = f"{f.model}, seed {f.seed}" if f.seed else f.model
            numbers = (format_number(value, f.unit) for value in (f.clinical, f.predicted, f.excess))
            rows.append((str(f.rank), f.case, f.structure, f"{f.metric}, {f.unit}", model, *numbers, f"{f.z:.1f}"))
    header = ("Rank", "Case", "Structure", "Metric", "Model", "Clinical", "Predicted", "Worse by", "z")
    thresholds = ", ".join(f"{e.clinical.threshold_z:g}" for e in with_clinical if e.clinical is not None)
    caption = f"Clinical plans worse than predicted by more than the model's own spread (z above {thresholds})."
    total = sum(len(evaluation.clinical.findings) for evaluation in with_clinical if evaluation.clinical is not None)
    if total > len(rows):
        caption += f" The {len(rows)} worst of {total} are shown; against_clinical.csv lists all."
    return Table(caption, header, tuple(rows), names=5)
