"""OpenKBP patients into a cohort: from the published CSV folders, or from any reader's arrays. Keys are its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from vmat_rt.case import Case
from vmat_rt.cohort.duplicates import hash_image
from vmat_rt.cohort.openkbp import PROTOCOL, OpenKbpPatient, make_openkbp_case, read_csv_patient
from vmat_rt.cohort.record import CaseOrigin, describe
from vmat_rt.cohort.settings import Provenance
from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.intake.entering import StudyOutcome
from vmat_rt.curation.intake.people import join_people
from vmat_rt.curation.intake.refusals import Refusal, read_refusals, write_refusals
from vmat_rt.curation.intake.settings import NewCohort, create_cohort, open_cohort
from vmat_rt.curation.intake.summary import IntakeSummary
from vmat_rt.errors import ConfigError, InputError, Problem, raise_errors
from vmat_rt.gate.examine import check_entry
from vmat_rt.protocol import load_protocol
from vmat_rt.system.processes import run_here, run_tasks

SITE: Final = "head and neck"
PROVENANCE: Final = Provenance(
    data="OpenKBP (Babier et al., Med. Phys. 48(9), 5549-5561, 2021)",
    licence="that of the OpenKBP data",
    simulated=False,
    command="vmat-rt cohort openkbp",
    limits=(
        "Learned from nine equally spaced coplanar 6 MV IMRT fields (0, 40, ..., 320 degrees); arcs and other angles "
        "enter through the beam maps only.",
        "Learned at 70, 63 and 56 Gy in 35 fractions; other levels are scaled by the highest prescription.",
        "Every training patient has a target of the highest level. Re-treatments, other ratios of dose levels, protons "
        "and electrons were not seen.",
        "Learned on voxels of 2.7 to 5.4 mm in the plane and 1.5 to 3.3 mm along the patient, inside OpenKBP's "
        "possible-dose mask; dose farther out is extrapolated.",
        "Plans are OpenKBP's, optimised for the challenge; a clinic's own trade-offs differ.",
    ),
)
_MARK: Final = "voxel_dimensions.csv"


@dataclass(frozen=True)
class _PatientTask:
    """A patient folder, or one that was read already."""

    key: str
    cohort_uri: str
    source: Path | OpenKbpPatient


def add_openkbp(
    root: Path, cohort_uri: str | Path, new: NewCohort | None = None, workers: int = 1, progress: bool = True
) -> IntakeSummary:
    """Add every patient folder (pt_N, nested anyhow) in the published CSV layout below `root`.

    Raises InputError (OPENKBP_FILE) when there is none, ConfigError when the cohort is of another site.
    """
    folders = _find_patient_folders(root)
    if not folders:
        message = f"There is no folder with ct.csv and {_MARK} below the one given."
        raise InputError(Problem("OPENKBP_FILE", message, "Give the folder that holds the folders pt_N."))
    cohort = open_openkbp_cohort(cohort_uri, new)
    tasks = (_PatientTask(key, cohort.place.root, folder) for key, folder in folders.items())
    return _add(tasks, len(folders), cohort, workers, progress)


def add_openkbp_cases(
    patients: Iterable[tuple[str, OpenKbpPatient | Mapping[str, Any]]],
    cohort: Cohort,
    workers: int = 1,
    progress: bool = False,
) -> IntakeSummary:
    """Add patients that were read elsewhere: (key, arrays), such as the readers of compact files give them."""
    tasks = (
        _PatientTask(key, cohort.place.root, p if isinstance(p, OpenKbpPatient) else OpenKbpPatient.from_arrays(p))
        for key, p in patients
    )
    return _add(tasks, None, cohort, workers, progress)


def open_openkbp_cohort(uri: str | Path, new: NewCohort | None = None) -> Cohort:
    """The cohort, made if there is none. Raises ConfigError when it is of another protocol."""
    new = new or NewCohort()
    if not Cohort.exists(uri):
        return create_cohort(uri, load_protocol(PROTOCOL), NewCohort(new.name, new.grid, PROVENANCE))
    cohort = open_cohort(uri, new)
    if cohort.settings.protocol != PROTOCOL:
        raise ConfigError(f"the cohort follows {cohort.settings.protocol}, OpenKBP's patients {PROTOCOL}")
    return cohort


def _find_patient_folders(root: Path) -> dict[str, Path]:
    """Key -> folder. A name that occurs twice (in two copies of the data) gets a number."""
    folders: dict[str, Path] = {}
    for mark in sorted(root.rglob(_MARK)):
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", mark.parent.name).strip("-_")[:50] or "patient"
        key, number = name, 2
        while key in folders:
            key, number = f"{name}-{number}", number + 1
        folders[key] = mark.parent
    return folders


def _add(
    tasks: Iterable[_PatientTask], total: int | None, cohort: Cohort, workers: int, progress: bool
) -> IntakeSummary:
    refusals, outcomes = read_refusals(cohort.place), []
    try:
        with tqdm(total=total, unit="patient", disable=None if progress else True) as bar:
            here = workers == 1
            done = run_here(take_patient, tasks) if here else run_tasks(take_patient, tasks, workers, queued=workers)
            for patient in done:
                outcome = _describe_death(patient.task.key) if patient.died else patient.result()
                outcomes.append(outcome)
                refusals.pop(outcome.key, None)
                if outcome.state == "refused":
                    refusals[outcome.key] = Refusal(outcome.key, outcome.problems)
                bar.update()
    finally:
        write_refusals(cohort.place, refusals)
    people = join_people(cohort)
    cohort.reindex()
    ordered = tuple(sorted(outcomes, key=lambda outcome: outcome.key))
    return IntakeSummary(cohort.settings.name, ordered, len(cohort.keys()), people)


def take_patient(task: _PatientTask) -> StudyOutcome:
    """One patient, in a worker process. Raises InputError when the disk is full."""
    cohort = Cohort.open(task.cohort_uri)
    if _is_stored(cohort, task.key):
        return StudyOutcome(task.key, "present")
    try:
        patient = read_csv_patient(task.source) if isinstance(task.source, Path) else task.source
        case = make_openkbp_case(patient, task.key)
        found = check_entry(case, SITE, outline=False)
        raise_errors(found)
        cohort.add(case, describe(case, _describe_origin(case), tuple(problem.code for problem in found)))
    except InputError as refusal:
        if refusal.is_of_the_machine:
            raise
        return StudyOutcome(task.key, "refused", refusal.problems)
    except ValueError as damage:
        problem = Problem(
            "OPENKBP_FILE", f"A file holds something that is not a number: {damage}.", "Copy the files again."
        )
        return StudyOutcome(task.key, "refused", (problem,))
    return StudyOutcome(task.key, "added", found)


def _describe_origin(case: Case) -> CaseOrigin:
    return CaseOrigin(key=case.key, patient=case.key, source="openkbp", image_sha256=hash_image(case.ct), nodal=False)


def _is_stored(cohort: Cohort, key: str) -> bool:
    try:
        cohort.record(key)
    except ConfigError:
        return False
    return True


def _describe_death(key: str) -> StudyOutcome:
    message = "The process that read this patient's files died each time, most likely out of memory."
    return StudyOutcome(key, "refused", (Problem("WORKER_DIED", message, "Give the machine more memory."),))
