"""CT series -> one volume of HU on a canonical grid, or a refusal that says which slices are at fault."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from vmat_rt.case import Volume
from vmat_rt.dicom.attributes import readable_header
from vmat_rt.dicom.ct.gaps import SlicePlaces, name_slices, place_slices
from vmat_rt.dicom.ct.slices import CtSlice, read_slices
from vmat_rt.dicom.ct.units import air_problems, unit_problems
from vmat_rt.dicom.deidentified import FOR_DEIDENTIFIED
from vmat_rt.dicom.files import DicomFile
from vmat_rt.dicom.orientation import cosines
from vmat_rt.errors import InputError, Problem, raise_errors
from vmat_rt.geometry.orientation import OBLIQUE_TOLERANCE_DEG, find_signed_axis, make_canonical_volume

_READERS = 4
_SAME_PROBLEMS = 3
_MOST_PIXELS = 400_000_000
_ALWAYS_PIXELS, _PIXELS_PER_BYTE = 100_000_000, 8
_TILT_TOLERANCE_DEG = 0.1
_SHIFT_TOLERANCE_MM = 0.05
_DECUBITUS = {"HFDR", "HFDL", "FFDR", "FFDL"}
_WITH_FRAME = "Export the series with its frame of reference."
_ANOTHER_SERIES = "Use an axial series without gantry tilt, head or feet first, supine or prone."


@dataclass(frozen=True)
class CtSeries:
    """A CT as one volume.

    volume: HU (z, y, x), LPS. header: the first slice (lowest z) without its pixels. orientation:
    ImageOrientationPatient as found, before flips. patient_position: HFS, HFP, FFS, FFP or "" where the files do not
    say. sop_uids: ascending in z, one a slice of the volume (of the nearest file where slices are interpolated).
    problems: warnings.
    """

    volume: Volume
    header: Dataset
    orientation: tuple[float, float, float, float, float, float]
    patient_position: str
    series_uid: str
    sop_uids: tuple[str, ...]
    problems: tuple[Problem, ...] = ()


def read_ct(files: Iterable[DicomFile]) -> CtSeries:
    """Read the files of one series. Raises InputError that gathers every problem found in it."""
    ordered = sorted(files, key=lambda file: file.path)
    room = _Room(ordered)
    with ThreadPoolExecutor(_READERS) as readers:
        results = list(readers.map(partial(_slices_or_problem, claim=room.claim), ordered))
    room.check()
    slices = [one for found, _ in results for one in found]
    broken = [problem for _, problems in results for problem in problems]
    slices.sort(key=lambda one: one.z_mm)
    raise_errors([*_few_of_each(broken), *(_series_problems(slices) if slices else ())])
    places = place_slices([one.z_mm for one in slices])
    raise_errors([*_shift_problems(slices), *places.problems, *_too_many(slices, places)])
    return _assembled(slices, places, min(file.series_uid for file in ordered))


def _too_many(slices: list[CtSlice], places: SlicePlaces) -> list[Problem]:
    """Whether interpolating between slices would make more pixels than are read of any CT."""
    if places.count * slices[0].hu.size <= max(_ALWAYS_PIXELS, len(slices) * slices[0].hu.size):
        return []
    message = f"Slices at steps of {places.step_mm:.2f} mm throughout would be {places.count} slices"
    return [Problem("DICOM_TOO_LARGE", f"{message}; that is more than is read.", "Export a CT of one spacing.")]


def _few_of_each(problems: Iterable[Problem]) -> list[Problem]:
    """The first problems of each code, and how many more files have it: a series has hundreds of files."""
    by_code: dict[str, list[Problem]] = {}
    for problem in problems:
        by_code.setdefault(problem.code, []).append(problem)
    few = []
    for same in by_code.values():
        few += same[:_SAME_PROBLEMS]
        if len(same) > _SAME_PROBLEMS:
            message = f"{len(same) - _SAME_PROBLEMS} more CT files of the series have this problem."
            few.append(replace(same[0], message=message))
    return few


class _Room:
    """How many pixels a series may have: as much as any scan has, and less where its files are too small for that."""

    def __init__(self, files: Iterable[DicomFile]) -> None:
        in_files = sum(file.path.stat().st_size for file in files if file.path.is_file())
        self._most = min(_MOST_PIXELS, _ALWAYS_PIXELS + _PIXELS_PER_BYTE * in_files)
        self._claimed, self._lock = 0, threading.Lock()

    def claim(self, pixels: int) -> None:
        """Raises InputError once the files claim more than there may be: nothing more is unpacked then."""
        with self._lock:
            self._claimed += max(pixels, 0)
        self.check()

    def check(self) -> None:
        if self._claimed > self._most:
            message = f"The CT series claims {self._claimed} pixels or more; of these files {self._most} are the most "
            raise InputError(Problem("DICOM_TOO_LARGE", f"{message}that is read.", "Export only the planning CT."))


def _slices_or_problem(
    file: DicomFile, claim: Callable[[int], None]
) -> tuple[tuple[CtSlice, ...], tuple[Problem, ...]]:
    try:
        return read_slices(file, claim), ()
    except InputError as error:
        return (), error.problems


def _series_problems(slices: list[CtSlice]) -> tuple[Problem, ...]:
    """What is wrong with slices, given in z order, apart from the distances between them."""
    z_mm = [one.z_mm for one in slices]
    localizers = [index for index, one in enumerate(slices) if one.localizer]
    if localizers:
        message = f"The CT series holds {name_slices(localizers, z_mm)} of type LOCALIZER, not axial images."
        return (Problem("CT_LOCALIZER", message, "Export the axial images only."),)
    return (*_mixed_problems(slices, z_mm), *_orientation_problems(slices, z_mm), *unit_problems(slices))


def _mixed_problems(slices: list[CtSlice], z_mm: list[float]) -> list[Problem]:
    """Slices that differ from most in size, spacing, orientation, frame or patient position."""

    def rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
        return tuple(float(value) for value in np.round(values, 3) + 0.0)

    aspects: dict[str, Callable[[CtSlice], Any]] = {
        "size (rows, columns)": lambda one: one.hu.shape,
        "pixel spacing (mm)": lambda one: rounded(one.pixel_spacing_mm),
        "orientation": lambda one: rounded(one.orientation),
        "frame of reference": lambda one: one.frame_uid,
        "patient position": lambda one: one.patient_position,
    }
    problems = []
    for name, aspect in aspects.items():
        values = [aspect(one) for one in slices]
        usual = max(set(values), key=values.count)
        odd = [index for index, value in enumerate(values) if value != usual]
        if odd:
            message = f"{name_slices(odd, z_mm)} differ in {name} from the others: {values[odd[0]]} against {usual}."
            problems.append(Problem("CT_MIXED_SLICES", message, "Export one complete series, nothing else."))
    return problems


def _orientation_problems(slices: list[CtSlice], z_mm: list[float]) -> list[Problem]:
    first = slices[0]
    problems = []
    tilted = [index for index, one in enumerate(slices) if abs(one.tilt_deg) > _TILT_TOLERANCE_DEG]
    if tilted:
        tilt = slices[tilted[0]].tilt_deg
        message = f"The CT was taken with the gantry tilted by {tilt:g} degrees ({name_slices(tilted, z_mm)})."
        problems.append(Problem("CT_GANTRY_TILT", message, _ANOTHER_SERIES))
    directions = cosines(first.orientation)
    shown = "\\".join(f"{value:.4g}" for value in first.orientation)
    axes = None if directions is None else [find_signed_axis(direction) for direction in directions]
    if axes is None or None in axes:
        if not tilted:
            message = f"The CT lies oblique to the patient's axes: ImageOrientationPatient {shown} in all slices."
            problems.append(Problem("CT_OBLIQUE", message, _ANOTHER_SERIES))
    elif [axis for axis, _ in (pair for pair in axes if pair is not None)] != [0, 1, 2]:
        code, word = ("CT_DECUBITUS", "decubitus") if axes[2] and axes[2][0] == 2 else ("CT_NOT_AXIAL", "not axial")
        message = f"The CT is {word}: ImageOrientationPatient {shown} in all {len(slices)} slices."
        problems.append(Problem(code, message, _ANOTHER_SERIES))
    elif first.patient_position in _DECUBITUS:
        message = f"The patient was scanned in decubitus position ({first.patient_position}, {len(slices)} slices)."
        problems.append(Problem("CT_DECUBITUS", message, _ANOTHER_SERIES))
    if not first.frame_uid:
        message = f"None of the {len(slices)} CT slices has a FrameOfReferenceUID."
        problems.append(Problem("CT_NO_FRAME", message, f"{_WITH_FRAME} {FOR_DEIDENTIFIED}"))
    return problems


def _shift_problems(slices: list[CtSlice]) -> list[Problem]:
    """Slices that do not lie above one another; a steady shift is a gantry tilt that no attribute tells of."""
    z_mm = [one.z_mm for one in slices]
    in_plane = np.array([one.position_xyz[:2] for one in slices])
    moved = np.max(np.abs(in_plane - np.median(in_plane, axis=0)), axis=1)
    odd = [int(index) for index in np.flatnonzero(moved > _SHIFT_TOLERANCE_MM)]
    if not odd:
        return []
    slopes = np.polyfit(z_mm, in_plane, 1)
    steady = float(np.max(np.abs(np.polyval(slopes, np.array(z_mm)[:, None]) - in_plane))) < _SHIFT_TOLERANCE_MM
    if steady and len(slices) > 2:
        angle = float(np.degrees(np.arctan(np.max(np.abs(slopes[0])))))
        if angle <= OBLIQUE_TOLERANCE_DEG:
            return []
        message = f"The slices shift steadily in-plane, as with a gantry tilted by {angle:.1f} degrees: "
        message += f"{np.max(moved):.2f} mm at most, {name_slices(odd, z_mm)}."
        return [Problem("CT_GANTRY_TILT", message, _ANOTHER_SERIES)]
    message = f"{name_slices(odd, z_mm)} lie up to {np.max(moved):.2f} mm beside the others in-plane."
    return [Problem("CT_SHIFTED_SLICES", message, "Export one complete series, nothing else.")]


def _assembled(slices: list[CtSlice], places: SlicePlaces, series_uid: str) -> CtSeries:
    first = slices[0]
    directions = cosines(first.orientation)
    assert directions is not None  # refused above
    row, column, _ = directions
    in_plane = np.median([one.position_xyz[:2] for one in slices], axis=0)
    origin = np.array([*in_plane, places.first_mm])
    spacing_mm = (places.step_mm, float(first.pixel_spacing_mm[0]), float(first.pixel_spacing_mm[1]))
    upwards = np.array([0.0, 0.0, 1.0])
    hu = _interpolated(slices, places.z_mm) if places.interpolated else np.stack([one.hu for one in slices])
    nearest = [_nearest(slices, z) for z in places.z_mm] if places.interpolated else slices
    x1, y1, z1, x2, y2, z2 = (float(value) for value in first.orientation)
    return CtSeries(
        volume=make_canonical_volume(hu, origin, (upwards, column, row), spacing_mm, first.frame_uid),
        header=readable_header(first.header),
        orientation=(x1, y1, z1, x2, y2, z2),
        patient_position=first.patient_position,
        series_uid=series_uid,
        sop_uids=tuple(one.sop_uid for one in nearest),
        problems=(*places.problems, *(p for p in unit_problems(slices) if p.severity == "warning"), *air_problems(hu)),
    )


def _interpolated(slices: list[CtSlice], z_mm: NDArray[np.float64]) -> NDArray[np.float32]:
    """HU at other z, linear between the slices below and above."""
    found = np.array([one.z_mm for one in slices])
    place = np.interp(z_mm, found, np.arange(len(found)))
    below = np.minimum(place.astype(int), len(found) - 2)
    hu = np.empty((len(z_mm), *slices[0].hu.shape), np.float32)
    for k, (index, share) in enumerate(zip(below, place - below, strict=True)):
        hu[k] = slices[index].hu * np.float32(1 - share) + slices[index + 1].hu * np.float32(share)
    return hu


def _nearest(slices: list[CtSlice], z_mm: float) -> CtSlice:
    return min(slices, key=lambda one: abs(one.z_mm - z_mm))
