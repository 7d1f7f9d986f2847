"""evaluate: models on a split of a cohort -> an evaluation folder. What an earlier run finished is kept."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from vmat_rt.cohort.store import Cohort
from vmat_rt.errors import ConfigError
from vmat_rt.evaluate.aggregate import aggregate, make_result_rows
from vmat_rt.evaluate.clinical import compare_with_clinical
from vmat_rt.evaluate.cluster import run_on_dask
from vmat_rt.evaluate.folder import CASES, SPREAD, EvaluationFolder
from vmat_rt.evaluate.measures import METRICS
from vmat_rt.evaluate.subjects import CaseChoice, SplitName, Subject, choose_subjects, list_unseen
from vmat_rt.evaluate.work import CaseOutcome, EvaluationTask, evaluate_task, make_failed
from vmat_rt.metrics.statistics.paired import FEW_CASES, NARROW
from vmat_rt.report.evaluation_schema import AgainstClinicalDocument, AggregateDocument, CaseDocument, EvaluatedCohort
from vmat_rt.system.processes import Finished, run_tasks

log = logging.getLogger("vmat_rt")


@dataclass(frozen=True)
class Question:
    """What to evaluate. seed None: a run's own split. clinical: also rank the clinical plans against prediction."""

    models: tuple[str, ...]
    split: SplitName = "test"
    seed: int | None = None
    baseline: bool = True
    gamma: bool = True
    save_dose: bool = False
    clinical: bool = False


@dataclass(frozen=True)
class Means:
    """What to compute with: processes here, or a Dask scheduler's address."""

    workers: int = 1
    scheduler: str | None = None
    device: str = "auto"
    progress: bool = True


def evaluate(cohort: Cohort, question: Question, out: Path, means: Means = Means()) -> AggregateDocument:
    """Evaluate, and write everything under `out`. A case that fails is a row of the tables.

    Raises ConfigError when a model, split or seed is not there, a model would be tested on cases it was trained on, or
    the cluster cannot be used.
    """
    if means.workers < 1:
        raise ConfigError(f"{means.workers} workers cannot do anything: give 1 or more")
    choice = CaseChoice(cohort, question.split, question.seed)
    subjects = choose_subjects(question.models, choice, question.baseline)
    folder = EvaluationFolder(out)
    folder.require_own()
    tasks = [task for subject in subjects for task in _make_tasks(subject, subject.cases, cohort, question, means)]
    spread_tasks: list[EvaluationTask] = []
    if question.clinical:
        spread_tasks = _spread_tasks(subjects, choice, question, means)
    documents = _settle_tasks(folder, tasks, CASES, means)
    document = _make_document(cohort, question, subjects, documents)
    folder.write_tables(document, make_result_rows(documents), documents)
    if question.clinical:
        _write_clinical(folder, subjects, documents, _settle_tasks(folder, spread_tasks, SPREAD, means))
    return document


def describe_plans_against_prediction(out: Path) -> str:
    """What `evaluate` found there of the clinical plans, in words."""
    written = EvaluationFolder(out).against_clinical.read_text(encoding="utf-8")
    return AgainstClinicalDocument.model_validate_json(written).in_words()


def _make_tasks(
    subject: Subject, cases: Sequence[str], cohort: Cohort, question: Question, means: Means
) -> Iterator[EvaluationTask]:
    identity = subject.identity
    # A worker's working directory may be another.
    root = str(Path(cohort.place.root).resolve()) if cohort.place.is_local else cohort.place.root
    for key in cases:
        yield EvaluationTask(
            label=subject.label,
            model=subject.name,
            seed=subject.seed,
            bundle=subject.bundle.folder.resolve(),
            model_sha256=identity.sha256,
            cohort=root,
            case=key,
            case_sha256=cohort.content(key),
            device=means.device,
            with_gamma=question.gamma,
            save_dose=question.save_dose,
        )


def _spread_tasks(
    subjects: Sequence[Subject], choice: CaseChoice, question: Question, means: Means
) -> list[EvaluationTask]:
    """The validation cases of each model that it has not seen; none where the cohort has no splits or is evaluated on
    that very split.
    """
    if question.split in {"all", "validation"}:
        return []
    plain = replace(question, gamma=False, save_dose=False)
    tasks: list[EvaluationTask] = []
    for subject in subjects:
        if subject.role == "model":
            cases = [key for key in choice.find_validation(subject) if key not in subject.cases]
            cases = list_unseen(subject, cases, choice.cohort)
            tasks += _make_tasks(subject, cases, choice.cohort, plain, means)
    return tasks


def _settle_tasks(
    folder: EvaluationFolder, tasks: Sequence[EvaluationTask], part: str, means: Means
) -> list[CaseDocument]:
    """The document of each task, in their order: kept from before, or made now and written at once."""
    documents = {task: kept for task in tasks if (kept := folder.kept(task, part)) is not None}
    # Case by case, so that a worker that has a prior's dose can show it to the next network.
    open_tasks = sorted((task for task in tasks if task not in documents), key=lambda task: task.case)
    if documents:
        log.info("%d of %d results are kept from before", len(documents), len(tasks))
    if not open_tasks:
        return [documents[task] for task in tasks]
    bar = tqdm(total=len(open_tasks), desc=part, unit="case", disable=None if means.progress else True)
    with bar:
        for finished in _compute_tasks(open_tasks, means):
            outcome = finished.result() if finished.error is None else make_failed(finished.task, finished.error)
            folder.keep(finished.task, outcome, part)
            documents[finished.task] = outcome.document
            bar.update()
    return [documents[task] for task in tasks]


def _compute_tasks(tasks: Sequence[EvaluationTask], means: Means) -> Iterator[Finished[EvaluationTask, CaseOutcome]]:
    if means.scheduler is not None:
        return run_on_dask(evaluate_task, tasks, means.scheduler)
    return run_tasks(evaluate_task, tasks, means.workers)


def _make_document(
    cohort: Cohort, question: Question, subjects: Sequence[Subject], documents: Sequence[CaseDocument]
) -> AggregateDocument:
    settings, keys = cohort.settings, {key for subject in subjects for key in subject.cases}
    entries = [subject.entry() for subject in subjects]
    models = aggregate(documents, {subject.name: subject.role for subject in subjects})
    shown = {name for model in models.values() for name in model.metrics} | {"failed"}
    return AggregateDocument(
        cohort=EvaluatedCohort(
            name=settings.name,
            protocol=settings.protocol,
            data=settings.provenance.data,
            licence=settings.provenance.licence,
            simulated=settings.provenance.simulated,
            sha256=cohort.sha256(tuple(sorted(keys))),
            split=question.split,
        ),
        models=models,
        subjects=entries,
        cases={subject.label: list(subject.cases) for subject in subjects},
        metric_definitions={name: text for name, text in METRICS.items() if name in shown},
        notes=_collect_notes(cohort, subjects, documents),
    )


def _collect_notes(cohort: Cohort, subjects: Sequence[Subject], documents: Sequence[CaseDocument]) -> list[str]:
    """What stands above every table that is made of these numbers."""
    notes = []
    if cohort.settings.provenance.simulated:
        notes.append("All patients and plans of this cohort are simulated.")
    if any(1 < len(subject.cases) < FEW_CASES for subject in subjects):
        notes.append(NARROW.capitalize() + ".")
    notes += [f"{subject.label}: {note}" for subject in subjects for note in subject.notes]
    for subject in subjects:
        own = [document for document in documents if document.label == subject.label]
        lost = sum(document.status == "failed" for document in own)
        if lost:
            notes.append(f"{subject.label}: {lost} of {len(own)} cases gave no result; see failures.csv")
        short = [d.coverage_percent for d in own if d.coverage_percent is not None and d.coverage_percent < 100]
        if short:
            text = f"its grid leaves out part of the body in {len(short)} cases (down to {min(short):.1f} % covered)"
            notes.append(f"{subject.label}: {text}; what it leaves out counts as 0 Gy")
    return notes


def _write_clinical(
    folder: EvaluationFolder,
    subjects: Sequence[Subject],
    documents: Sequence[CaseDocument],
    spread_documents: Sequence[CaseDocument],
) -> None:
    labels = [subject.label for subject in subjects if subject.role == "model"]
    spread = {label: [document for document in spread_documents if document.label == label] for label in labels}
    evaluated = [document for document in documents if document.label in labels]
    folder.write_against_clinical(compare_with_clinical(evaluated, spread))
