"""measure_curves: DVHs of a model's dose, of the dose beside it and of the true one, for cases it has not seen."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from vmat_rt.bundle import load_bundle
from vmat_rt.case import Case, Volume
from vmat_rt.cohort.store import Cohort
from vmat_rt.errors import ConfigError
from vmat_rt.evaluate.measures import choose_structures, find_reference
from vmat_rt.evaluate.subjects import CaseChoice, Subject, choose_subjects
from vmat_rt.evaluate.work import on_reference_grid
from vmat_rt.metrics.dvh.compute import Dvh, compute_dvhs
from vmat_rt.protocol import load_protocol
from vmat_rt.system.processes import run_tasks
from vmat_rt.trust.calibration import CalibrationCase, ShortCurve, StructureCurves

log = logging.getLogger("vmat_rt")


@dataclass(frozen=True)
class CurvesTask:
    """One case for one model; beside is the bundle of the dose that a report shows beside it, or None."""

    bundle: Path
    beside: Path | None
    cohort: str
    case: str
    device: str = "auto"


def measure_curves(
    model: str, choice: CaseChoice, workers: int, device: str = "auto"
) -> tuple[Subject, list[CalibrationCase]]:
    """The model and its curves on every case of the choice; a case that gives none is left out with a line in the log.

    Raises ConfigError when the model is not there, serves another protocol, or was trained on one of the cases.
    """
    subject, *others = choose_subjects((model,), choice, with_baseline=True)
    if choice.split == "train":
        raise ConfigError(
            "a model's errors on the cases it was trained on say nothing of new ones: choose another split"
        )
    root = choice.cohort.place.root
    place = str(Path(root).resolve()) if choice.cohort.place.is_local else root
    beside = others[0].bundle.folder.resolve() if others else None
    tasks = [CurvesTask(subject.bundle.folder.resolve(), beside, place, case, device) for case in subject.cases]
    measured: dict[str, CalibrationCase] = {}
    with tqdm(total=len(tasks), desc="curves", unit="case", disable=None) as bar:
        for finished in run_tasks(measure_case_curves, tasks, workers):
            if finished.error is not None:
                log.warning("case %s gives no curves: %s", finished.task.case, finished.error)
            else:
                measured[finished.task.case] = finished.result()
            bar.update()
    return subject, [measured[task.case] for task in tasks if task.case in measured]


def measure_case_curves(task: CurvesTask) -> CalibrationCase:
    """Predict one case and shorten the DVHs of its structures. Raises InputError without a reference dose."""
    cohort = Cohort.open(task.cohort)
    case = cohort.read(task.case)
    bundles = [load_bundle(folder) for folder in (task.bundle, task.beside) if folder is not None]
    doses = [on_reference_grid(case, bundle, cohort, task.device)[0] for bundle in bundles]
    predicted, *beside = [_compute_dvhs(case, dose) for dose in doses]
    reference = _compute_dvhs(case, find_reference(case))
    curves = {
        name: StructureCurves(
            volume_cc=round(dvh.volume_cc, 3),
            predicted=_shorten(predicted[name]),
            beside=_shorten(beside[0][name]) if beside else None,
            reference=_shorten(dvh),
        )
        for name, dvh in reference.items()
    }
    return CalibrationCase(case=task.case, highest_gy=max(case.prescription.dose_gy.values()), structures=curves)


def _compute_dvhs(case: Case, dose: Volume) -> dict[str, Dvh]:
    """By TG-263 name: the targets and organs of the protocol that lie wholly in the dose."""
    structures = choose_structures(case, load_protocol(case.protocol_name))
    dvhs = compute_dvhs(structures.values(), dose)
    return {dvh.name: dvh for dvh in dvhs.values() if dvh.name is not None and _is_whole(dvh)}


def _is_whole(dvh: Dvh) -> bool:
    return dvh.cumulative is not None and not dvh.reason and dvh.outside is None


def _shorten(dvh: Dvh) -> ShortCurve:
    assert dvh.cumulative is not None
    return ShortCurve.of(dvh.cumulative)
