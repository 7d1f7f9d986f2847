"""One group of files -> the cases in it, each stored or refused with its reasons. Runs in a worker process."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from vmat_rt.assembly.required import choose_protocol
from vmat_rt.case import Case
from vmat_rt.curation.intake.choose import Candidate, candidates, dose_problems, files_sha256
from vmat_rt.curation.intake.entering import Arrival, Desk, Outcome, enter, patient_unknown, refused
from vmat_rt.curation.intake.keys import Entry, KeyFile
from vmat_rt.curation.intake.scan import Group, is_placeholder
from vmat_rt.dicom.files import DicomFile, Scan
from vmat_rt.dicom.identity import identifying_values
from vmat_rt.dicom.linking import StudyFiles, link
from vmat_rt.dicom.load import load_case
from vmat_rt.dicom.study import read_files
from vmat_rt.errors import InputError, Problem, raise_errors
from vmat_rt.gate.examine import entry_problems
from vmat_rt.protocol import Protocol


@dataclass(frozen=True)
class Job:
    """One group for one worker. replace: add again what was added already and has changed since."""

    group: Group
    cohort_uri: str
    keys: KeyFile
    protocols: tuple[Protocol, ...]
    replace: bool = False


def take_in(job: Job) -> tuple[Outcome, ...]:
    """Every study of the group. Raises InputError when the cohort cannot be written, ConfigError for the key file."""
    desk = Desk.at(job.cohort_uri, job.keys, job.replace)
    if not job.group.files:
        return (_unreadable(job),)
    try:
        entries = link(Scan(job.group.files, (), 0))
    except InputError as refusal:
        seen = _seen(job.group.files[0])
        return (refused(job.keys.register(seen), refusal.problems, _telltale(job.group.files[:1])),)
    return tuple(enter(desk, _arrival(job, candidate)) for candidate in candidates(entries))


def _arrival(job: Job, candidate: Candidate) -> Arrival:
    files = candidate.files
    return Arrival(
        entry=_identity(files),
        source="dicom",
        sha256=functools.partial(files_sha256, files),
        read=functools.partial(_read, job, candidate),
        telltale=functools.partial(_telltale, (*files.ct[:1], *_structures(files))),
    )


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


def _unreadable(job: Job) -> Outcome:
    """Files that cannot be read, in a folder where nobody can tell whose they are."""
    folder = job.group.problems[0][0]
    entry = job.keys.register(Entry("", place=folder))
    return refused(entry, (problem for _, problem in job.group.problems))


def _telltale(files: tuple[DicomFile, ...]) -> frozenset[str]:
    return frozenset[str]().union(*(identifying_values(file.path) for file in files))


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
        yield patient_unknown()
