"""One study that was found -> stored or refused, under its key, whatever files it is read from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Literal

from vmat_rt.case import Case
from vmat_rt.cohort.duplicates import hash_image, hash_study
from vmat_rt.cohort.record import CaseOrigin, Source, describe
from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.intake.keys import Entry, KeyFile
from vmat_rt.curation.intake.refusals import remove_identity
from vmat_rt.errors import ConfigError, InputError, Problem, warning

log = logging.getLogger("vmat_rt")

State = Literal["added", "present", "duplicate", "refused"]


@dataclass(frozen=True)
class StudyOutcome:
    """What came of a study. problems carry no identity: the reasons of a refusal, or what was noted with the case."""

    key: str
    state: State
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Desk:
    """Where studies are entered. stored: keys of the cases that were there when it was opened. replace: take a study
    again that was added already and has changed since.
    """

    cohort: Cohort
    stored: frozenset[str]
    keys: KeyFile
    replace: bool = False

    @staticmethod
    def at(cohort_uri: str, keys: KeyFile, replace: bool) -> Desk:
        """Open the cohort in a worker process."""
        cohort = Cohort.open(cohort_uri)
        return Desk(cohort, frozenset(cohort.keys()), keys, replace)


@dataclass(frozen=True)
class StudyArrival:
    """A study that was found. entry: as its files name it. source: the kind of files.

    sha256: of its files, cheap. read: the case, and what is to be noted with it; raises InputError with all that stands
    against it. telltale: values (name, IDs) that no refusal may repeat.
    """

    entry: Entry
    source: Source
    sha256: Callable[[], str]
    read: Callable[[], tuple[Case, tuple[Problem, ...]]]
    telltale: Callable[[], frozenset[str]]


def enter(desk: Desk, arrival: StudyArrival) -> StudyOutcome:
    """Store the study or say why not. Raises InputError when the cohort cannot be written, ConfigError for its keys."""
    entry = desk.keys.register(arrival.entry)
    problems: tuple[Problem, ...] = ()
    try:
        digest = arrival.sha256()
        if entry.files_sha256 == digest:
            if entry.key in desk.stored:
                return StudyOutcome(entry.key, "present")
            repeated = desk.keys.find_repeated(entry, desk.stored)
            if repeated:
                return StudyOutcome(entry.key, "duplicate", (_describe_repetition(repeated),))
        if entry.key in desk.stored and not desk.replace:
            raise InputError(_warn_of_change())
        case, found = arrival.read()
        return _store(desk, replace(entry, files_sha256=digest), arrival.source, case, found)
    except InputError as refusal:
        if refusal.is_of_the_machine:
            raise
        problems = refusal.problems
    except ConfigError:
        raise
    except Exception as error:  # the boundary: one study must not end the intake of thousands
        log.error("%s %s", entry.key, type(error).__name__)
        message = f"vmat-rt failed over this study by its own fault ({type(error).__name__})."
        problems = (Problem("INTERNAL_ERROR", message, "Please report it; the others were not touched."),)
    return refuse_study(entry, problems, arrival.telltale())


def refuse_study(entry: Entry, problems: Iterable[Problem], telltale: frozenset[str] = frozenset()) -> StudyOutcome:
    """The outcome of a study that cannot be used: its errors, without what may lead to a person."""
    errors = tuple(remove_identity(problem, telltale) for problem in problems if problem.severity == "error")
    return StudyOutcome(entry.key, "refused", tuple(dict.fromkeys(errors)))


def warn_of_unknown_patient() -> Problem:
    """The warning of a study that does not say whose it is."""
    message = "PatientID is empty or a placeholder: the study counts as a patient of its own, unless images agree."
    return warning("PATIENT_UNKNOWN", message, "Give each patient a number of his own when pseudonymising.")


def _store(desk: Desk, entry: Entry, source: Source, case: Case, problems: tuple[Problem, ...]) -> StudyOutcome:
    """The key file first, so that no case is ever without its key; last where a case is replaced.

    Then a run that was killed finds the old files' hash and asks again, instead of taking the old case for the new.
    """
    image = hash_image(case.ct)
    entry = replace(entry, image_sha256=image, study_sha256=hash_study(case, image))
    is_replaced = entry.key in desk.stored
    if not is_replaced:
        claim = desk.keys.claim(entry, desk.stored)
        entry = claim.entry
        if claim.repeats:
            return StudyOutcome(entry.key, "duplicate", (_describe_repetition(claim.repeats),))
    origin = CaseOrigin(
        key=entry.key,
        patient=entry.patient,
        source=source,
        image_sha256=image,
        provenance={"vmat_rt": version("vmat-rt")},
    )
    record = describe(case, origin, tuple(problem.code for problem in problems))
    desk.cohort.add(case, record, replace=is_replaced)
    if is_replaced:
        desk.keys.claim(entry, desk.stored)
    return StudyOutcome(entry.key, "added", tuple(remove_identity(problem) for problem in problems))


def _warn_of_change() -> Problem:
    message = "The study is in the cohort already, but its files have changed since."
    return Problem("STUDY_CHANGED", message, "Add it again with --replace.")


def _describe_repetition(key: str) -> Problem:
    message = f"Images, structures and dose are those of {key}, under other identifiers; it was not added again."
    return warning("DUPLICATE_STUDY", message, "Nothing needs to be done.")
