"""Case documents -> rows of results.csv and the pooled numbers of aggregate.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

import numpy as np

from vmat_rt.metrics.statistics.compare import POOLED
from vmat_rt.metrics.statistics.paired import (
    BOOTSTRAP_SEED,
    RESAMPLES,
    Values,
    average_cases,
    compute_seed_sd,
    summarize,
)
from vmat_rt.metrics.statistics.results_file import ResultRow
from vmat_rt.report.evaluation_schema import CaseDocument, MetricSummary, ModelAggregate, SubjectRole


def make_result_rows(documents: Sequence[CaseDocument]) -> list[ResultRow]:
    """Make one row per metric and case, and `failed` for every case.

    A failed case has empty values for the metrics that every other case of its model has: absent is not zero.
    """
    rows = []
    for document in documents:
        expected = [*_find_common(documents, document.model), "failed"]
        values = {**dict.fromkeys(expected), **document.metrics, "failed": float(document.status == "failed")}
        named = (document.model, document.seed, document.case)
        rows += [ResultRow(*named, metric, value) for metric, value in values.items()]
    return rows


def _find_common(documents: Iterable[CaseDocument], model: str) -> list[str]:
    """Metrics that all finished cases of the model have, in their order."""
    done = [document.metrics for document in documents if document.model == model and document.status == "done"]
    return [name for name in done[0] if all(name in metrics for metrics in done)] if done else []


def aggregate(documents: Sequence[CaseDocument], roles: Mapping[str, SubjectRole]) -> dict[str, ModelAggregate]:
    """Each model with its seeds pooled, in the order of `roles` (model name -> role)."""
    return {
        name: _aggregate_model([document for document in documents if document.model == name], role)
        for name, role in roles.items()
    }


def _aggregate_model(documents: Sequence[CaseDocument], role: SubjectRole) -> ModelAggregate:
    done = [document for document in documents if document.status == "done"]
    names = dict.fromkeys(name for document in done for name in document.metrics)
    metrics: dict[str, MetricSummary | dict[str, MetricSummary]] = {}
    for name in names:
        summary = _summarise({(d.seed, d.case): d.metrics[name] for d in done if name in d.metrics})
        metric, _, structure = name.partition(":")
        if structure:
            by_structure = metrics.setdefault(metric, {})
            assert isinstance(by_structure, dict)
            by_structure[structure] = summary
        else:
            metrics[metric] = summary
    pooled = _pool_dvh_score(done)
    if pooled is not None:
        metrics[POOLED] = pooled
    return ModelAggregate(
        role=role,
        seeds=sorted({document.seed for document in documents if document.seed}, key=int),
        n_cases=len({document.case for document in done}),
        n_failed=len(documents) - len(done),
        metrics=metrics,
    )


def _summarise(values: Values) -> MetricSummary:
    summary = summarize(values)
    by_seed = {
        seed: summarize({key: value for key, value in values.items() if key[0] == seed}).mean
        for seed in sorted({seed for seed, _ in values if seed}, key=int)
    }
    return MetricSummary(
        mean=summary.mean, sd=summary.sd, ci95=summary.ci95, n=summary.n_cases, seed_sd=summary.seed_sd, by_seed=by_seed
    )


def _pool_dvh_score(done: Sequence[CaseDocument]) -> MetricSummary | None:
    """OpenKBP's DVH score: the mean of all entries of a seed, then over seeds. sd: over patients, of their own means.

    The interval draws patients, with all their entries of all seeds. None where no case is OpenKBP's.
    """
    entries = {(d.seed, d.case): list(d.openkbp.dvh_errors_gy.values()) for d in done if d.openkbp is not None}
    entries = {key: own for key, own in entries.items() if own}
    if not entries:
        return None
    everyone = {case for _, case in entries}
    means = {seed: _mean_of(entries, seed, everyone) for seed in sorted({seed for seed, _ in entries})}
    of_all = set.intersection(*({case for of, case in entries if of == seed} for seed in means))
    shared = {(seed, "all"): _mean_of(entries, seed, of_all) for seed in means if of_all}
    patients = average_cases({key: float(np.mean(own)) for key, own in entries.items()})
    return MetricSummary(
        mean=float(np.mean(list(means.values()))),
        sd=float(np.std(list(patients.values()), ddof=1)) if len(patients) > 1 else None,
        ci95=_pool_ci95(entries, list(patients)),
        n=len(patients),
        seed_sd=compute_seed_sd(shared),
        by_seed={seed: mean for seed, mean in means.items() if seed},
    )


def _mean_of(entries: Mapping[tuple[str, str], Sequence[float]], seed: str, cases: Set[str]) -> float:
    """Mean of all entries that a seed has in these cases."""
    return float(
        np.mean([entry for (of, case), own in entries.items() if of == seed and case in cases for entry in own])
    )


def _pool_ci95(
    entries: Mapping[tuple[str, str], Sequence[float]], patients: Sequence[str]
) -> tuple[float, float] | None:
    """Bootstrap interval of the same mean, over a seed's entries and then over seeds; None for one patient."""
    if len(patients) < 2:
        return None
    drawn = np.random.default_rng(BOOTSTRAP_SEED).integers(0, len(patients), (RESAMPLES, len(patients)))
    means = []
    for seed in sorted({seed for seed, _ in entries}):
        own = [entries.get((seed, patient), ()) for patient in patients]
        sums, counts = np.array([sum(values) for values in own]), np.array([len(values) for values in own])
        total = counts[drawn].sum(axis=1)
        # A draw may hold none of the patients of a seed that saw few.
        means.append(np.divide(sums[drawn].sum(axis=1), total, out=np.full(RESAMPLES, np.nan), where=total > 0))
    over_seeds = np.nanmean(np.stack(means), axis=0)
    low, high = np.percentile(over_seeds, [2.5, 97.5])
    return float(low), float(high)
