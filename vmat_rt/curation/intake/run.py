"""A run of an intake: its tasks by worker processes, each study stored or refused, refused.csv, patients joined.

A run that is killed leaves whole cases and their keys; the next one skips them by what the key file notes of their
files. Refused studies are tried again: what stood against them may have been mended.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from tqdm import tqdm

from vmat_rt.cohort.place import Place
from vmat_rt.cohort.store import CASES, Cohort
from vmat_rt.curation.intake.entering import StudyOutcome
from vmat_rt.curation.intake.keys import Entry, KeyFile
from vmat_rt.curation.intake.people import join_people
from vmat_rt.curation.intake.refusals import Refusal, read_refusals, write_refusals
from vmat_rt.curation.intake.settings import NewCohort
from vmat_rt.curation.intake.summary import IntakeSummary
from vmat_rt.errors import ConfigError, Problem
from vmat_rt.protocol import Protocol
from vmat_rt.system.processes import Finished, run_here, run_tasks

log = logging.getLogger("vmat_rt")

_NOTED_TOGETHER: Final = 25
Task = TypeVar("Task")


@dataclass(frozen=True)
class IntakeOptions:
    """What the user says of an intake.

    protocols: the first names a new cohort, each case takes the one that fits; by default those that ship. keys: the
    key file, by default beside the cohort. replace: add studies again whose files changed since. allowed: codes of the
    gate's errors that are noted as warnings. deidentified: as of `dicom.linking.find_studies`, for each study.
    """

    protocols: tuple[Protocol, ...] = ()
    new: NewCohort = field(default_factory=NewCohort)
    keys: Path | None = None
    workers: int = 1
    progress: bool = True
    replace: bool = False
    allowed: frozenset[str] = frozenset()
    deidentified: bool = False


@dataclass(frozen=True)
class IntakeRun:
    """What a run works on. root: the folder that the studies come from. total: studies to come, for the bar."""

    cohort: Cohort
    keys: KeyFile
    root: Path
    total: int
    options: IntakeOptions


def run_intake(
    run: IntakeRun,
    work: Callable[[Task], tuple[StudyOutcome, ...]],
    tasks: Iterable[Task],
    entry_of: Callable[[Task], Entry],
) -> IntakeSummary:
    """Do every task in a worker process and note what came of it. entry_of: whose a task is that killed its worker.

    Raises ConfigError (key file, another run at work), InputError when the disk is full.
    """
    keys, cohort = run.keys, run.cohort
    with keys.hold():
        _sweep(cohort, keys)
        with tqdm(total=run.total, unit="study", disable=_hides_bar(run.options)) as bar:
            workers = run.options.workers
            done = run_here(work, tasks) if workers == 1 else run_tasks(work, tasks, workers, queued=workers)
            collected = _collect_outcomes(done, keys, entry_of, bar)
            outcomes = _note_outcomes(collected, cohort, keys, run.root)
        people = join_people(cohort, keys)
    cohort.reindex()
    return IntakeSummary(cohort.settings.name, outcomes, len(cohort.keys()), people)


def _hides_bar(options: IntakeOptions) -> bool | None:
    """Say for tqdm whether the bar is hidden; None hides it where there is no terminal."""
    return None if options.progress else True


def find_key_file(keys: Path | None, cohort_uri: str | Path) -> Path:
    """Where the key file lies. Raises ConfigError when that is within the cohort, which may be passed on."""
    cohort_place = Place.at(cohort_uri)
    if not cohort_place.is_local:
        if keys is None:
            raise ConfigError("a cohort in an object store needs --keys FILE: where on this machine its keys lie")
        return keys.resolve()
    folder = Path(cohort_place.root).resolve()
    keys = (keys or KeyFile.beside(folder)).resolve()
    if keys.is_relative_to(folder):
        raise ConfigError(f"the key file {keys} would lie within the cohort; keep it outside, it says who is who")
    return keys


def _sweep(cohort: Cohort, keys: KeyFile) -> None:
    """Remove what a run that was killed had not yet published. Nobody else writes under keys of this file."""
    if not cohort.place.is_local:
        return
    ours = keys.entries().keys()
    for folder in (Path(cohort.place.root) / CASES).glob(".case-*"):
        if folder.name[1:].partition(".")[0] in ours:
            shutil.rmtree(folder, ignore_errors=True)


def _collect_outcomes(
    done: Iterator[Finished[Task, tuple[StudyOutcome, ...]]],
    keys: KeyFile,
    entry_of: Callable[[Task], Entry],
    bar: Any,
) -> Iterator[StudyOutcome]:
    for study in done:
        for outcome in (_describe_death(entry_of(study.task), keys),) if study.died else study.result():
            log.info("%s %s %s", outcome.key, outcome.state, " ".join(problem.code for problem in outcome.problems))
            bar.update()
            yield outcome


def _describe_death(seen: Entry, keys: KeyFile) -> StudyOutcome:
    message = "The process that read this patient's files died each time: out of memory, or by a damaged image."
    problem = Problem("WORKER_DIED", message, "Give the machine more memory, or take the files apart to find which.")
    return StudyOutcome(keys.register(seen).key, "refused", (problem,))


def _note_outcomes(
    outcomes: Iterator[StudyOutcome], cohort: Cohort, keys: KeyFile, root: Path
) -> tuple[StudyOutcome, ...]:
    """The outcomes, by key, with refused.csv kept up to them as they come, also when something ends the run."""
    refusals, seen = read_refusals(cohort.place), dict[str, StudyOutcome]()
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
