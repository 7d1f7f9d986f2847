"""Evaluation and run folders with numbers that are known beforehand, written by the evaluation's own code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from vmat_rt import __version__
from vmat_rt.evaluate.aggregate import aggregate, make_result_rows
from vmat_rt.evaluate.folder import EvaluationFolder
from vmat_rt.evaluate.measures import METRICS
from vmat_rt.evaluate.work import CaseOutcome, EvaluationTask
from vmat_rt.report.evaluation_schema import (
    AggregateDocument,
    CaseDocument,
    EvaluatedCohort,
    GoalOutcome,
    MeasuredBy,
    SubjectEntry,
)
from vmat_rt.report.schema import GoalStatus, ProblemEntry

Metrics = Mapping[str, float | None]
MetricsOf = Callable[[str, str, str], Metrics]
"""(model, seed, case) -> metrics."""
EVIL = "<script>alert(1)</script>"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def goal(predicted: GoalStatus, reference: GoalStatus, structure: str = "Rectum") -> GoalOutcome:
    judged = {predicted, reference} <= {"met", "missed"}
    return GoalOutcome(
        goal_set="quantec",
        structure=structure,
        metric="V70Gy",
        comparison="<",
        limit=15.0,
        unit="%",
        predicted=10.0,
        reference=20.0,
        predicted_status=predicted,
        reference_status=reference,
        agrees=predicted == reference if judged else None,
    )


def document(
    model: str, seed: str, case: str, metrics: Metrics, goals: list[GoalOutcome] | None = None
) -> CaseDocument:
    return CaseDocument(
        label=f"{model}-{seed}" if seed else model,
        model=model,
        seed=seed,
        model_sha256=sha(f"{model}-{seed}"),
        case=case,
        case_sha256=sha(case),
        measured_by=MeasuredBy(version=__version__, gamma=True),
        status="done",
        problems=[],
        metrics=dict(metrics),
        structures=[],
        goals=goals or [],
        openkbp=None,
        coverage_percent=100.0,
        seconds={"predict": 1.0},
    )


def failure(model: str, seed: str, case: str) -> CaseDocument:
    problem = ProblemEntry(code="CUT_OFF", message="The target leaves the grid.", remedy="None.", severity="error")
    return document(model, seed, case, {}).model_copy(update={"status": "failed", "problems": [problem]})


def write_evaluation(
    root: Path,
    documents: list[CaseDocument],
    *,
    simulated: bool = True,
    split: str = "test",
    baselines: frozenset[str] = frozenset(),
    data: str = "procedural",
    recipe: str = "",
) -> Path:
    folder = EvaluationFolder(root)
    labels = list(dict.fromkeys(found.label for found in documents))
    first = {label: next(found for found in documents if found.label == label) for label in labels}
    subjects = [
        SubjectEntry(
            label=label,
            name=found.model,
            seed=found.seed,
            role="baseline" if found.model in baselines else "model",
            kind="network",
            version="1",
            sha256=found.model_sha256,
            trained_on="12 cases",
            notes=["it was tested far too little"],
            recipe_sha256=recipe,
        )
        for label, found in first.items()
    ]
    for found in documents:
        folder.keep(_task(found), CaseOutcome(found))
    cohort = EvaluatedCohort(
        name="pelvis",
        protocol="prostate_sib_70_56",
        data=data,
        licence="Apache-2.0",
        simulated=simulated,
        sha256=sha("cohort"),
        split=split,
    )
    tables = AggregateDocument(
        cohort=cohort,
        models=aggregate(documents, {subject.name: subject.role for subject in subjects}),
        subjects=subjects,
        cases={label: [found.case for found in documents if found.label == label] for label in labels},
        metric_definitions={name: METRICS[name] for name in ("mae_gy", "failed")},
        notes=["All patients and plans of this cohort are simulated."] if simulated else [],
    )
    folder.write_tables(tables, make_result_rows(documents), documents)
    return root


def _task(found: CaseDocument) -> EvaluationTask:
    return EvaluationTask(
        found.label, found.model, found.seed, Path(), found.model_sha256, "", found.case, found.case_sha256
    )


def write_run(root: Path, name: str, seed: int, epochs: int = 3) -> Path:
    root.mkdir(parents=True)
    recipe = {"name": name, "epochs": epochs, "losses": [{"name": "mse", "weight": 1.0}], "ema": 0.999}
    run = {"recipe": recipe, "seed": seed, "train": ["a", "b"], "validation": ["c"], "split_sha256": sha("s")}
    run["environment"] = {"hardware": "2 cores", "packages": {"torch": "2.9"}, "commit": "e" * 40}
    (root / "run.json").write_text(json.dumps(run), encoding="utf-8")
    rows = [f"{epoch},{1e-4},{0.5 / (epoch + 1)},{2 - epoch / 4 if epoch % 2 else ''}" for epoch in range(epochs)]
    (root / "metrics.csv").write_text("\n".join(["epoch,lr,loss,mae_gy", *rows]) + "\n", encoding="utf-8")
    return root
