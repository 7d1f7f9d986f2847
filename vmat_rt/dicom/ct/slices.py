"""CT files -> single slices: HU with the place, spacing and identity of each, before anything is said of the series."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from vmat_rt.dicom.attributes import Attributes
from vmat_rt.dicom.files import DicomFile, Kind, read_whole
from vmat_rt.dicom.pixels import hounsfield, rescaled, stored_values
from vmat_rt.errors import InputError, Problem

_FRAMES_LIMIT = 10_000
_PER_FRAME, _SHARED = "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"
_PIXELS = ("PixelData", "FloatPixelData")


@dataclass(frozen=True)
class CtSlice:
    """One slice. hu: (row, column). position_xyz: its first pixel, LPS mm; orientation: row and column cosines."""

    header: Dataset
    hu: NDArray[np.float32]
    position_xyz: NDArray[np.float64]
    orientation: NDArray[np.float64]
    pixel_spacing_mm: NDArray[np.float64]
    frame_uid: str
    sop_uid: str
    patient_position: str
    tilt_deg: float
    localizer: bool
    rescale_type: str

    @property
    def z_mm(self) -> float:
        return float(self.position_xyz[2])


def read_slices(file: DicomFile, claim: Callable[[int], None] = lambda _pixels: None) -> tuple[CtSlice, ...]:
    """The slice of a classic CT image, every frame of an enhanced one. Raises InputError.

    claim is told the number of pixels before they are read, and may refuse it.
    """
    a = read_whole(file.path, "CT file")
    claim((a.whole("Rows") or 0) * (a.whole("Columns") or 0) * (a.whole("NumberOfFrames") or 1))
    return _enhanced(file, a) if file.kind is Kind.ENHANCED_CT else (_classic(file, a),)


def _classic(file: DicomFile, a: Attributes) -> CtSlice:
    position, orientation = a.need_numbers("ImagePositionPatient", 3), a.need_numbers("ImageOrientationPatient", 6)
    spacing = _pixel_spacing_mm(a)
    hu = hounsfield(a)
    for keyword in _PIXELS:
        a.dataset.pop(keyword, None)
    return CtSlice(
        header=a.dataset,
        hu=hu,
        position_xyz=position,
        orientation=orientation,
        pixel_spacing_mm=spacing,
        frame_uid=file.frame_uid,
        sop_uid=file.sop_uid,
        patient_position=a.text("PatientPosition").upper(),
        tilt_deg=a.number("GantryDetectorTilt") or 0.0,
        localizer=file.localizer,
        rescale_type=a.text("RescaleType"),
    )


def _pixel_spacing_mm(a: Attributes) -> NDArray[np.float64]:
    spacing = a.need_numbers("PixelSpacing", 2)
    if not np.all((spacing > 0.01) & (spacing < 100)):
        message = f"{a.what} has PixelSpacing {spacing[0]:g} x {spacing[1]:g} mm."
        raise InputError(Problem("CT_PIXEL_SPACING", message, "Export the series again."))
    return spacing


def _enhanced(file: DicomFile, a: Attributes) -> tuple[CtSlice, ...]:
    """The frames of an enhanced CT object: what a functional group says of a frame, or of all (PS3.3 C.7.6.16)."""
    own, shared = a.items(_PER_FRAME), a.items(_SHARED)
    count = 1 if a.whole("NumberOfFrames") is None else a.need_whole("NumberOfFrames", 1, _FRAMES_LIMIT)
    if len(own) != count:
        message = f"{a.what} is an enhanced CT of {count} frames, but describes {len(own)} of them."
        remedy = "Export it again, or as classic single-slice CT images."
        raise InputError(Problem("CT_ENHANCED", message, remedy))
    stored = stored_values(a, count)
    header = Dataset({tag: a.dataset.get_item(tag) for tag in a.dataset.keys()})  # noqa: SIM118
    for keyword in (*_PIXELS, _PER_FRAME, _SHARED):
        header.pop(keyword, None)
    frames = []
    for values, groups in zip(stored, own, strict=True):
        frame = _Frame(groups, shared[0] if shared else None)
        transformation = frame.group("PixelValueTransformationSequence")
        frames.append(
            CtSlice(
                header=header,
                hu=rescaled(values, transformation, a),
                position_xyz=frame.group("PlanePositionSequence").need_numbers("ImagePositionPatient", 3),
                orientation=frame.group("PlaneOrientationSequence").need_numbers("ImageOrientationPatient", 6),
                pixel_spacing_mm=_pixel_spacing_mm(frame.group("PixelMeasuresSequence")),
                frame_uid=file.frame_uid,
                sop_uid=file.sop_uid,
                patient_position=a.text("PatientPosition").upper(),
                tilt_deg=frame.group("CTAcquisitionDetailsSequence").number("GantryDetectorTilt") or 0.0,
                localizer="LOCALIZER" in frame.group("CTImageFrameTypeSequence").text("FrameType").upper().split("\\"),
                rescale_type=transformation.text("RescaleType"),
            )
        )
    return tuple(frames)


@dataclass(frozen=True)
class _Frame:
    """The functional groups of one frame, and those that all frames share."""

    own: Attributes
    shared: Attributes | None

    def group(self, keyword: str) -> Attributes:
        """The group's own item, else the shared one; without attributes where neither is there."""
        for groups in (self.own, self.shared):
            items = groups.items(keyword) if groups is not None else ()
            if items:
                return items[0]
        return Attributes(Dataset(), self.own.what)
