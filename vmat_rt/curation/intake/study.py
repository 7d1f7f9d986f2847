"""One group of files -> the cases in it, each stored or refuse_study with its reasons. Runs in a worker process."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from vmat_rt.assembly.required import choose_protocol
from vmat_rt.case import Case
from vmat_rt.curation.intake.choose import Candidate, check_dose, find_candidates, hash_files
from vmat_rt.curation.intake.entering import (
    Desk,
    StudyArrival,
    StudyOutcome,
    enter,
    refuse_study,
    warn_of_unknown_patient,
)
from vmat_rt.curation.intake.keys import Entry, KeyFile
from vmat_rt.curation.intake.scan import Group, is_placeholder
from vmat_rt.dicom.deidentified import FOR_DEIDENTIFIED
from vmat_rt.dicom.files import DicomFile, Scan
from vmat_rt.dicom.identity import identifying_values
from vmat_rt.dicom.linking import StudyFiles, link
from vmat_rt.dicom.load import load_case
from vmat_rt.dicom.prescription.find import Given
from vmat_rt.dicom.study import read_files
from vmat_rt.errors import InputError, Problem, raise_errors
from vmat_rt.gate.examine import check_entry
from vmat_rt.protocol import Protocol


@dataclass(frozen=True)
class StudyJob:
    """One group for one worker. replace, allowed, deidentified: as IntakeOptions."""

    group: Group
    cohort_uri: str
    keys: KeyFile
    protocols: tuple[Protocol, ...]
    replace: bool = False
    allowed: frozenset[str] = frozenset()
    deidentified: bool = False


def take_in(job: StudyJob) -> tuple[StudyOutcome, ...]:
    """Every study of the group. Raises InputError when the cohort cannot be written, ConfigError for the key file."""
    desk = Desk.at(job.cohort_uri, job.keys, job.replace)
    if not job.group.files:
        return (_refuse_unreadable(job),)
    try:
        entries = link(Scan(job.group.files, (), 0), deidentified=job.deidentified)
    except InputError as refusal:
        seen = _make_seen(job.group.files[0])
        return (refuse_study(job.keys.register(seen), refusal.problems, _collect_telltales(job.group.files[:1])),)
    return tuple(enter(desk, _receive(job, candidate)) for candidate in find_candidates(entries))


def _receive(job: StudyJob, candidate: Candidate) -> StudyArrival:
    files = candidate.files
    return StudyArrival(
        entry=_make_identity(files),
        source="dicom",
        sha256=functools.partial(hash_files, files),
        read=functools.partial(_read, job, candidate),
        telltale=functools.partial(_collect_telltales, (*files.ct[:1], *_find_structures(files))),
    )


def _read(job: StudyJob, candidate: Candidate) -> tuple[Case, tuple[Problem, ...]]:
    """The case and what is to be noted with it. Raises InputError with all that stands against it."""
    files = candidate.files
    folders = {str(file.path.parent) for file in (*files.ct, *_find_structures(files))}
    near = tuple(problem for folder, problem in job.group.problems if folder in folders)
    files = replace(files, problems=tuple(_advise(job.group, problem) for problem in (*files.problems, *near)))
    study = read_files(files)
    raise_errors(check_dose(candidate, study))
    protocol = choose_protocol([roi.name for roi in study.structure_set.rois if roi.drawn], job.protocols)
    case = load_case(study, protocol, Given(allowed=job.allowed))
    found = (*check_entry(case, protocol.site, job.allowed), *_warn_of_nameless(files))
    raise_errors(found)
    return case, found


def _advise(group: Group, problem: Problem) -> Problem:
    """The problem, with the way out where the rest of the study is called another patient's."""
    if not group.divided or problem.code not in ("NO_CT", "NO_STRUCTURES") or FOR_DEIDENTIFIED in problem.remedy:
        return problem
    return replace(problem, remedy=f"{problem.remedy} {FOR_DEIDENTIFIED}")


def _refuse_unreadable(job: StudyJob) -> StudyOutcome:
    """Files that cannot be read, in a folder where it is unknown to which patient they belong."""
    folder = job.group.problems[0][0]
    entry = job.keys.register(Entry("", place=folder))
    return refuse_study(entry, (problem for _, problem in job.group.problems))


def _collect_telltales(files: tuple[DicomFile, ...]) -> frozenset[str]:
    return frozenset[str]().union(*(identifying_values(file.path) for file in files))


def _make_identity(files: StudyFiles) -> Entry:
    first = next(iter((*files.ct, *_find_structures(files))))
    return replace(
        _make_seen(first),
        CTSeriesInstanceUID=files.series_uid or "",
        StructureSetUID=files.structures_uid or "",
    )


def _make_seen(file: DicomFile) -> Entry:
    return Entry("", PatientID=file.patient_id, StudyInstanceUID=file.study_uid, place=str(file.path.parent))


def _find_structures(files: StudyFiles) -> tuple[DicomFile, ...]:
    return (files.structures.file,) if files.structures else ()


def _warn_of_nameless(files: StudyFiles) -> Iterator[Problem]:
    if is_placeholder(files.ct[0].patient_id):
        yield warn_of_unknown_patient()
