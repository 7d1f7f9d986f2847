"""Which files of a folder belong together: a structure set and a CT series share a frame of reference."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vmat_rt.dicom.attributes import Attributes
from vmat_rt.dicom.copies import without_copies
from vmat_rt.dicom.files import DicomFile, Kind, Scan, read_whole, scan_folder
from vmat_rt.dicom.structures import frame_claims, frames_of, referenced_images
from vmat_rt.errors import InputError, Problem, warning

_NO_STRUCTURES = "Add the RTSTRUCT that was drawn on this CT."
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
        return f"{self.file.label or 'without a label'!r} (UID {self.file.sop_uid})"


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


def find_studies(folder: Path) -> tuple[StudyFiles, ...]:
    """One entry for each structure set and CT series that share a frame of reference, and for each left alone.

    Problems of the folder as a whole (files that cannot be read) stand in every entry. Raises InputError when the
    folder holds no CT and no RTSTRUCT (NOT_DICOM when nothing in it is DICOM).
    """
    return link(scan_folder(folder))


def link(scan: Scan) -> tuple[StudyFiles, ...]:
    """`find_studies` of files that were identified already."""
    scan = without_copies(scan)
    structures, problems = _structure_files(scan)
    series = _series(scan)
    common = (*scan.problems, *problems, *_foreign_problems(scan))
    _require_something(scan, structures, series, common)
    entries = []
    linked: set[str] = set()
    for structure in structures:
        own = [files for files in series if files[0].patient == structure.file.patient]
        matching = [files for files in own if linked_to(structure, files)]
        linked.update(files[0].series_uid for files in matching)
        for files in matching or [()]:
            missing = () if matching else (_no_ct_problem(structure, own),)
            entries.append(_entry(scan, structure, files, (*common, *missing)))
    alone = [files for files in series if files[0].series_uid not in linked]
    entries += [_entry(scan, None, ct, (*common, _no_structures_problem(ct, structures))) for ct in alone]
    return tuple(entries)


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
    for file in _first_of_each(scan.of(Kind.STRUCTURES)):
        try:
            source = read_whole(file.path, "RTSTRUCT")
            found.append(StructureFile(file, source, frames_of(source), referenced_images(source)))
        except InputError as error:
            problems.extend(error.problems)
    return found, problems


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


def _series(scan: Scan) -> list[tuple[DicomFile, ...]]:
    """CT series of a folder; a series of nothing but localizers is none."""
    series: dict[str, list[DicomFile]] = {}
    for file in (*scan.of(Kind.CT), *scan.of(Kind.ENHANCED_CT)):
        series.setdefault(file.series_uid, []).append(file)
    return [tuple(files) for files in series.values() if not all(file.localizer for file in files)]


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


def _no_ct_problem(structure: StructureFile, ct: list[tuple[DicomFile, ...]]) -> Problem:
    if not ct:
        return Problem("NO_CT", f"There is no CT for the structure set {structure.describe()}.", _NO_CT)
    frames = ", ".join(sorted(structure.frames)) or "none"
    present = "; ".join(f"series {files[0].series_uid} in {files[0].frame_uid or 'none'}" for files in ct)
    lies = "names contradictory frames" if structure.contradicts_itself else "lies in the frame"
    message = f"The structure set {structure.describe()} {lies} of reference {frames}, the CT in another "
    return Problem("FRAME_MISMATCH", f"{message}({present}).", _NO_CT)


def _no_structures_problem(ct: tuple[DicomFile, ...], structures: list[StructureFile]) -> Problem:
    message = f"There is no RTSTRUCT for the CT series {ct[0].series_uid} ({len(ct)} files)"
    others = [structure for structure in structures if structure.file.patient == ct[0].patient]
    rest = f"; {len(others)} RTSTRUCT of this patient lie in another frame of reference" if others else ""
    return Problem("NO_STRUCTURES", f"{message}{rest}.", _NO_STRUCTURES)


def missing_slices(structure: StructureFile, ct: Sequence[DicomFile]) -> tuple[Problem, ...]:
    """A warning when the structure set lists slices of this very series that are absent while others are present."""
    listed = structure.images.get(ct[0].series_uid, frozenset())
    present = listed & {file.sop_uid for file in ct}
    if not present or len(present) == len(listed):
        return ()
    message = f"The structure set refers to {len(listed)} slices of this CT series; {len(present)} of them are here."
    return (warning("CT_INCOMPLETE", message, "Check that the whole series was exported."),)
