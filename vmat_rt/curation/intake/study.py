"""One group of files -> the cases in it, each stored or refused with its reasons. Runs in a worker process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Final, Literal

from vmat_rt.assembly.required import choose_protocol
from vmat_rt.case import Case
from vmat_rt.cohort.checks import entry_problems
from vmat_rt.cohort.duplicates import image_sha256, study_sha256
from vmat_rt.cohort.record import Origin, describe
from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.intake.choose import Candidate, candidates, dose_problems, files_sha256
from vmat_rt.curation.intake.keys import Entry, KeyFile
from vmat_rt.curation.intake.refusals import without_identity
from vmat_rt.curation.intake.scan import Group, is_placeholder
from vmat_rt.dicom.files import DicomFile, Scan
from vmat_rt.dicom.identity import identifying_values
from vmat_rt.dicom.linking import StudyFiles, link
from vmat_rt.dicom.load import load_case
from vmat_rt.dicom.study import read_files
from vmat_rt.errors import ConfigError, InputError, Problem, raise_errors, warning
from vmat_rt.protocol import Protocol

log = logging.getLogger("vmat_rt")

NOT_THE_STUDY: Final = frozenset({"DISK_FULL", "OUTPUT_NOT_WRITABLE"})
"""Failures to store that say nothing of the study: nobody may note them as its refusal."""

State = Literal["added", "present", "duplicate", "refused"]


@dataclass(frozen=True)
class Job:
    """One group for one worker. replace: add again what was added already and has changed since."""

    group: Group
    cohort_uri: str
    keys: KeyFile
    protocols: tuple[Protocol, ...]
    replace: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a study. problems carry no identity: the reasons of a refusal, or what was noted with the case."""

    key: str
    state: State
    problems: tuple[Problem, ...] = ()


def take_in(job: Job) -> tuple[Outcome, ...]:
    """Every study of the group. Raises InputError when the cohort cannot be written, ConfigError for the key file."""
    cohort = Cohort.open(job.cohort_uri)
    stored = frozenset(cohort.keys())
    if not job.group.files:
        return (_unreadable(job),)
    try:
        entries = link(Scan(job.group.files, (), 0))
    except InputError as refusal:
        seen = _seen(job.group.files[0])
        return (_refused(job.keys.register(seen), refusal.problems, job.group.files[:1]),)
    return tuple(_outcome(job, cohort, stored, candidate) for candidate in candidates(entries))


def _outcome(job: Job, cohort: Cohort, stored: frozenset[str], candidate: Candidate) -> Outcome:
    files = candidate.files
    entry = job.keys.register(_identity(files))
    problems: tuple[Problem, ...] = ()
    try:
        digest = files_sha256(files)
        if entry.files_sha256 == digest:
            if entry.key in stored:
                return Outcome(entry.key, "present")
            repeated = job.keys.repeated_by(entry, stored)
            if repeated:
                return Outcome(entry.key, "duplicate", (_repeats(repeated),))
        if entry.key in stored and not job.replace:
            raise InputError(_changed())
        case, found = _read(job, candidate)
        return _store(job, cohort, stored, replace(entry, files_sha256=digest), case, found)
    except InputError as refusal:
        if any(problem.code in NOT_THE_STUDY for problem in refusal.problems):
            raise
        problems = refusal.problems
    except ConfigError:
        raise
    except Exception as error:  # the boundary: one study must not end the intake of thousands
        log.error("%s %s", entry.key, type(error).__name__)
        message = f"vmat-rt failed over this study by its own fault ({type(error).__name__})."
        problems = (Problem("INTERNAL_ERROR", message, "Please report it; the others were not touched."),)
    return _refused(entry, problems, (*files.ct[:1], *_structures(files)))


def _read(job: Job, candidate: Candidate) -> tuple[Case, tuple[Problem, ...]]:
    """The case and what is to be noted with it. Raises InputError with all that stands against it."""
    files = candidate.files
    folders = {str(file.path.parent) for file in (*files.ct, *_structures(files))}
    near = tuple(problem for folder, problem in job.group.problems if folder in folders)
    files = replace(files, problems=(*files.problems, *near))
    study = read_files(files)
    raise_errors(dose_problems(candidate, study))
    protocol = choose_protocol([roi.name for roi in study.structure_set.rois if roi.drawn], job.protocols)
    case = load_case(study, protocol)
    found = (*entry_problems(case, protocol.site), *_nameless(files))
    raise_errors(found)
    return case, found


def _store(
    job: Job, cohort: Cohort, stored: frozenset[str], entry: Entry, case: Case, found: tuple[Problem, ...]
) -> Outcome:
    """The key file first, so that no case is ever without its key; last where a case is replaced.

    Then a run that was killed finds the old files' hash and asks again, instead of taking the old case for the new.
    """
    image = image_sha256(case.ct)
    entry = replace(entry, image_sha256=image, study_sha256=study_sha256(case, image))
    anew = entry.key in stored
    if not anew:
        claim = job.keys.claim(entry, stored)
        entry = claim.entry
        if claim.repeats:
            return Outcome(entry.key, "duplicate", (_repeats(claim.repeats),))
    origin = Origin(
        key=entry.key,
        patient=entry.patient,
        source="dicom",
        image_sha256=image,
        provenance={"vmat_rt": version("vmat-rt")},
    )
    record = describe(case, origin, tuple(problem.code for problem in found))
    cohort.add(case, record, replace=anew)
    if anew:
        job.keys.claim(entry, stored)
    return Outcome(entry.key, "added", tuple(without_identity(problem) for problem in found))


def _unreadable(job: Job) -> Outcome:
    """Files that cannot be read, in a folder where nobody can tell whose they are."""
    folder = job.group.problems[0][0]
    entry = job.keys.register(Entry("", place=folder))
    return _refused(entry, tuple(problem for _, problem in job.group.problems), ())


def _refused(entry: Entry, problems: tuple[Problem, ...], files: tuple[DicomFile, ...]) -> Outcome:
    values = frozenset[str]().union(*(identifying_values(file.path) for file in files))
    errors = tuple(without_identity(problem, values) for problem in problems if problem.severity == "error")
    return Outcome(entry.key, "refused", tuple(dict.fromkeys(errors)))


def _identity(files: StudyFiles) -> Entry:
    first = next(iter((*files.ct, *_structures(files))))
    return replace(
        _seen(first),
        CTSeriesInstanceUID=files.series_uid or "",
        StructureSetUID=files.structures_uid or "",
    )


def _seen(file: DicomFile) -> Entry:
    return Entry("", PatientID=file.patient_id, StudyInstanceUID=file.study_uid, place=str(file.path.parent))


def _structures(files: StudyFiles) -> tuple[DicomFile, ...]:
    return (files.structures.file,) if files.structures else ()


def _nameless(files: StudyFiles) -> Iterator[Problem]:
    if is_placeholder(files.ct[0].patient_id):
        message = "PatientID is empty or a placeholder: the study counts as a patient of its own, unless images agree."
        yield warning("PATIENT_UNKNOWN", message, "Give each patient a number of his own when pseudonymising.")


def _changed() -> Problem:
    message = "The study is in the cohort already, but its files have changed since."
    return Problem("STUDY_CHANGED", message, "Add it anew with --replace.")


def _repeats(key: str) -> Problem:
    message = f"Images, structures and dose are those of {key}, under other identifiers; it was not added again."
    return warning("DUPLICATE_STUDY", message, "Nothing needs to be done.")
