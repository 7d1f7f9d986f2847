"""Sets that lost what links their files when they were de-identified, linked by study, references and geometry.

Only where the user says that the folder is such a set: what is guessed here is said in a warning each time.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vmat_rt.dicom.attributes import Attributes
from vmat_rt.dicom.ct.series import frame_of_slice
from vmat_rt.dicom.files import DicomFile, Kind, Scan
from vmat_rt.dicom.write.uids import derived_uid
from vmat_rt.errors import InputError, Problem, warning

OPTION = "--accept-deidentified"
FOR_DEIDENTIFIED = (
    f"For a de-identified set: {OPTION} (predict, inspect, dvh, cohort add), or accept_deidentified: true in the "
    "service's configuration, links by study and geometry."
)
_INSIDE = 0.95
_MARGIN_MM = 5.0
_IMAGES = (Kind.CT, Kind.ENHANCED_CT)


def without_patients(scan: Scan) -> Scan:
    """The scan with the files of a study as one patient's; those of a whole folder where its studies are not whole.

    CT files without frame of reference get one of their study. A warning says what was changed.
    """
    studies: dict[str, set[Kind]] = {}
    for file in scan.files:
        kind = Kind.CT if file.kind in _IMAGES else file.kind
        studies.setdefault(file.study_uid, set()).add(kind)
    main = {uid: kinds for uid, kinds in studies.items() if kinds & {Kind.CT, Kind.STRUCTURES}}
    by_study = len(main) > 1 and all({Kind.CT, Kind.STRUCTURES} <= kinds for kinds in main.values())
    files = tuple(_linked(file, by_study) for file in scan.files)
    return replace(scan, files=files, problems=(*scan.problems, *_told(scan, by_study)))


def _linked(file: DicomFile, by_study: bool) -> DicomFile:
    frame_uid = file.frame_uid or (_made_up_frame(file) if file.kind in _IMAGES else "")
    return replace(file, patient=file.study_uid if by_study else "one", frame_uid=frame_uid)


def _made_up_frame(file: DicomFile) -> str:
    return derived_uid("frame of reference", file.study_uid)


def _told(scan: Scan, by_study: bool) -> list[Problem]:
    patients = len({file.patient for file in scan.files})
    framed = sum(1 for file in scan.files if file.kind in _IMAGES and not file.frame_uid)
    told = []
    if patients > 1:
        place = "one StudyInstanceUID" if by_study else "the folder"
        message = f"PatientID differs ({patients} of them); files of {place} are taken for one patient's, by {OPTION}."
        told.append(warning("DEIDENTIFIED_PATIENT", message, "Check that the folder holds one patient."))
    if framed:
        message = f"{framed} CT files name no frame of reference; they are taken to lie in one, by {OPTION}."
        told.append(warning("DEIDENTIFIED_FRAME", message, "Check in the report that contours and CT fit."))
    return told


def can_be_one(source: Attributes, frames: frozenset[str], listed: frozenset[str], ct: Sequence[DicomFile]) -> bool:
    """Whether a structure set and a CT whose frames do not agree may be one: one names none, or its slices are listed.

    listed: SOPInstanceUIDs that the structure set refers to. Its contours must lie within the CT.
    """
    nameless = not frames or not ct[0].frame_uid or ct[0].frame_uid == _made_up_frame(ct[0])
    if not (nameless or listed & {file.sop_uid for file in ct}):
        return False
    return share_inside(source, ct) >= _INSIDE


def share_inside(source: Attributes, ct: Sequence[DicomFile]) -> float:
    """The share of a structure set's contour points that lie within the CT's slices; 0 where it cannot be told."""
    frames = [frame for frame in map(frame_of_slice, ct) if frame is not None]
    points = _points(source)
    if len(frames) < 2 or not len(points):
        return 0.0
    corners = np.concatenate([frame.corners_mm for frame in frames])
    low, high = corners.min(axis=0) - _MARGIN_MM, corners.max(axis=0) + _MARGIN_MM
    return float(np.mean(np.all((points >= low) & (points <= high), axis=1)))


def _points(source: Attributes) -> NDArray[np.float64]:
    """Contour points (n, xyz) of all ROIs; what cannot be read is left to the reader of structures."""
    found = [np.empty((0, 3))]
    try:
        contours = [item for roi in source.items("ROIContourSequence") for item in roi.items("ContourSequence")]
    except InputError:
        return found[0]
    for contour in contours:
        try:
            values = contour.raw_numbers("ContourData")
        except InputError:
            continue
        if values is not None and values.size % 3 == 0:
            found.append(values.reshape(-1, 3))
    return np.concatenate(found)


def moved_to_frame(source: Attributes, frame_uid: str) -> tuple[Attributes, Problem]:
    """The structure set as one that lies in another frame of reference, and the warning that it was put there."""
    dataset = copy.deepcopy(source.dataset)
    dataset.FrameOfReferenceUID = frame_uid
    for item in dataset.get("ReferencedFrameOfReferenceSequence", None) or []:
        item.FrameOfReferenceUID = frame_uid
    for item in dataset.get("StructureSetROISequence", None) or []:
        item.ReferencedFrameOfReferenceUID = frame_uid
    message = f"Structure set and CT do not name one frame of reference; its contours lie within the CT, and {OPTION} "
    told = warning(
        "DEIDENTIFIED_FRAME", f"{message}takes both for one.", "Check in the report that contours and CT fit."
    )
    return Attributes(dataset, source.what), told
