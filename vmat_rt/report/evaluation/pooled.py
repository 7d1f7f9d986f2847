"""Pooled: several evaluations as one table. A model is a name on one cohort and split; its seeds stay together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vmat_rt.metrics.statistics.compare import POOLED
from vmat_rt.metrics.statistics.paired import Values, average_cases
from vmat_rt.metrics.statistics.results_file import ResultRow
from vmat_rt.report.evaluation.read import Evaluation
from vmat_rt.report.evaluation_schema import CaseDocument, EvaluatedCohort, SubjectEntry


def order_seeds(seed: str) -> tuple[int, str]:
    """Sort key: seeds as the numbers that they are, none first."""
    return len(seed), seed


@dataclass
class Model:
    """One column of the report. values: metric -> (seed, case) -> value; documents: (seed, case) -> result."""

    name: str
    cohort: EvaluatedCohort
    subjects: dict[str, SubjectEntry] = field(default_factory=dict)
    values: dict[str, dict[tuple[str, str], float | None]] = field(default_factory=dict)
    documents: dict[tuple[str, str], CaseDocument] = field(default_factory=dict)
    evaluations: dict[tuple[str, str], Evaluation] = field(default_factory=dict)

    @property
    def is_baseline(self) -> bool:
        return all(subject.role == "baseline" for subject in self.subjects.values())

    @property
    def seeds(self) -> list[str]:
        """The seeds of its runs, in numerical order; empty for a model without seeds."""
        return sorted((seed for seed in self.subjects if seed), key=order_seeds)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every (seed, case) that was evaluated."""
        return sorted({pair for of_metric in self.values.values() for pair in of_metric})

    def by_case(self, metric: str) -> dict[str, float]:
        """Seed averages, for the cases that have a value."""
        return average_cases(self.values.get(metric, {}))

    def by_seed(self, metric: str) -> dict[str, float]:
        """Mean over the cases of each seed ("" for none); OpenKBP's DVH score pools the entries of all patients."""
        if metric == POOLED and self._scored():
            return self._scored()
        of_seed: dict[str, list[float]] = defaultdict(list)
        for (seed, _), value in self.values.get(metric, {}).items():
            if value is not None:
                of_seed[seed].append(value)
        return {seed: float(np.mean(values)) for seed, values in sorted(of_seed.items())}

    def _scored(self) -> dict[str, float]:
        entries: dict[str, list[float]] = defaultdict(list)
        for (seed, _), document in sorted(self.documents.items()):
            if document.openkbp is not None:
                entries[seed] += document.openkbp.dvh_errors_gy.values()
        return {seed: float(np.mean(own)) for seed, own in entries.items() if own}


@dataclass(frozen=True)
class Pooled:
    """All models in the order they were met; notes say what was put together how."""

    models: tuple[Model, ...]
    evaluations: tuple[Evaluation, ...]
    notes: tuple[str, ...]

    @property
    def simulated(self) -> bool:
        return any(evaluation.aggregate.cohort.simulated for evaluation in self.evaluations)

    @property
    def metrics(self) -> list[str]:
        """Every metric of any model, in the order they were met."""
        return list(dict.fromkeys(metric for model in self.models for metric in model.values))

    def rows(self, metrics: Iterable[str]) -> list[ResultRow]:
        """The result rows of these metrics, models in their order."""
        wanted = set(metrics)
        return [
            ResultRow(model.name, seed, case, metric, value)
            for model in self.models
            for metric, of_metric in model.values.items()
            if metric in wanted
            for (seed, case), value in of_metric.items()
        ]

    def focus(self, name: str | None = None) -> Model:
        """The model that pictures show: the one of that name, else the one with the lowest mean MAE; no baseline where
        there is another. Raises KeyError for an unknown name.
        """
        if name is not None:
            return {model.name: model for model in self.models}[name]
        return min(
            (m for m in self.models if not m.is_baseline or len(self.models) == 1),
            key=_average_mae,
            default=self.models[0],
        )


def _average_mae(model: Model) -> float:
    values = list(model.by_case("mae_gy").values())
    return float(np.mean(values)) if values else float("inf")


def pool(evaluations: Sequence[Evaluation]) -> Pooled:
    """Put evaluations together. The same model on the same case counts once, as it was met first.

    Two different models of one name, seed, cohort and split are distinguished by their evaluation's name; one on two
    cohorts or splits by cohort and split.
    """
    models: dict[str, Model] = {}
    notes: list[str] = []
    for evaluation in evaluations:
        for subject in evaluation.aggregate.subjects:
            model = _find_model(models, evaluation, subject, notes)
            _add(model, evaluation, subject, notes)
    return Pooled(tuple(models.values()), tuple(evaluations), tuple(dict.fromkeys(notes)))


def _find_model(models: dict[str, Model], evaluation: Evaluation, subject: SubjectEntry, notes: list[str]) -> Model:
    cohort = evaluation.aggregate.cohort
    name = subject.name
    there = models.get(name)
    if there is not None and (there.cohort.name, there.cohort.split) != (cohort.name, cohort.split):
        name = f"{subject.name} on {cohort.name}/{cohort.split}"
        notes.append(f"{subject.name} was evaluated on several cohorts or splits, which stay apart")
        there = models.get(name)
    if there is not None and any(_is_different(subject, other) for other in there.subjects.values()):
        notes.append(f"two different models are called {name}: that of {evaluation.name} carries its evaluation's name")
        name = f"{name} ({evaluation.name})"
    return models.setdefault(name, Model(name, cohort))


def _is_different(one: SubjectEntry, other: SubjectEntry) -> bool:
    """Whether two entries of one name cannot be the same model: another bundle of one seed, another recipe or role."""
    if one.seed == other.seed and one.sha256 != other.sha256:
        return True
    recipes = {one.recipe_sha256, other.recipe_sha256}
    return one.role != other.role or ("" not in recipes and len(recipes) == 2)


def _add(model: Model, evaluation: Evaluation, subject: SubjectEntry, notes: list[str]) -> None:
    known = set(model.pairs) if subject.seed in model.subjects else set()
    model.subjects.setdefault(subject.seed, subject)
    repeated = set()
    for row in evaluation.rows:
        if (row.model, row.seed) != (subject.name, subject.seed):
            continue
        if (row.seed, row.case) in known:
            repeated.add(row.case)
            continue
        model.values.setdefault(row.metric, {})[row.seed, row.case] = row.value
    for document in evaluation.cases:
        pair = (document.seed, document.case)
        if document.label == subject.label and pair not in known:
            model.documents[pair], model.evaluations[pair] = document, evaluation
    if repeated:
        notes.append(f"{model.name} was evaluated on {len(repeated)} cases more than once; each counts once")


def summarize_spread(values: Values) -> tuple[float, float] | None:
    """SD between cases (of their seed averages) and within a case (over its seeds); None without repeated cases."""
    by_case: Mapping[str, list[float]] = defaultdict(list)
    for (_, case), value in values.items():
        if value is not None:
            by_case[case].append(value)
    repeated = [of_case for of_case in by_case.values() if len(of_case) > 1]
    if not repeated or len(by_case) < 2:
        return None
    within = float(np.sqrt(np.mean([np.var(of_case, ddof=1) for of_case in repeated])))
    return float(np.std([np.mean(of_case) for of_case in by_case.values()], ddof=1)), within
