"""evaluate_task: one model on one case, in a worker process of this machine or of a cluster. It never raises."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from vmat_rt import __version__
from vmat_rt.bundle import Bundle, load_bundle
from vmat_rt.case import Case, Volume
from vmat_rt.cohort.store import Cohort
from vmat_rt.errors import ConfigError, InputError, ModelError, Problem, VmatError, raise_errors
from vmat_rt.evaluate.measures import find_reference, measure
from vmat_rt.evaluate.priors import predict_gy
from vmat_rt.geometry.gridded import gridded
from vmat_rt.geometry.model_grid import check_cut_off, model_grid
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.geometry.resample import resample
from vmat_rt.prediction import load_predictor, predict_dose
from vmat_rt.protocol import load_protocol
from vmat_rt.report.evaluation_schema import CaseDocument, MeasuredBy
from vmat_rt.report.schema import ProblemEntry

log = logging.getLogger("vmat_rt")

_LOADING: Final = threading.Lock()
"""A Dask worker may have several threads; the model is loaded by the first of them."""

_CODES: Final[dict[type[VmatError], str]] = {ModelError: "MODEL_ERROR", ConfigError: "CONFIGURATION"}


@dataclass(frozen=True)
class EvaluationTask:
    """One case for one model. Only places and names travel to a worker, which reads cohort and bundle itself.

    case_sha256 is the content that the result will stand for.
    """

    label: str
    model: str
    seed: str
    bundle: Path
    model_sha256: str
    cohort: str
    case: str
    case_sha256: str
    device: str = "auto"
    with_gamma: bool = True
    save_dose: bool = False

    @property
    def measured_by(self) -> MeasuredBy:
        return MeasuredBy(version=__version__, gamma=self.with_gamma)


@dataclass(frozen=True)
class CaseOutcome:
    """What came of a task; the dose only where it is to be saved."""

    document: CaseDocument
    dose: Volume | None = None


def evaluate_task(task: EvaluationTask) -> CaseOutcome:
    """Predict, compare, and put whatever goes wrong into the result."""
    try:
        return _evaluate_task(task)
    except Exception as error:  # the boundary of a worker: one case must not end the others
        if not isinstance(error, VmatError):
            log.exception("case %s failed", task.case)
        return make_failed(task, error)


def make_failed(task: EvaluationTask, error: BaseException) -> CaseOutcome:
    """The row of a case that gave no result."""
    return CaseOutcome(
        CaseDocument(
            **_make_identity(task),
            status="failed",
            problems=[ProblemEntry.model_validate(problem.as_dict()) for problem in _describe_problems(error)],
            metrics={},
            structures=[],
            goals=[],
            openkbp=None,
            coverage_percent=None,
            seconds={},
        )
    )


def _describe_problems(error: BaseException) -> tuple[Problem, ...]:
    if isinstance(error, InputError):
        return error.problems
    code = _CODES.get(type(error), type(error).__name__) if isinstance(error, VmatError) else "INTERNAL_ERROR"
    message = str(error) if isinstance(error, VmatError) else f"{type(error).__name__}: {error}"
    return (Problem(code, message, "Evaluate again when the cause is gone; finished cases are kept."),)


def _evaluate_task(task: EvaluationTask) -> CaseOutcome:
    started = time.perf_counter()
    cohort = Cohort.open(task.cohort)
    record, case = cohort.record(task.case), cohort.read(task.case)
    if record.content_sha256 != task.case_sha256:
        message = f"Case {task.case} was replaced while it was being evaluated."
        raise InputError(Problem("CASE_CHANGED", message, "Evaluate again."))
    find_reference(case)
    bundle = load_bundle(task.bundle)
    if bundle.identity.sha256 != task.model_sha256:
        raise ModelError(f"the bundle {task.model} that the worker reads is not the one that was asked for")
    with _LOADING:
        load_predictor(bundle, task.device)
    ready = time.perf_counter()
    dose, coverage, spared = on_reference_grid(case, bundle, cohort, task.device)
    predicted = time.perf_counter()
    protocol = load_protocol(record.protocol)
    measures = measure(case, dose, protocol, with_gamma=task.with_gamma, openkbp=record.source == "openkbp")
    seconds = {
        "load": ready - started,
        "predict": predicted - ready + spared,
        "measure": time.perf_counter() - predicted,
    }
    extra = {"coverage_percent": coverage, "seconds": seconds["predict"]}
    document = CaseDocument(
        **_make_identity(task),
        status="done",
        problems=[],
        metrics={**measures.metrics, **extra},
        structures=measures.structures,
        goals=measures.goals,
        openkbp=measures.openkbp,
        coverage_percent=coverage,
        seconds={name: round(value, 3) for name, value in seconds.items()},
    )
    return CaseOutcome(document, dose if task.save_dose else None)


def on_reference_grid(case: Case, bundle: Bundle, cohort: Cohort, device: str) -> tuple[Volume, float, float]:
    """The model's dose on the cohort's grid, the part of the body, in percent, that it reaches, and seconds spared.

    A model of the cohort's own grid predicts on the very voxels of the store, as in training. Any other predicts on its
    own grid, which is resampled (cubic, as a reference dose was); what that grid leaves out is 0 Gy.
    """
    grid = case.ct.grid
    if bundle.manifest.grid == cohort.settings.grid:
        blind = gridded(replace(case, reference_dose=None), grid)
        found = predict_gy(bundle, blind, grid, cohort.record(case.key).content_sha256, device)
        return Volume(grid, found.dose_gy), 100.0, found.spared_s
    raise_errors(check_cut_off(case, model_grid(bundle.manifest.grid, case)))
    dose = predict_dose(case, bundle, device).dose
    body = structure_fraction(case.body, grid)
    reached = resample(Volume(dose.grid, np.ones(dose.grid.shape, np.float32)), grid, 0.0, "nearest").array
    return resample(dose, grid, 0.0, "cubic"), float(100 * (body * reached).sum() / max(body.sum(), 1e-9)), 0.0


def _make_identity(task: EvaluationTask) -> dict[str, Any]:
    return {
        "label": task.label,
        "model": task.model,
        "seed": task.seed,
        "model_sha256": task.model_sha256,
        "case": task.case,
        "case_sha256": task.case_sha256,
        "measured_by": task.measured_by,
    }
