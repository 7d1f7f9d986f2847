"""Opens a file of the inbox and tells how it links to others. Runs in the reader's process."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable
from pathlib import Path

from vmat_rt.dicom.attributes import Attributes
from vmat_rt.dicom.dose import plan_of
from vmat_rt.dicom.files import DicomFile, Kind, read_whole, scan_folder
from vmat_rt.dicom.linking import case_key
from vmat_rt.dicom.plan import structure_set_of
from vmat_rt.dicom.structures import frames_of, referenced_images
from vmat_rt.errors import InputError
from vmat_rt_service.files import open_regular
from vmat_rt_service.intake.headers import DAMAGED, FOREIGN, Header, References

Digest = Callable[[str], str]

_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR}

_FARTHEST_MM = 1e5
"""A hundred metres: what lies beyond, or is no number, is no place in a patient's frame of reference."""


def make_digest(key: str) -> Digest:
    """A keyed digest for UIDs: short, for hundreds of thousands are held; "" stays ""."""
    secret = bytes.fromhex(key)
    return lambda uid: hashlib.blake2b(uid.encode(), digest_size=10, key=secret).hexdigest() if uid else ""


def examine(path: Path, digest: Digest) -> Header:
    """The header of one file."""
    try:
        with open_regular(path) as stream:
            stream.read(1)
    except OSError as error:
        return Header("unreadable" if error.errno in _NOT_ALLOWED else "broken", whole=False)
    try:
        scan = scan_folder(path)
    except InputError:
        return FOREIGN
    if not scan.files:
        errors = [problem for problem in scan.problems if problem.severity == "error"]
        return DAMAGED if errors and path.stat().st_size else FOREIGN
    file = scan.files[0]
    if file.kind is Kind.CT and file.localizer:
        return FOREIGN
    try:
        source: Attributes | None = read_whole(path, "file")
    except InputError:
        source = None
    return _read_header(file, source, digest)


def _read_header(file: DicomFile, source: Attributes | None, digest: Digest) -> Header:
    kind = "CT" if file.kind is Kind.ENHANCED_CT else file.kind.value
    frames = {file.frame_uid}
    z_mm, refers, references = None, "", None
    if source is not None and file.kind is Kind.CT:
        z_mm = _read_z_mm(source)
    elif source is not None and file.kind is Kind.PLAN:
        refers = _read_or_nothing(lambda: structure_set_of(source))
    elif source is not None and file.kind is Kind.DOSE:
        refers = _read_or_nothing(lambda: plan_of(source))
    elif source is not None and file.kind is Kind.STRUCTURES:
        references, frames = _read_references(source, digest)
    return Header(
        kind=kind,  # type: ignore[arg-type]
        whole=source is not None and (kind != "CT" or "PixelData" in source.dataset),
        sop=digest(file.sop_uid),
        series=digest(file.series_uid),
        frames=tuple(sorted(digest(uid) for uid in frames if uid)),
        patient=digest(file.patient),
        study=digest(file.study_uid),
        z_mm=z_mm,
        refers=digest(refers),
        references=references,
    )


def _read_or_nothing(read: Callable[[], str]) -> str:
    try:
        return read()
    except InputError:
        return ""


def _read_z_mm(source: Attributes) -> float | None:
    try:
        position = source.numbers("ImagePositionPatient", 3)
    except InputError:
        return None
    return None if position is None else _bounded_mm(float(position[2]))


def _bounded_mm(z_mm: float) -> float | None:
    """A coordinate, None where no patient can lie: what others wrote is bounded before anything is computed from it."""
    return round(z_mm, 2) if abs(z_mm) <= _FARTHEST_MM else None


def _read_references(source: Attributes, digest: Digest) -> tuple[References, set[str]]:
    """What can be read of them; the pipeline judges what cannot."""
    planes: set[float] = set()
    slice_z: dict[str, float] = {}
    try:
        images = {digest(s): tuple(sorted(map(digest, u))) for s, u in referenced_images(source).items()}
        frames = set(frames_of(source))
    except InputError:
        return References(), set()
    for contour in _read_contours(source):
        try:
            points = contour.raw_numbers("ContourData")
            if contour.text("ContourGeometricType") == "POINT" or points is None or points.size < 9:
                continue
            z = _bounded_mm(float(points[2]))
            if z is None:
                continue
            planes.add(z)
            for image in contour.items("ContourImageSequence"):
                slice_z[digest(image.text("ReferencedSOPInstanceUID"))] = z
        except InputError:
            continue
    return References(images, tuple(sorted(planes)), slice_z), frames


def _read_contours(source: Attributes) -> list[Attributes]:
    try:
        return [item for roi in source.items("ROIContourSequence") for item in roi.items("ContourSequence")]
    except InputError:
        return []


def find_key(staged: list[Path]) -> str | None:
    """The case key of staged files, as the pipeline will name it; None where there is no readable RTSTRUCT."""
    structures: DicomFile | None = None
    ct: DicomFile | None = None
    for path in staged:
        if structures is not None and ct is not None:
            break
        for file in scan_folder(path).files:
            if file.kind is Kind.STRUCTURES:
                structures = structures or file
            elif file.kind in (Kind.CT, Kind.ENHANCED_CT):
                ct = ct or file
    if structures is None:
        return None
    return case_key((ct or structures).study_uid, ct.series_uid if ct else "", structures.sop_uid)
