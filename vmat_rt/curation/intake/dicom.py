"""Thousands of DICOM studies into a cohort: scanned once, read in parallel, each kept or refused, resumable.

A run that is killed leaves whole cases and their keys; the next one skips them by what the key file notes of their
files. Refused studies are tried again: what stood against them may have been mended.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from vmat_rt.cohort.place import Place
from vmat_rt.cohort.store import CASES, Cohort
from vmat_rt.curation.intake.keys import Entry, KeyFile
from vmat_rt.curation.intake.people import join_people
from vmat_rt.curation.intake.refusals import Refusal, read_refusals, write_refusals
from vmat_rt.curation.intake.scan import FolderIndex
from vmat_rt.curation.intake.settings import NewCohort, created, fitting_protocol, opened, protocols_of
from vmat_rt.curation.intake.study import Job, Outcome, take_in
from vmat_rt.curation.intake.summary import IntakeSummary
from vmat_rt.dicom.files import Kind
from vmat_rt.errors import ConfigError, InputError, Problem
from vmat_rt.protocol import Protocol
from vmat_rt.system.processes import run_here, run_tasks

log = logging.getLogger("vmat_rt")

_LOOKED_AT: Final = 20
_NOTED_TOGETHER: Final = 25


@dataclass(frozen=True)
class IntakeOptions:
    """What the user says of an intake.

    protocols: the first names a new cohort, each case takes the one that fits; by default those that ship. keys: the
    key file, by default beside the cohort. replace: add studies again whose files changed since.
    """

    protocols: tuple[Protocol, ...] = ()
    new: NewCohort = field(default_factory=NewCohort)
    keys: Path | None = None
    workers: int = 1
    progress: bool = True
    replace: bool = False


def add_studies(root: Path, cohort_uri: str | Path, options: IntakeOptions) -> IntakeSummary:
    """Add every study below `root`; those that cannot be used stand in refused.csv of the cohort.

    Raises ConfigError (options, key file, another run at work), InputError when there is no DICOM below `root`
    (NOT_DICOM), when no cohort can be made of it, or when the disk is full.
    """
    root, path = root.resolve(), _outside(options.keys, cohort_uri)
    with FolderIndex() as index:
        index.fill(root, options.workers, options.progress)
        if not index.files and not index.unreadable:
            message = f"There is no CT, RTSTRUCT, RTPLAN or RTDOSE among the {index.others} files of the folder."
            raise InputError(Problem("NOT_DICOM", message, "Give the folder that holds the DICOM exports."))
        cohort = _cohort(cohort_uri, options, index)
        protocols = protocols_of(cohort.settings.protocol, options.protocols)
        keys = KeyFile(path)
        with keys.in_use():
            _sweep(cohort, keys)
            groups = index.groups()
            jobs = (Job(group, cohort.place.root, keys, protocols, options.replace) for group in groups)
            with tqdm(total=index.count(Kind.STRUCTURES), unit="study", disable=_hidden(options)) as bar:
                outcomes = _noted(_outcomes(jobs, keys, options.workers, bar), cohort, keys, root)
            people = join_people(cohort, keys)
    cohort.reindex()
    return IntakeSummary(cohort.settings.name, outcomes, len(cohort.keys()), people)


def _hidden(options: IntakeOptions) -> bool | None:
    """For tqdm: None hides the bar where there is no terminal."""
    return None if options.progress else True


def _outside(keys: Path | None, cohort_uri: str | Path) -> Path:
    """Where the key file lies. Raises ConfigError when that is within the cohort, which may be passed on."""
    place = Place.at(cohort_uri)
    if not place.is_local:
        if keys is None:
            raise ConfigError("a cohort in an object store needs --keys FILE: where on this machine its keys lie")
        return keys.resolve()
    folder = Path(place.root).resolve()
    keys = (keys or KeyFile.beside(folder)).resolve()
    if keys.is_relative_to(folder):
        raise ConfigError(f"the key file {keys} would lie within the cohort; keep it outside, it says who is who")
    return keys


def _cohort(uri: str | Path, options: IntakeOptions, index: FolderIndex) -> Cohort:
    if Cohort.exists(uri):
        return opened(uri, options.new)
    given = options.protocols or (fitting_protocol(index.some(Kind.STRUCTURES, _LOOKED_AT)),)
    return created(uri, given[0], options.new)


def _sweep(cohort: Cohort, keys: KeyFile) -> None:
    """Remove what a run that was killed had not yet published. Nobody else writes under keys of this file."""
    if not cohort.place.is_local:
        return
    ours = keys.entries().keys()
    for folder in (Path(cohort.place.root) / CASES).glob(".case-*"):
        if folder.name[1:].partition(".")[0] in ours:
            shutil.rmtree(folder, ignore_errors=True)


def _outcomes(jobs: Iterator[Job], keys: KeyFile, workers: int, bar: Any) -> Iterator[Outcome]:
    done = run_here(take_in, jobs) if workers == 1 else run_tasks(take_in, jobs, workers, queued=workers)
    for study in done:
        for outcome in (_died(study.task, keys),) if study.died else study.result():
            log.info("%s %s %s", outcome.key, outcome.state, " ".join(problem.code for problem in outcome.problems))
            bar.update()
            yield outcome


def _died(job: Job, keys: KeyFile) -> Outcome:
    first = job.group.files[0]
    entry = keys.register(Entry("", PatientID=first.patient_id, place=str(first.path.parent)))
    message = "The process that read this patient's files died each time: out of memory, or by a damaged image."
    problem = Problem("WORKER_DIED", message, "Give the machine more memory, or take the files apart to find which.")
    return Outcome(entry.key, "refused", (problem,))


def _noted(outcomes: Iterator[Outcome], cohort: Cohort, keys: KeyFile, root: Path) -> tuple[Outcome, ...]:
    """The outcomes, by key, with refused.csv kept up to them as they come, also when something ends the run."""
    refusals, seen = read_refusals(cohort.place), dict[str, Outcome]()
    try:
        for number, outcome in enumerate(outcomes, 1):
            seen[outcome.key] = outcome
            refusals.pop(outcome.key, None)
            if outcome.state in ("refused", "duplicate"):
                refusals[outcome.key] = Refusal(outcome.key, outcome.problems)
            if number % _NOTED_TOGETHER == 0:
                write_refusals(cohort.place, refusals)
        places = {entry.key: entry.place for entry in keys.entries().values()}
        gone = {key for key in refusals.keys() - seen.keys() if Path(places.get(key, "/")).is_relative_to(root)}
        refusals = {key: refusal for key, refusal in refusals.items() if key not in gone}
    finally:
        write_refusals(cohort.place, refusals)
    return tuple(outcome for _, outcome in sorted(seen.items()))
