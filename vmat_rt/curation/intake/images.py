"""Folders of NIfTI or NRRD into a cohort: one patient each, kept or refused, resumable, by the rules of DICOM."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from vmat_rt.assembly.voxels import case_of_voxels
from vmat_rt.case import Case
from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.intake.entering import Desk, StudyArrival, StudyOutcome, enter, warn_of_unknown_patient
from vmat_rt.curation.intake.keys import Entry, KeyFile
from vmat_rt.curation.intake.run import IntakeOptions, IntakeRun, find_key_file, run_intake
from vmat_rt.curation.intake.scan import is_placeholder
from vmat_rt.curation.intake.settings import choose_fitting_protocol, choose_protocols, create_cohort, open_cohort
from vmat_rt.curation.intake.summary import IntakeSummary
from vmat_rt.errors import ConfigError, InputError, Problem, raise_errors
from vmat_rt.gate.examine import check_entry
from vmat_rt.imagefiles.mapping import MAPPING_FILE, ImageMapping, read_mapping
from vmat_rt.imagefiles.naming import CT, list_image_files
from vmat_rt.imagefiles.patient import ImageFolder, open_folder, read_patient
from vmat_rt.imagefiles.volume import strip_suffix
from vmat_rt.protocol import Protocol, load_protocol, packaged_protocols

_LOOKED_AT: Final = 20
_SHORTEST_TELLTALE: Final = 3
_PROPOSED: Final = "Run vmat-rt predict FOLDER --nifti: it says what is wrong, and proposes a mapping."


@dataclass(frozen=True)
class ImageStudy:
    """A folder with one patient's images. patient: the folder right below the root, shared by all that lie in it."""

    patient: str
    folder: Path

    @property
    def entry(self) -> Entry:
        return Entry("", PatientID=self.patient, place=str(self.folder))


@dataclass(frozen=True)
class ImageJob:
    """One study for one worker. mapping: for folders without their own. replace, allowed: as IntakeOptions."""

    study: ImageStudy
    cohort_uri: str
    keys: KeyFile
    protocols: tuple[Protocol, ...]
    mapping: ImageMapping | None
    replace: bool
    allowed: frozenset[str] = frozenset()


def add_images(
    root: Path, cohort_uri: str | Path, options: IntakeOptions, mapping_file: Path | None = None
) -> IntakeSummary:
    """Add the patients below `root`, each in a folder of its own; those that cannot be used stand in refused.csv.

    mapping_file: holds for every folder that has no mapping.yaml of its own; without one the names of the files tell.
    Raises ConfigError (options, mapping file, key file, another run at work), InputError when there are no images
    below `root` (NO_IMAGES), when no cohort can be made of them, or when the disk is full.
    """
    root, path = root.resolve(), find_key_file(options.keys, cohort_uri)
    mapping = read_mapping(mapping_file) if mapping_file is not None else None
    studies = find_image_studies(root, mapping)
    if not studies:
        remedy = "Give the folder that holds a folder of images for each patient."
        raise InputError(Problem("NO_IMAGES", "There is no NIfTI or NRRD file below the folder.", remedy))
    cohort = _open_cohort(cohort_uri, options, studies, mapping)
    protocols = choose_protocols(cohort.settings.protocol, options.protocols or _find_named_protocols(mapping))
    keys = KeyFile(path)
    more = (mapping, options.replace, options.allowed)
    jobs = (ImageJob(study, cohort.place.root, keys, protocols, *more) for study in studies)
    return run_intake(
        IntakeRun(cohort, keys, root, len(studies), options), take_in_images, jobs, lambda job: job.study.entry
    )


def find_image_studies(root: Path, mapping: ImageMapping | None) -> tuple[ImageStudy, ...]:
    """The folders that hold a CT or a mapping file, below the folder of each patient; `root` itself may be the one.

    A patient's folder with images but neither is one too, so that its refusal says so.
    """
    if _is_study(root, mapping):
        return (ImageStudy(root.name, root),)
    patients = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    return tuple(ImageStudy(patient.name, folder) for patient in patients for folder in _find_studies(patient, mapping))


def _find_studies(patient: Path, mapping: ImageMapping | None) -> list[Path]:
    found, images = [], False
    for name, below, _ in os.walk(patient):
        folder = Path(name)
        below[:] = sorted(child for child in below if not child.startswith("."))
        images = images or bool(list_image_files(folder))
        if _is_study(folder, mapping):
            found.append(folder)
            below.clear()
    return found or ([patient] if images else [])


def _is_study(folder: Path, mapping: ImageMapping | None) -> bool:
    if (folder / MAPPING_FILE).is_file() or (mapping is not None and (folder / mapping.ct).is_file()):
        return True
    return mapping is None and any(strip_suffix(path).casefold() == CT for path in list_image_files(folder))


def take_in_images(job: ImageJob) -> tuple[StudyOutcome, ...]:
    """The study, stored or refused. Raises InputError when the cohort cannot be written, ConfigError for the keys."""
    study = job.study
    arrival = StudyArrival(
        entry=study.entry,
        source="images",
        sha256=lambda: _open_folder(job).sha256(),
        read=functools.partial(_read, job),
        telltale=lambda: frozenset(
            name for name in (study.patient, study.folder.name) if len(name) >= _SHORTEST_TELLTALE
        ),
    )
    return (enter(Desk.at(job.cohort_uri, job.keys, job.replace), arrival),)


def _open_folder(job: ImageJob) -> ImageFolder:
    """Raises InputError without names of files, which may be those of people."""
    try:
        return _open(job.study.folder, job.mapping, job.protocols)
    except InputError as refusal:
        found = "The folder's files cannot be told apart by their names or by its mapping file."
        raise InputError(replace(problem, message=found, remedy=_PROPOSED) for problem in refusal.problems) from None


def _open(folder: Path, mapping: ImageMapping | None, protocols: Sequence[Protocol]) -> ImageFolder:
    """A folder's own mapping file goes before that of all."""
    return open_folder(folder, None if (folder / MAPPING_FILE).is_file() else mapping, protocols)


def _read(job: ImageJob) -> tuple[Case, tuple[Problem, ...]]:
    """The case and what is to be noted with it. Raises InputError with all that stands against it."""
    images = _open_folder(job)
    voxels = read_patient(images)
    if images.mapping.dose is None:
        remedy = "Add the plan's dose in Gy over all fractions as dose.nii.gz, or name it in the mapping file."
        no_dose = Problem("NO_DOSE", "The folder has no dose, so there is nothing to learn from it.", remedy)
        voxels = replace(voxels, problems=(*voxels.problems, no_dose))
    case = case_of_voxels(voxels, _choose_protocols(images, job.protocols))
    site = job.protocols[0].site
    found = (
        *check_entry(case, site, job.allowed),
        *([warn_of_unknown_patient()] if is_placeholder(job.study.patient) else ()),
    )
    raise_errors(found)
    return case, found


def _choose_protocols(images: ImageFolder, allowed: Sequence[Protocol]) -> Sequence[Protocol]:
    """The protocol that the mapping names, which has to be of the cohort's site; else those allowed."""
    try:
        own = images.protocol()
    except ConfigError as error:
        raise InputError(Problem("MAPPING_INVALID", "The protocol that it names cannot be read.", _PROPOSED)) from error
    if own is None:
        return allowed
    if own.site != allowed[0].site:
        message = f"The mapping names a protocol of the site {own.site}; the cohort is of {allowed[0].site}."
        raise InputError(Problem("MAPPING_INVALID", message, "Add the patient to a cohort of that site."))
    return [own]


def _open_cohort(
    uri: str | Path, options: IntakeOptions, studies: Sequence[ImageStudy], mapping: ImageMapping | None
) -> Cohort:
    if Cohort.exists(uri):
        return open_cohort(uri, options.new)
    given = options.protocols or _find_named_protocols(mapping)
    data = "clinical studies, read from NIfTI or NRRD"
    new = replace(options.new, provenance=options.new.provenance.model_copy(update={"data": data}))
    return create_cohort(uri, given[0] if given else _choose_fitting_protocol(studies, mapping), new)


def _find_named_protocols(mapping: ImageMapping | None) -> tuple[Protocol, ...]:
    return (load_protocol(mapping.protocol),) if mapping is not None and mapping.protocol is not None else ()


def _choose_fitting_protocol(studies: Sequence[ImageStudy], mapping: ImageMapping | None) -> Protocol:
    packaged = [load_protocol(name) for name in packaged_protocols()]

    def names_of(study: ImageStudy) -> Iterator[str]:
        yield from _open(study.folder, mapping, packaged).mapping.structures

    none = Problem("NO_IMAGES", "There are no images.", "Give the folder that holds a folder for each patient.")
    return choose_fitting_protocol((functools.partial(names_of, study) for study in studies[:_LOOKED_AT]), none)
