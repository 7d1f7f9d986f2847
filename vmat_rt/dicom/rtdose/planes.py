"""A dose that is exported as one RTDOSE file per plane: which files are planes of one dose, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmat_rt.dicom.attributes import Attributes
from vmat_rt.dicom.files import DicomFile, Kind, identify, read_whole
from vmat_rt.dicom.orientation import cosines
from vmat_rt.errors import InputError

_FEWEST = 3
_SAME_PLACE_MM = 0.01
_ALIKE_TEXT = ("FrameOfReferenceUID", "DoseUnits", "DoseType", "DoseSummationType", "StudyInstanceUID")
_ALIKE = ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient")


def planes_beside(path: Path, plane: Attributes) -> tuple[Attributes, ...]:
    """All planes of the dose of which a file holds one: itself and the RTDOSE files of its folder that fit it.

    The file alone where they do not make one dose of three planes or more.
    """
    found = [plane]
    for other in sorted(path.parent.iterdir()):
        file = identify(other, other.name) if other.is_file() and other != path else None
        if not isinstance(file, DicomFile) or file.kind is not Kind.DOSE:
            continue
        try:
            source = read_whole(other, "RTDOSE")
            if _described(source) == _described(plane):
                found.append(source)
        except InputError:
            continue
    return tuple(found) if are_one_dose(found) else (plane,)


def are_one_dose(planes: Sequence[Attributes]) -> bool:
    """Whether files are planes of one dose: a frame each, alike but for their place, one above the other."""
    try:
        if len(planes) < _FEWEST or any(_frames(plane) != 1 for plane in planes):
            return False
        if len({_described(plane) for plane in planes}) > 1:
            return False
        places = np.array([plane.need_numbers("ImagePositionPatient", 3) for plane in planes])
        offsets = offsets_mm(planes)
    except InputError:
        return False
    aside = places - places[0] - np.outer(offsets - offsets[0], _normal(planes[0]))
    return bool(np.all(np.abs(aside) < _SAME_PLACE_MM) and np.min(np.diff(np.sort(offsets))) > _SAME_PLACE_MM)


def offsets_mm(planes: Sequence[Attributes]) -> NDArray[np.float64]:
    """How far each plane lies along row x column. Raises InputError for a plane that does not say where it lies."""
    places = np.array([plane.need_numbers("ImagePositionPatient", 3) for plane in planes])
    offsets: NDArray[np.float64] = places @ _normal(planes[0])
    return offsets


def _normal(plane: Attributes) -> NDArray[np.float64]:
    directions = cosines(plane.need_numbers("ImageOrientationPatient", 6))
    return np.zeros(3) if directions is None else directions[2]


def _frames(plane: Attributes) -> int:
    return plane.whole("NumberOfFrames") or 1


def _described(plane: Attributes) -> tuple[object, ...]:
    """What planes of one dose share."""
    numbers = (tuple(np.round(plane.need_numbers(*pair), 4)) for pair in zip(_ALIKE, (1, 1, 2, 6), strict=True))
    plans = tuple(item.text("ReferencedSOPInstanceUID") for item in plane.items("ReferencedRTPlanSequence"))
    return (*(plane.text(keyword) for keyword in _ALIKE_TEXT), plans, *numbers)
