"""RTDOSE -> dose in Gy on a canonical grid (PS3.3 C.8.8.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Never

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Volume
from vmat_rt.dicom.attributes import Attributes
from vmat_rt.dicom.dose_meaning import DoseMeaning, meaning_of
from vmat_rt.dicom.files import Kind, kind_of, read_whole
from vmat_rt.dicom.orientation import cosines
from vmat_rt.dicom.pixels import Stored, stored_values
from vmat_rt.dicom.rtdose.planes import offsets_mm, planes_beside
from vmat_rt.errors import InputError, Problem, warning
from vmat_rt.geometry.orientation import find_signed_axis, make_canonical_volume

_FRAMES_LIMIT = 10_000
_SAME_MM = 0.01
_ROUNDED_MM = 0.055
"""Half of the last place of offsets that are written with one decimal, and a little."""
_HIGHEST_GY = 1e6
"""Far above what stands where cGy were written as Gy."""
_VOXELS_LIMIT = 70_000_000
_SPACING_LIMIT_MM = 100.0
_EXPORT_GY = "Export the dose as physical dose in Gy."


@dataclass(frozen=True)
class DoseFile:
    """An RTDOSE. volume: Gy (z, y, x), LPS; its frame_uid is "" where the file names none. meaning: what it says of
    itself; problems: what stands against taking it for the physical dose of a whole plan, and how it was read.
    simulated: it says that patient and dose are, as what `vmat-rt cohort export` writes of a simulated case does.
    patient_id: PatientID as it stands in the file, or "".
    """

    volume: Volume
    sop_uid: str
    meaning: DoseMeaning
    problems: tuple[Problem, ...] = ()
    simulated: bool = False
    patient_id: str = field(default="", repr=False)

    @property
    def plan_uid(self) -> str:
        """SOPInstanceUID of the first plan that it names, or ""."""
        return next(iter(self.meaning.plan_uids), "")

    @property
    def summation_type(self) -> str:
        return self.meaning.summation_type


def read_dose(path: Path) -> DoseFile:
    """Read an RTDOSE file: 16 or 32 bits, any axis-aligned orientation, frames in either direction.

    A file of one plane is read with the others of its folder that make one dose with it. Raises InputError when it is
    no RTDOSE, is damaged, is not in Gy, or holds values that cannot be dose.
    """
    a = read_whole(path, "RTDOSE")
    if kind_of(a.dataset, a.what) is not Kind.DOSE:
        raise InputError(Problem("DOSE_NOT_RTDOSE", f"{path.name!r} is no RTDOSE.", "Give an RTDOSE file."))
    return read_planes(planes_beside(path, a) if (a.whole("NumberOfFrames") or 1) == 1 else (a,))


def read_planes(files: Sequence[Attributes]) -> DoseFile:
    """The dose of one RTDOSE, or of several that `are_one_dose`. Raises InputError as `read_dose`."""
    offsets = offsets_mm(files) if len(files) > 1 else None
    if offsets is not None:
        files, offsets = [files[k] for k in np.argsort(offsets)], np.sort(offsets)
    a = files[0]
    dose_gy = np.concatenate([_gy_of(one) for one in files])
    _refuse_impossible(dose_gy)
    volume, problems = _placed(a, dose_gy, offsets)
    if offsets is not None:
        message = f"The dose lies in {len(files)} RTDOSE files of one plane each; they were read as one dose."
        problems = (*problems, warning("DOSE_PLANES", message, "Check in the report that no plane is missing."))
    meaning = meaning_of(a)
    found = (*meaning.problems(), *problems)
    return DoseFile(volume, a.text("SOPInstanceUID"), meaning, found, says_simulated(a), a.text("PatientID"))


def _gy_of(a: Attributes) -> NDArray[np.float32]:
    """Gy (frame, row, column) of one file."""
    _refuse_other_units(a)
    frames = a.whole("NumberOfFrames")
    frames = 1 if frames is None else a.need_whole("NumberOfFrames", 1, _FRAMES_LIMIT)
    voxels = frames * (a.whole("Rows") or 0) * (a.whole("Columns") or 0)
    if voxels > _VOXELS_LIMIT:
        message = f"The dose claims {voxels} voxels; {_VOXELS_LIMIT} are the most that is read."
        _refuse("DICOM_TOO_LARGE", message, "Export the dose on a coarser grid.")
    scaling = a.need_number("DoseGridScaling")
    if scaling <= 0:
        _refuse("DOSE_SCALING", f"DoseGridScaling is {scaling:g}.", _EXPORT_GY)
    return _scaled(stored_values(a, frames), scaling)


def says_simulated(a: Attributes) -> bool:
    """Whether an object calls itself simulated, as a word of one of its descriptions."""
    words = (a.text(keyword) for keyword in ("DoseComment", "SeriesDescription", "StudyDescription"))
    return any(re.search(r"\bsimulated\b", text, re.IGNORECASE) for text in words)


def plan_of(dose: Attributes) -> str:
    """SOPInstanceUID of the RTPLAN that a dose belongs to, or ""."""
    return next(iter(meaning_of(dose).plan_uids), "")


def has_pixels(dose: Attributes) -> bool:
    """Whether an RTDOSE holds a grid; one with DVHs or points alone does not."""
    return "PixelData" in dose.dataset or "FloatPixelData" in dose.dataset


def in_frame(dose: DoseFile, frame_uid: str) -> DoseFile:
    """A dose that names no frame of reference, placed in the one of the plan that it belongs to, with a warning."""
    if dose.volume.grid.frame_uid:
        return dose
    volume = replace(dose.volume, grid=replace(dose.volume.grid, frame_uid=frame_uid))
    message = "The RTDOSE names no frame of reference; it was taken to lie in that of its plan's structure set."
    said = warning("DOSE_NO_FRAME", message, "Check in the report that dose and structures fit.")
    return replace(dose, volume=volume, problems=(*dose.problems, said))


def _refuse_other_units(a: Attributes) -> None:
    units, kind = a.text("DoseUnits").upper(), a.text("DoseType").upper()
    if units == "RELATIVE":
        _refuse("DOSE_RELATIVE", "The RTDOSE is relative (DoseUnits RELATIVE), not in Gy.", _EXPORT_GY)
    if units != "GY":
        _refuse("DOSE_UNITS", f"The RTDOSE has DoseUnits {units or 'absent'!s} instead of GY.", _EXPORT_GY)
    if kind == "ERROR":
        _refuse("DOSE_IS_ERROR", "The RTDOSE is a difference of two doses (DoseType ERROR).", _EXPORT_GY)


def _scaled(stored: Stored, scaling: float) -> NDArray[np.float32]:
    """Gy, computed in double precision plane by plane: a dose of many voxels is held once."""
    dose_gy = np.empty(stored.shape, np.float32)
    for plane, values in zip(dose_gy, stored, strict=True):
        plane[:] = values.astype(np.float64) * scaling
    return dose_gy


def _refuse_impossible(dose_gy: NDArray[np.float32]) -> None:
    unknown = int(np.count_nonzero(~np.isfinite(dose_gy)))
    negative = int(np.count_nonzero(dose_gy < 0))
    if float(np.max(dose_gy)) > _HIGHEST_GY:
        _refuse("DOSE_IMPOSSIBLE", f"The dose reaches {np.max(dose_gy):.4g} Gy, which cannot be.", _EXPORT_GY)
    if unknown or negative:
        message = f"Of {dose_gy.size} dose voxels {unknown} are not numbers and {negative} are negative."
        _refuse("DOSE_IMPOSSIBLE", message, _EXPORT_GY)


def _placed(
    a: Attributes, dose_gy: NDArray[np.float32], offsets: NDArray[np.float64] | None
) -> tuple[Volume, tuple[Problem, ...]]:
    """The dose on its grid. offsets: of planes, mm, that lie in files of their own, `a` first."""
    position = a.need_numbers("ImagePositionPatient", 3)
    orientation = a.need_numbers("ImageOrientationPatient", 6)
    spacing = a.need_numbers("PixelSpacing", 2)
    directions = cosines(orientation)
    if directions is None or any(find_signed_axis(direction) is None for direction in directions):
        shown = "\\".join(f"{value:.4g}" for value in orientation)
        message = f"The dose grid lies oblique to the patient's axes (ImageOrientationPatient {shown})."
        _refuse("DOSE_OBLIQUE", message, "Export the dose on an axis-aligned grid.")
    if np.any(spacing <= _SAME_MM) or np.any(spacing > _SPACING_LIMIT_MM):
        _refuse("DOSE_PIXEL_SPACING", f"PixelSpacing is {spacing[0]:g} x {spacing[1]:g} mm.", "Export the dose again.")
    row, column, normal = directions
    if offsets is None:
        step_mm, problems = _frame_step_mm(a, len(dose_gy), position, orientation)
    else:
        step_mm, problems = _equal_step_mm(offsets)
    upwards = normal if step_mm > 0 else -normal
    sizes = (abs(step_mm), float(spacing[0]), float(spacing[1]))
    frame_uid = a.text("FrameOfReferenceUID")
    return make_canonical_volume(dose_gy, position, (upwards, column, row), sizes, frame_uid), problems


def _frame_step_mm(
    a: Attributes, frames: int, position: NDArray[np.float64], orientation: NDArray[np.float64]
) -> tuple[float, tuple[Problem, ...]]:
    """Signed distance from frame to frame along row x column, and what is to be said of it.

    GridFrameOffsetVector is relative to ImagePositionPatient when it starts with 0, along row x column; it holds z of
    each frame when it starts with that of ImagePositionPatient, which only the identity orientation allows. Offsets
    that were rounded to 0.1 mm lie within half of that from equal steps.
    """
    offsets = a.numbers("GridFrameOffsetVector")
    if frames == 1:
        thickness = a.number("SliceThickness")
        if thickness is None or thickness <= 0:
            message = "The dose is a single frame without SliceThickness, so it fills no volume."
            _refuse("DOSE_SINGLE_FRAME", message, "Export the dose of the whole volume.")
        return thickness, ()
    if offsets is None or offsets.size != frames:
        found = 0 if offsets is None else offsets.size
        _refuse("DOSE_FRAMES", f"The dose has {frames} frames but {found} frame offsets.", "Export the dose again.")
    identity = bool(np.allclose(orientation, (1, 0, 0, 0, 1, 0), atol=1e-3))
    absolute = identity and abs(float(offsets[0] - position[2])) <= _ROUNDED_MM
    if abs(float(offsets[0])) > _SAME_MM and not absolute:
        message = f"The first frame offset is {offsets[0]:g} mm, neither 0 nor the z of that frame ({position[2]:g} mm)"
        _refuse("DOSE_FRAMES", f"{message} in identity orientation.", "Export the dose again.")
    return _equal_step_mm(offsets)


def _equal_step_mm(offsets: NDArray[np.float64]) -> tuple[float, tuple[Problem, ...]]:
    """The step of offsets that lie on a grid of equal steps, but for rounding, which is said."""
    steps = np.diff(offsets)
    usual = float(steps.mean())
    if abs(usual) >= _SAME_MM and float(np.max(np.abs(steps - usual))) <= max(0.02, 0.01 * abs(usual)):
        return usual, ()
    runs = f"from {steps.min():.4g} to {steps.max():.4g} mm"
    fitted = float(np.polyfit(np.arange(offsets.size), offsets, 1)[0])
    if abs(fitted) < 4 * _ROUNDED_MM or _rounding_mm(offsets, fitted) > _ROUNDED_MM:
        _refuse("DOSE_FRAMES", f"The distances between dose frames run {runs}.", "Export the dose on equal steps.")
    message = f"The frame offsets are rounded: distances run {runs}; they are read as steps of {abs(fitted):.4g} mm."
    return fitted, (warning("DOSE_OFFSETS_ROUNDED", message, "Nothing needs to be done: that moves doses by 0.05 mm."),)


def _rounding_mm(offsets_mm: NDArray[np.float64], step_mm: float) -> float:
    """How far offsets lie from equal steps at the most, wherever the first of these begins."""
    rest = offsets_mm - step_mm * np.arange(offsets_mm.size)
    return float(rest.max() - rest.min()) / 2


def _refuse(code: str, message: str, remedy: str) -> Never:
    raise InputError(Problem(code, message, remedy))
