"""Tables of where numbers come from: data, splits, models, configuration, machines; and what limits them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vmat_rt.bundle import Bundle
from vmat_rt.report.evaluation.labels import ABSENT
from vmat_rt.report.evaluation.pooled import Pooled, order_seeds
from vmat_rt.report.evaluation.runs import RunRecord, label_recipes
from vmat_rt.report.evaluation.tables import Row, Table

_HASH_LETTERS = 12


def tabulate_data(pooled: Pooled) -> Table:
    """One row per evaluation."""
    rows = []
    for evaluation in pooled.evaluations:
        cohort = evaluation.aggregate.cohort
        cases = {key for keys in evaluation.aggregate.cases.values() for key in keys}
        kind = "SIMULATED" if cohort.simulated else "clinical or published"
        row = (evaluation.name, cohort.name, cohort.protocol, kind, cohort.data, cohort.licence, cohort.split)
        rows.append((*row, str(len(cases)), cohort.sha256[:_HASH_LETTERS]))
    header = ("Evaluation", "Cohort", "Protocol", "Patients and doses", "Data", "Licence", "Split", "Cases", "SHA-256")
    return Table("What was evaluated. SHA-256: of the cases' contents, its beginning.", header, tuple(rows), names=7)


def tabulate_models(pooled: Pooled, bundles: Mapping[str, Bundle]) -> Table:
    """One row per subject."""
    rows: list[Row] = []
    for model in pooled.models:
        for index, (seed, subject) in enumerate(sorted(model.subjects.items(), key=lambda item: order_seeds(item[0]))):
            bundle = bundles.get(subject.sha256)
            cases = str(len({case for of, case in model.pairs if of == seed}))
            hardware = bundle.manifest.training.hardware if bundle is not None else ABSENT
            role = "baseline" if subject.role == "baseline" else subject.kind
            row = ("" if index else model.name, seed or ABSENT, role, subject.version, subject.trained_on, hardware)
            rows.append((*row, subject.sha256[:_HASH_LETTERS], cases))
    header = ("Model", "Seed", "Kind", "Version", "Trained on", "Trained with", "SHA-256", "Cases evaluated")
    return Table("Models. SHA-256: of the bundle's identity, its beginning.", header, tuple(rows), names=7)


def tabulate_splits(runs: Sequence[RunRecord], splits: Mapping[str, Mapping[str, int]]) -> Table | None:
    """Cases of each part by run, and those of the cohort's own splits by seed; None where nothing is known."""
    rows: list[Row] = []
    for run in runs:
        sizes = [str(len(run.identity.get(part, ()))) for part in ("train", "validation")]
        hashes = [str(run.identity.get(name, ABSENT))[:_HASH_LETTERS] for name in ("split_sha256", "cohort_sha256")]
        rows.append((f"run {run.name}", run.seed, *sizes, ABSENT, ABSENT, *hashes))
    for seed, parts in splits.items():
        sizes = [str(parts.get(part, 0)) for part in ("train", "validation", "test", "outliers")]
        rows.append(("splits.yaml", seed, *sizes, ABSENT, ABSENT))
    header = ("Source", "Seed", "Train", "Validation", "Test", "Outliers", "Split SHA-256", "Cohort SHA-256")
    return Table("Number of cases in each part.", header, tuple(rows), names=2) if rows else None


def tabulate_configuration(runs: Sequence[RunRecord]) -> Table | None:
    """Every setting of every recipe; those that differ are flagged. None without runs."""
    recipes = {label: dict(_flatten(run.recipe)) for label, run in zip(label_recipes(runs), runs, strict=True)}
    if not recipes:
        return None
    settings = list(dict.fromkeys(name for recipe in recipes.values() for name in recipe))
    rows: list[Row] = []
    flagged = set()
    for name in settings:
        values = [recipe.get(name, ABSENT) for recipe in recipes.values()]
        if len(set(values)) > 1 and name not in {"name", "title", "bundle.name"}:
            flagged.add(len(rows))
        rows.append((name, *values))
    caption = "Recipes as used, defaults included. Flagged: settings that differ. (2): same name, other settings."
    return Table(caption, ("Setting", *recipes), tuple(rows), names=1 + len(recipes), flagged=frozenset(flagged))


def _flatten(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from _flatten(inner, f"{prefix}{name}.")
        elif isinstance(inner, list) and inner and all(isinstance(item, dict) for item in inner):
            for item in inner:
                named = str(item.get("name", inner.index(item)))
                yield from _flatten({k: v for k, v in item.items() if k != "name"}, f"{prefix}{name}.{named}.")
        else:
            yield f"{prefix}{name}", inner if isinstance(inner, str) else json.dumps(inner)


def tabulate_environment(runs: Sequence[RunRecord]) -> Table | None:
    """Machine, versions and commit of each run; None without runs."""
    if not runs:
        return None
    rows = []
    for run in runs:
        known = run.environment
        packages = known.get("packages") or {}
        shown = ", ".join(f"{name} {packages[name]}" for name in ("vmat-rt", "torch", "numpy") if packages.get(name))
        commit = known.get("commit") or ABSENT
        rows.append((run.name, run.seed, str(known.get("hardware", ABSENT)), shown or ABSENT, commit[:_HASH_LETTERS]))
    return Table("Where runs were trained.", ("Run", "Seed", "Hardware", "Software", "Commit"), tuple(rows), names=5)


def list_limitations(pooled: Pooled, bundles: Mapping[str, Bundle]) -> dict[str, list[str]]:
    """List by model what its card and the evaluation say against its numbers."""
    limitations: dict[str, list[str]] = {}
    for model in pooled.models:
        limits: list[str] = []
        for _, subject in sorted(model.subjects.items()):
            bundle = bundles.get(subject.sha256)
            limits += bundle.manifest.limits if bundle is not None else ()
            limits += [note[:1].upper() + note[1:].rstrip(".") + "." for note in subject.notes]
        limitations[model.name] = list(dict.fromkeys(limits))
    return limitations
