"""A simulated cohort as it ships: seeds and packed doses instead of arrays, a hundredth of the size.

    FOLDER/cohort.yaml         settings, versions, and of every case its record and the hash of its packed dose
    FOLDER/doses/KEY.dose      the dose on its plan's own grid (vmat_rt.cohort.dose_code)

Restoring draws the anatomy again from its seed and compares its hash: another machine or library that draws another
patient is found out, and the dose is not put upon him.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ValidationError
from tqdm import tqdm

from vmat_rt.cohort.plan_folder import PlanFolder
from vmat_rt.cohort.record import CaseRecord
from vmat_rt.cohort.settings import CohortSettings
from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.simulate import treat_patient
from vmat_rt.errors import ConfigError, InputError, Problem, warning
from vmat_rt.phantom.anatomy.patient import hash_anatomy, simulate_patient
from vmat_rt.strict import Strict, YamlError, load_yaml, reason
from vmat_rt.system.processes import WorkerDiedError, run_tasks
from vmat_rt.system.publish import published_folder

log = logging.getLogger("vmat_rt")

DESCRIPTION = "cohort.yaml"
DOSES = "doses"
DREW_WITH = ("vmat-rt", "numpy", "scipy", "numba", "SimpleITK")


class ShippedCase(Strict):
    """record: as it stood in the cohort, with seed and index in its provenance."""

    record: CaseRecord
    dose_sha256: str


class ShippedCohort(Strict):
    """The content of cohort.yaml. versions: of the programs that it was made with, to explain a difference."""

    schema_version: Literal[1] = 1
    settings: CohortSettings
    versions: dict[str, str]
    cases: tuple[ShippedCase, ...]


@dataclass(frozen=True)
class RestoreSummary:
    """Keys restored now, keys that were there already, and problems by key.

    A case with an error is not in the cohort; one with a warning is, and differs in what was resampled on this machine.
    """

    restored: tuple[str, ...]
    kept: tuple[str, ...]
    problems: dict[str, Problem]


@dataclass(frozen=True)
class _RestoreTask:
    folder: Path
    cohort_uri: str
    case: ShippedCase


def pack_cohort(cohort: Cohort, folder: Path) -> int:
    """Write the shipped form of a simulated cohort; the folder is replaced as a whole. Returns its bytes.

    Raises ConfigError when a case was not simulated or its packed dose is not beside the cohort.
    """
    plans = PlanFolder.of(cohort.place)
    others = [record.key for record in cohort.records() if record.source != "simulated"]
    if others:
        raise ConfigError(f"{len(others)} cases were not simulated and cannot be made from a seed: {others[0]}")
    with published_folder(folder) as temporary:
        (temporary / DOSES).mkdir()
        cases = []
        for record in sorted(cohort.records(), key=lambda record: record.key):
            packed = plans.read_dose(record.key)
            (temporary / DOSES / f"{record.key}.dose").write_bytes(packed)
            cases.append(ShippedCase(record=record, dose_sha256=hashlib.sha256(packed).hexdigest()))
        versions = {name: version(name) for name in DREW_WITH}
        shipped = ShippedCohort(settings=cohort.settings, versions=versions, cases=tuple(cases))
        text = yaml.safe_dump(shipped.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
        (temporary / DESCRIPTION).write_text(text, encoding="utf-8")
        return sum(path.stat().st_size for path in temporary.rglob("*") if path.is_file())


def read_shipped(folder: Path) -> ShippedCohort:
    """The description of a shipped cohort. Raises ConfigError when there is none or it cannot be read."""
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ConfigError(f"{folder} is not a shipped cohort: it has no {DESCRIPTION}")
    try:
        return ShippedCohort.model_validate(load_yaml(path.read_bytes()))
    except (OSError, YamlError, ValidationError) as error:
        raise ConfigError(f"{path} cannot be read: {reason(error)}") from error


def restore_cohort(folder: Path, cohort: Cohort, workers: int = 2, progress: bool = True) -> RestoreSummary:
    """Make every case of a shipped cohort again and add it; those that are there already are kept.

    A case whose anatomy or packed dose is not what was shipped is refused, and the others go on. Create the cohort with
    `read_shipped(folder).settings`. Raises ConfigError when the folder holds no shipped cohort or the cohort's grid or
    protocol is another one. A case over which its worker dies is one of the problems, and the next run tries it again.
    """
    if workers < 1:
        raise ConfigError(f"{workers} processes cannot restore a cohort: it takes 1 or more")
    shipped = read_shipped(folder)
    if (cohort.settings.grid, cohort.settings.protocol) != (shipped.settings.grid, shipped.settings.protocol):
        raise ConfigError("the cohort has another grid or protocol than the one that was shipped: create it from that")
    present = {record.key: _remove_content(record) for record in cohort.records()}
    kept = tuple(c.record.key for c in shipped.cases if present.get(c.record.key) == _remove_content(c.record))
    tasks = [_RestoreTask(folder, cohort.place.root, case) for case in shipped.cases if case.record.key not in kept]
    problems = {key: problem for key, problem in _restore_cases(tasks, workers, progress) if problem is not None}
    cohort.reindex()
    refused = {key for key, problem in problems.items() if problem.severity == "error"}
    restored = tuple(task.case.record.key for task in tasks if task.case.record.key not in refused)
    return RestoreSummary(restored, kept, problems)


def _remove_content(record: CaseRecord) -> CaseRecord:
    return record.model_copy(update={"content_sha256": ""})


def _restore_cases(tasks: list[_RestoreTask], workers: int, progress: bool) -> Iterator[tuple[str, Problem | None]]:
    """Key and problem of each task, as they come."""
    with tqdm(total=len(tasks), unit="case", disable=None if progress else True) as bar:
        for case in run_tasks(restore_case, tasks, workers):
            key = case.task.case.record.key
            problem: Problem | None
            if isinstance(case.error, WorkerDiedError):
                seconds, problem = 0.0, case.error.of(key).problems[0]
            else:
                seconds, problem = case.result()
            log.info("%s %s %.1f s", key, problem.code if problem else "restored", seconds)
            bar.update()
            yield key, problem


def restore_case(task: _RestoreTask) -> tuple[float, Problem | None]:
    """Draw the anatomy, unpack the dose, add the case. Returns seconds and the first thing that was not as shipped."""
    started = time.perf_counter()
    problem = _restore(task)
    return time.perf_counter() - started, problem


def _restore(task: _RestoreTask) -> Problem | None:
    shipped = task.case.record
    seed, index = int(shipped.provenance["seed"]), int(shipped.provenance["index"])
    packed = _read(task.folder / DOSES / f"{shipped.key}.dose")
    if packed is None or hashlib.sha256(packed).hexdigest() != task.case.dose_sha256:
        return _describe_difference(shipped.key, "its packed dose is absent or not the file that was shipped")
    patient = simulate_patient(seed, index)
    if hash_anatomy(patient.case) != shipped.image_sha256:
        return _describe_difference(shipped.key, f"index {index} of seed {seed} gives another anatomy here")
    try:
        case = treat_patient(patient, packed, shipped.gantry_angles_deg)
    except InputError as refusal:
        return refusal.problems[0]
    added = Cohort.open(task.cohort_uri).add(case, _remove_content(shipped), replace=True)
    if added.content_sha256 != shipped.content_sha256:
        message = f"Case {shipped.key} has the anatomy and the dose that were shipped, but not every stored value."
        return warning("RESTORED_ROUNDED", message, "Resampling rounds otherwise on this machine; nothing is wrong.")
    return None


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _describe_difference(key: str, what: str) -> Problem:
    return Problem(
        "RESTORED_DIFFERS",
        f"Case {key} cannot be made as it was shipped: {what}.",
        "Install the versions that cohort.yaml lists, or take the folder again from the release.",
    )
