"""What lies in a folder: every DICOM file, classified by its SOP class, with the identifiers that link files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_partial

from vmat_rt.dicom.attributes import Attributes
from vmat_rt.dicom.bounds import check_bounds, weigh
from vmat_rt.dicom.write.header import MANUFACTURER, NOT_FOR_TREATMENT
from vmat_rt.dicom.write.uids import IMPLEMENTATION_UID
from vmat_rt.errors import InputError, Problem, Severity, warning

_COPY_AGAIN = "Copy or export that file again; it may have been cut off on the way."
_LAST_HEADER_TAG = 0x30060009  # past the labels of structure sets, before everything long


class Kind(StrEnum):
    """What a file is for us."""

    CT = "CT"
    ENHANCED_CT = "enhanced CT"
    STRUCTURES = "RTSTRUCT"
    PLAN = "RTPLAN"
    DOSE = "RTDOSE"
    OTHER = "other"


_BY_SOP_CLASS = {
    "1.2.840.10008.5.1.4.1.1.2": Kind.CT,
    "1.2.840.10008.5.1.4.1.1.2.1": Kind.ENHANCED_CT,
    "1.2.840.10008.5.1.4.1.1.2.2": Kind.ENHANCED_CT,
    "1.2.840.10008.5.1.4.1.1.481.2": Kind.DOSE,
    "1.2.840.10008.5.1.4.1.1.481.3": Kind.STRUCTURES,
    "1.2.840.10008.5.1.4.1.1.481.5": Kind.PLAN,
    "1.2.840.10008.5.1.4.1.1.481.8": Kind.PLAN,  # ion plans, so that they can be refused by name
}
_BY_MODALITY = {"CT": Kind.CT, "RTSTRUCT": Kind.STRUCTURES, "RTPLAN": Kind.PLAN, "RTDOSE": Kind.DOSE}


@dataclass(frozen=True)
class DicomFile:
    """One file and what links it to others. patient is patient_id, or PatientName where there is no ID."""

    path: Path
    kind: Kind
    sop_uid: str
    patient: str
    study_uid: str
    series_uid: str
    frame_uid: str
    label: str = ""
    localizer: bool = False
    patient_id: str = ""


@dataclass(frozen=True)
class Scan:
    """The CT, RTSTRUCT, RTPLAN and RTDOSE files of a folder, and what went wrong while looking."""

    files: tuple[DicomFile, ...]
    problems: tuple[Problem, ...]
    others: int

    def of(self, kind: Kind) -> tuple[DicomFile, ...]:
        return tuple(file for file in self.files if file.kind is kind)


def scan_folder(folder: Path) -> Scan:
    """Every usable DICOM file below `folder` (or that one file), in path order. Links are followed, each folder once.

    Files that are not DICOM are passed over; a DICOM file that cannot be read is an error problem, an empty or foreign
    file called *.dcm a problem too. vmat-rt's own results are left out. Copies are all there: see `without_copies`.
    Raises InputError when there is no such folder.
    """
    if not folder.exists():
        raise InputError(Problem("NO_FOLDER", f"There is no folder {folder}.", "Give the folder that holds the study."))
    files: list[DicomFile] = []
    problems: list[Problem] = []
    others = 0
    for path in regular_files(folder):
        found = identify(path, str(path.relative_to(folder)) if path != folder else path.name)
        if isinstance(found, Problem):
            problems.append(found)
        elif found is None or found.kind is Kind.OTHER:
            others += 1
        else:
            files.append(found)
    return Scan(tuple(files), tuple(problems), others)


def regular_files(folder: Path) -> Iterator[Path]:
    """Every file below `folder` (or that one file), in path order. Links are followed; each folder and file once."""
    if folder.is_file():
        yield folder
        return
    seen_folders: set[str] = set()
    seen_files: set[tuple[int, int]] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen_folders:
            folders.clear()
            continue
        seen_folders.add(real)
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            if not path.is_file():  # pipes, sockets, broken links
                continue
            status = path.stat()
            if (status.st_dev, status.st_ino) not in seen_files:
                seen_files.add((status.st_dev, status.st_ino))
                yield path


def identify(path: Path, name: str) -> DicomFile | Problem | None:
    """The file's identity, None for what is not DICOM or not ours, or the problem with it. Reads its header only.

    name is what problems call the file.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(132)
            if not _looks_like_dicom(head):
                return _foreign(path, name, empty=not head)
            stream.seek(0)
            weigh(path, f"{name!r}", _LAST_HEADER_TAG)
            return _identified(path, name, stream, has_prefix=head[128:] == b"DICM")
    except InputError as error:
        return error.problems[0]
    except OSError as error:
        return Problem("DICOM_UNREADABLE", f"{name!r} cannot be read: {error.strerror or error}.", _COPY_AGAIN)


def _looks_like_dicom(head: bytes) -> bool:
    """The prefix of a DICOM file, or a first element of group 2 or 8 where a file has no preamble."""
    if head[128:132] == b"DICM":
        return True
    if len(head) < 16 or head[1] != 0 or head[0] not in (2, 8) or head[3] != 0:
        return False
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return explicit or int.from_bytes(head[4:8], "little") < 256


def _foreign(path: Path, name: str, empty: bool) -> Problem | None:
    if path.suffix.lower() not in {".dcm", ".dicom"} or path.name.startswith("."):
        return None
    if empty:
        return Problem("DICOM_UNREADABLE", f"{name!r} is empty.", _COPY_AGAIN)
    return warning("NOT_DICOM", f"{name!r} is not a DICOM file and was passed over.", "Check that nothing is missing.")


def _identified(path: Path, name: str, stream: BinaryIO, has_prefix: bool) -> DicomFile | Problem | None:
    unreadable = Problem("DICOM_UNREADABLE", f"{name!r} begins like DICOM but its header cannot be read.", _COPY_AGAIN)
    try:
        header = Attributes(
            _parsed(
                lambda: read_partial(stream, stop_when=lambda tag, _vr, _length: tag > _LAST_HEADER_TAG, force=True)
            ),
            f"{name!r}",
        )
        kind = _kind(header)
        if kind is None:
            return unreadable if has_prefix else None
        file = DicomFile(
            path=path,
            kind=kind,
            sop_uid=header.text("SOPInstanceUID"),
            patient=header.text("PatientID") or header.text("PatientName"),
            patient_id=header.text("PatientID"),
            study_uid=header.text("StudyInstanceUID"),
            series_uid=header.text("SeriesInstanceUID"),
            frame_uid=header.text("FrameOfReferenceUID"),
            label=header.text("StructureSetLabel"),
            localizer="LOCALIZER" in header.text("ImageType").upper().split("\\"),
        )
        if _is_our_prediction(header):
            return None
    except InputError:
        return unreadable
    return file if kind is Kind.OTHER else _unidentified(file, name) or file


def _is_our_prediction(header: Attributes) -> bool:
    """Whether vmat-rt predicted this object: a result, never input. What it exported of a case is input.

    The manufacturer says who made an object; the implementation class, which tells who wrote the file, stands in where
    none is given. Of our objects only predictions name the digest of a model (see `write.header.origin_of`).
    """
    maker = header.text("Manufacturer")
    if not maker and isinstance(header.dataset, FileDataset):
        meta = Attributes(header.dataset.file_meta, header.what)
        maker = MANUFACTURER if meta.text("ImplementationClassUID") == IMPLEMENTATION_UID else ""
    if maker != MANUFACTURER:
        return False
    by_model = any(text.startswith("sha256 ") for text in header.text("SoftwareVersions").split("\\"))
    return by_model or header.text("SeriesDescription") == NOT_FOR_TREATMENT


def _unidentified(file: DicomFile, name: str) -> Problem | None:
    """The problem of a file that lacks what links it to others; a plan or dose can be done without."""
    identifiers = {
        "SOPInstanceUID": file.sop_uid,
        "SeriesInstanceUID": file.series_uid,
        "StudyInstanceUID": file.study_uid,
    }
    absent = [keyword for keyword, value in identifiers.items() if not value]
    if not absent:
        return None
    try:
        read_whole(file.path, str(file.kind))
    except InputError as error:  # cut off before they came
        return error.problems[0]
    message = f"{file.kind} file {name!r} has no {' and no '.join(absent)}."
    severity: Severity = "warning" if file.kind in (Kind.PLAN, Kind.DOSE) else "error"
    return Problem("ATTRIBUTE_MISSING", message, "Export it again from the system that made it.", severity)


def _kind(header: Attributes) -> Kind | None:
    """From the SOP class; from Modality only where no SOP class is given; None when neither is."""
    sop_class = header.text("SOPClassUID")
    if not sop_class and isinstance(header.dataset, FileDataset):
        sop_class = Attributes(header.dataset.file_meta, header.what).text("MediaStorageSOPClassUID")
    if sop_class:
        return _BY_SOP_CLASS.get(sop_class, Kind.OTHER)
    modality = header.text("Modality").upper()
    return _BY_MODALITY.get(modality, Kind.OTHER) if modality else None


def kind_of(dataset: Dataset, what: str) -> Kind | None:
    """What a dataset is, by its SOP class; by Modality where it has none."""
    return _kind(Attributes(dataset, what))


def read_whole(path: Path, what: str) -> Attributes:
    """A whole file, pixels included.

    Raises InputError: NOT_DICOM when it does not begin like DICOM, DICOM_TRUNCATED when it ends before its last element
    does.
    """
    if not _begins_like_dicom(path):
        message = f"{path.name!r} is not a DICOM file, so it is no {what}."
        raise InputError(Problem("NOT_DICOM", message, "Give a DICOM file."))
    check_bounds(path, f"{what} {path.name!r}")
    try:
        dataset = _parsed(lambda: _complete(pydicom.dcmread(path, force=True)))
    except InputError:
        message = f"{what} {path.name!r} is cut off or damaged."
        raise InputError(Problem("DICOM_TRUNCATED", message, _COPY_AGAIN)) from None
    return Attributes(dataset, f"{what} {path.name!r}")


def read_header(path: Path, what: str, keywords: Sequence[str] = ()) -> Attributes:
    """A file without pixels, or its elements called `keywords`. Raises InputError (DICOM_UNREADABLE, _TOO_LARGE)."""
    check_bounds(path, f"{what} {path.name!r}")
    tags = list(keywords) or None
    dataset = _parsed(lambda: pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=tags))
    return Attributes(dataset, f"{what} {path.name!r}")


def _begins_like_dicom(path: Path) -> bool:
    """Whether the file begins like DICOM; True for one that cannot be opened, which is told elsewhere."""
    try:
        with path.open("rb") as stream:
            return _looks_like_dicom(stream.read(132))
    except OSError:
        return True


def _parsed(read: Callable[[], Dataset]) -> Dataset:
    try:
        return read()
    except Exception as error:  # the boundary: pydicom raises whatever the bytes lead it to
        problem = Problem("DICOM_UNREADABLE", "A file's header cannot be read.", _COPY_AGAIN)
        raise InputError(problem) from error


def _complete(dataset: Dataset) -> Dataset:
    """The dataset; EOFError unless every value is as long as its element says: pydicom hands out a short one too."""
    elements: list[object] = list(dataset.elements())  # iterating over the dataset would convert the values
    short = [
        element
        for element in elements
        if isinstance(element, RawDataElement) and element.length not in (0xFFFFFFFF, len(element.value or b""))
    ]
    if short or not elements:
        raise EOFError
    return dataset
