"""Thousands of DICOM studies into a cohort: scanned once, read in parallel, each kept or refused, resumable."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.intake.keys import Entry, KeyFile
from vmat_rt.curation.intake.run import IntakeOptions, IntakeRun, find_key_file, run_intake
from vmat_rt.curation.intake.scan import FolderIndex
from vmat_rt.curation.intake.settings import choose_fitting_protocol, choose_protocols, create_cohort, open_cohort
from vmat_rt.curation.intake.study import StudyJob, take_in
from vmat_rt.curation.intake.summary import IntakeSummary
from vmat_rt.dicom.files import DicomFile, Kind, read_whole
from vmat_rt.errors import InputError, Problem

_LOOKED_AT: Final = 20


def add_studies(root: Path, cohort_uri: str | Path, options: IntakeOptions) -> IntakeSummary:
    """Add every study below `root`; those that cannot be used stand in refused.csv of the cohort.

    Raises ConfigError (options, key file, another run at work), InputError when there is no DICOM below `root`
    (NOT_DICOM), when no cohort can be made of it, or when the disk is full.
    """
    root, path = root.resolve(), find_key_file(options.keys, cohort_uri)
    with FolderIndex() as index:
        index.fill(root, options.workers, options.progress)
        if not index.files and not index.unreadable:
            message = f"There is no CT, RTSTRUCT, RTPLAN or RTDOSE among the {index.others} files of the folder."
            raise InputError(Problem("NOT_DICOM", message, "Give the folder that holds the DICOM exports."))
        cohort = _open_cohort(cohort_uri, options, index)
        protocols = choose_protocols(cohort.settings.protocol, options.protocols)
        keys = KeyFile(path)
        more = (options.replace, options.allowed, options.deidentified)
        jobs = (
            StudyJob(group, cohort.place.root, keys, protocols, *more) for group in index.groups(options.deidentified)
        )
        run = IntakeRun(cohort, keys, root, index.count(Kind.STRUCTURES), options)
        return run_intake(run, take_in, jobs, _make_entry)


def _open_cohort(uri: str | Path, options: IntakeOptions, index: FolderIndex) -> Cohort:
    if Cohort.exists(uri):
        return open_cohort(uri, options.new)
    if options.protocols:
        return create_cohort(uri, options.protocols[0], options.new)
    sets = (functools.partial(_read_roi_names, file) for file in index.some(Kind.STRUCTURES, _LOOKED_AT))
    none = Problem("NO_STRUCTURES", "There is no RTSTRUCT.", "Add the RTSTRUCT of each study.")
    return create_cohort(uri, choose_fitting_protocol(sets, none), options.new)


def _read_roi_names(file: DicomFile) -> list[str]:
    source = read_whole(file.path, "RTSTRUCT")
    return [item.text("ROIName") for item in source.items("StructureSetROISequence")]


def _make_entry(job: StudyJob) -> Entry:
    first = job.group.files[0]
    return Entry("", PatientID=first.patient_id, place=str(first.path.parent))
