"""Which files of a folder belong together: a structure set and a CT series share a frame of reference."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from vmat_rt.dicom.attributes import Attributes
from vmat_rt.dicom.bounds import MOST_ITEMS, weigh
from vmat_rt.dicom.copies import without_copies
from vmat_rt.dicom.ct.series import ct_series
from vmat_rt.dicom.deidentified import FOR_DEIDENTIFIED, can_be_one, moved_to_frame, without_patients
from vmat_rt.dicom.files import DicomFile, Kind, Scan, read_whole, scan_folder
from vmat_rt.dicom.structures import frame_claims, frames_of, referenced_images
from vmat_rt.errors import InputError, Problem, listed, shortened, warning

_NO_STRUCTURES = "Add the RTSTRUCT that was drawn on this CT."
_MOST_ITEMS = 2 * MOST_ITEMS
"""Of all structure sets of a folder: they are held together."""
_NO_CT = "Add the CT series that the structures were drawn on."


@dataclass(frozen=True)
class StructureFile:
    """An RTSTRUCT file with what it refers to: frames of reference, and CT series with the instances of each."""

    file: DicomFile
    source: Attributes
    frames: frozenset[str]
    images: dict[str, frozenset[str]]

    @property
    def contradicts_itself(self) -> bool:
        """Whether the set, its list of frames and its ROIs name frames of reference that have none in common."""
        claims = frame_claims(self.source)
        return bool(claims) and not claims[0].intersection(*claims)

    def describe(self) -> str:
        return f"{shortened(self.file.label) or 'without a label'!r} (UID {shortened(self.file.sop_uid, 64)})"


@dataclass(frozen=True)
class StudyFiles:
    """The files of one structure set and its CT series. Either may be absent; problems then say so.

    ct: every file of one series, in no order. plans, doses: all of the same patient; `read_files` picks those that
    belong to the structure set. problems hold errors where the files do not make a complete study.
    """

    structures: StructureFile | None
    ct: tuple[DicomFile, ...]
    plans: tuple[DicomFile, ...] = ()
    doses: tuple[DicomFile, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def structures_uid(self) -> str | None:
        """SOPInstanceUID of the RTSTRUCT."""
        return self.structures.file.sop_uid if self.structures else None

    @property
    def series_uid(self) -> str | None:
        """SeriesInstanceUID of the CT."""
        return self.ct[0].series_uid if self.ct else None

    @property
    def patient(self) -> str:
        """Identity: for comparing only."""
        return self.structures.file.patient if self.structures else self.ct[0].patient

    @property
    def key(self) -> str:
        """Stable name without identity: "case-" and 10 hex digits over the UIDs of study, CT series and RTSTRUCT."""
        files = [*self.ct[:1], *([self.structures.file] if self.structures else [])]
        return case_key(files[0].study_uid, self.series_uid or "", self.structures_uid or "")


def case_key(study_uid: str, series_uid: str, structures_uid: str) -> str:
    """The name of a case without identity, from the UIDs of its study, CT series and RTSTRUCT; see `StudyFiles.key`."""
    return "case-" + hashlib.sha256("\n".join((study_uid, series_uid, structures_uid)).encode()).hexdigest()[:10]


_Match: TypeAlias = tuple[StructureFile, tuple[DicomFile, ...], tuple[Problem, ...]]


def find_studies(folder: Path, *, deidentified: bool = False) -> tuple[StudyFiles, ...]:
    """One entry for each structure set and CT series that share a frame of reference, and for each left alone.

    deidentified: the folder holds a set that lost patients or frames of reference; see `dicom.deidentified`. Problems
    of the folder as a whole (files that cannot be read) stand in every entry. Raises InputError when the folder holds
    no CT and no RTSTRUCT (NOT_DICOM when nothing in it is DICOM).
    """
    return link(scan_folder(folder), deidentified=deidentified)


def link(scan: Scan, *, deidentified: bool = False) -> tuple[StudyFiles, ...]:
    """`find_studies` of files that were identified already."""
    scan = without_copies(without_patients(scan) if deidentified else scan)
    structures, problems = _structure_files(scan)
    found = ct_series(scan)
    told = {files[0].series_uid: told for files, told in found}
    series = [files for files, _ in found]
    common = (*scan.problems, *problems, *_foreign_problems(scan))
    _require_something(scan, structures, series, common)
    entries = []
    linked: set[str] = set()
    for structure in structures:
        own = [files for files in series if files[0].patient == structure.file.patient]
        matching: list[_Match] = [(structure, files, ()) for files in own if linked_to(structure, files)]
        if deidentified and not matching:
            matching = [_in_frame_of(structure, files) for files in own if _can_be_one(structure, files)]
        linked.update(files[0].series_uid for _, files, _ in matching)
        entries += [
            _entry(scan, moved, files, (*common, *told[files[0].series_uid], *more)) for moved, files, more in matching
        ]
        if not matching:
            entries.append(_entry(scan, structure, (), (*common, _no_ct_problem(structure, own, series))))
    alone = [files for files in series if files[0].series_uid not in linked]
    entries += [
        _entry(scan, None, ct, (*common, *told[ct[0].series_uid], _no_structures_problem(ct, structures)))
        for ct in alone
    ]
    return tuple(entries)


def _can_be_one(structure: StructureFile, ct: Sequence[DicomFile]) -> bool:
    listed: frozenset[str] = frozenset().union(*structure.images.values())
    return not structure.contradicts_itself and can_be_one(structure.source, structure.frames, listed, ct)


def _in_frame_of(structure: StructureFile, ct: tuple[DicomFile, ...]) -> _Match:
    source, told = moved_to_frame(structure.source, ct[0].frame_uid)
    return replace(structure, source=source, frames=frozenset({ct[0].frame_uid})), ct, (told,)


def _entry(
    scan: Scan, structure: StructureFile | None, ct: tuple[DicomFile, ...], problems: tuple[Problem, ...]
) -> StudyFiles:
    patient = structure.file.patient if structure else ct[0].patient
    plans = tuple(file for file in scan.of(Kind.PLAN) if file.patient == patient)
    doses = tuple(file for file in scan.of(Kind.DOSE) if file.patient == patient)
    return StudyFiles(structure, ct, plans, doses, problems)


def _structure_files(scan: Scan) -> tuple[list[StructureFile], list[Problem]]:
    found: list[StructureFile] = []
    problems: list[Problem] = []
    # Of files that contradict each other under one UID the first stands for the set, which is refused in any case.
    items = 0
    for file in _first_of_each(scan.of(Kind.STRUCTURES)):
        try:
            source = read_whole(file.path, "RTSTRUCT")
            items += weigh(file.path, "RTSTRUCT").items
            if items > _MOST_ITEMS:
                raise InputError(_too_much())
            found.append(StructureFile(file, source, frames_of(source), referenced_images(source)))
        except InputError as error:
            problems.extend(error.problems)
    return found, problems


def _too_much() -> Problem:
    message = f"The structure sets of the folder hold more than {_MOST_ITEMS} contours and references together"
    return Problem("DICOM_TOO_LARGE", f"{message}, which is more than is read.", "Keep one study in the folder.")


def _first_of_each(files: Sequence[DicomFile]) -> list[DicomFile]:
    first: dict[str, DicomFile] = {}
    for file in files:
        first.setdefault(file.sop_uid or str(file.path), file)
    return list(first.values())


def _foreign_problems(scan: Scan) -> tuple[Problem, ...]:
    """A warning when plans or doses are of a patient of whom there is neither CT nor structure set."""
    of_patients = {file.patient for file in scan.files if file.kind not in (Kind.PLAN, Kind.DOSE)}
    foreign = [file for file in scan.files if file.patient not in of_patients]
    if not foreign:
        return ()
    message = f"{len(foreign)} RTPLAN or RTDOSE files are of another patient than CT and structures; none is used."
    return (warning("FOREIGN_FILES", message, "Check how they came into the folder."),)


def linked_to(structure: StructureFile, ct: Sequence[DicomFile]) -> bool:
    """By frame of reference; by the series that it refers to only where the structure set names no frame.

    One that names frames which contradict one another belongs to none: nobody can tell where its contours lie.
    """
    if structure.contradicts_itself:
        return False
    if structure.frames:
        return any(file.frame_uid in structure.frames for file in ct)
    return ct[0].series_uid in structure.images


def _require_something(
    scan: Scan, structures: list[StructureFile], series: list[tuple[DicomFile, ...]], problems: tuple[Problem, ...]
) -> None:
    if structures or series:
        return
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise InputError(errors)
    if not scan.files:
        message = f"There is no CT and no RTSTRUCT among the {scan.others + len(scan.problems)} files of the folder."
        raise InputError(Problem("NOT_DICOM", message, "Give the folder of a DICOM export (CT and RTSTRUCT)."))
    message = f"There are {len(scan.files)} RTPLAN or RTDOSE files, but no RTSTRUCT."
    raise InputError(Problem("NO_STRUCTURES", message, _NO_STRUCTURES))


def _no_ct_problem(
    structure: StructureFile, ct: list[tuple[DicomFile, ...]], every: list[tuple[DicomFile, ...]]
) -> Problem:
    """ct: the series of this patient, every: all that are there."""
    if not ct:
        others = any(linked_to(structure, files) or _can_be_one(structure, files) for files in every)
        remedy = f"{_NO_CT} {FOR_DEIDENTIFIED}" if others else _NO_CT
        rest = "; a CT of another PatientID fits it" if others else ""
        return Problem("NO_CT", f"There is no CT for the structure set {structure.describe()}{rest}.", remedy)
    frames = listed(sorted(structure.frames), most=2, longest=64) or "none"
    present = listed(
        [f"series {files[0].series_uid} in {files[0].frame_uid or 'none'}" for files in ct], 2, 140, between="; "
    )
    lies = "names contradictory frames" if structure.contradicts_itself else "lies in the frame"
    message = f"The structure set {structure.describe()} {lies} of reference {frames}, the CT in another "
    remedy = f"{_NO_CT} {FOR_DEIDENTIFIED}" if any(_can_be_one(structure, files) for files in ct) else _NO_CT
    return Problem("FRAME_MISMATCH", f"{message}({present}).", remedy)


def _no_structures_problem(ct: tuple[DicomFile, ...], structures: list[StructureFile]) -> Problem:
    message = f"There is no RTSTRUCT for the CT series {ct[0].series_uid} ({len(ct)} files)"
    others = [structure for structure in structures if structure.file.patient == ct[0].patient]
    rest = f"; {len(others)} RTSTRUCT of this patient lie in another frame of reference" if others else ""
    return Problem("NO_STRUCTURES", f"{message}{rest}.", _NO_STRUCTURES)


def missing_slices(structure: StructureFile, ct: Sequence[DicomFile]) -> tuple[Problem, ...]:
    """A warning when the structure set lists slices of this CT that are absent while others are present, or others
    altogether: it was drawn on other images, or the UIDs were replaced.
    """
    here = {file.sop_uid for file in ct}
    lists = [listed for listed in structure.images.values() if listed]
    if not lists:
        return ()
    series = structure.images.get(ct[0].series_uid) or max(lists, key=lambda listed: len(listed & here))
    present = len(series & here)
    if not present:
        message = (
            f"The structure set refers to {len(series)} images; none of them is among the {len(ct)} of the CT used."
        )
        remedy = "Check that it was drawn on this CT, and in the report that contours and CT fit."
        return (warning("STRUCTURES_OTHER_SLICES", message, remedy),)
    if present == len(series):
        return ()
    message = f"The structure set refers to {len(series)} slices of this CT series; {present} of them are here."
    return (warning("CT_INCOMPLETE", message, "Check that the whole series was exported."),)
