"""RTSTRUCT -> contours by ROI, in the frame of reference that they name, planes by z; never by referenced instances."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataset import Dataset

from vmat_rt.case import ContourPlane, Contours
from vmat_rt.dicom.attributes import Attributes, readable_header
from vmat_rt.dicom.connection import Lengths, connected_by_distances, connected_by_slab, connected_by_slices, is_regular
from vmat_rt.dicom.polygons import PlanarContour, RoiFaults, planar_contour
from vmat_rt.errors import InputError, Problem, warning
from vmat_rt.geometry.plane_regions import estimate_work, resolve_plane
from vmat_rt.geometry.solid import plane_stack

PLANE_TOLERANCE_MM = 0.1
"""Contours closer than this in z lie in one plane; CT slices are never that thin."""

_MOST_ROIS = 1000
_MOST_CONTOURS = 100_000
"""60 ROIs on 300 slices have 18,000; reading one takes half a millisecond."""
_LONGEST_NAME = 256
_MOST_WORK = 20e6
"""Of `estimate_work` over a whole structure set: 15 seconds. One of 60 ROIs with rings needs a tenth of it."""
_CHECK_CONTOURS = "Check the contours in the planning system and export the structure set again."


@dataclass(frozen=True)
class Roi:
    """One ROI as drawn. contours: closed, axial, LPS mm, ascending z, or None. interpreted_type: PTV, EXTERNAL or so.

    problems say what was wrong with it; an error means that it must not be used, and its contours are None then.
    """

    number: int
    name: str
    contours: Contours | None
    problems: tuple[Problem, ...] = ()
    interpreted_type: str = ""

    @property
    def drawn(self) -> bool:
        """Whether closed contours were drawn, usable or not: a damaged rectum must not pass for an absent one."""
        return self.contours is not None or any(problem.severity == "error" for problem in self.problems)


@dataclass(frozen=True)
class StructureSet:
    """An RTSTRUCT. header: everything but the contours; frame_uid: the frame of reference that the ROIs share."""

    header: Dataset
    sop_uid: str
    frame_uid: str
    rois: tuple[Roi, ...]
    label: str = ""
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class _Declared:
    """An ROI as StructureSetROISequence lists it."""

    name: str
    frame_uid: str


def frame_claims(source: Attributes) -> tuple[frozenset[str], ...]:
    """Frames of reference that the set itself, its list of frames and its ROIs name; only those that name any."""
    own = source.text("FrameOfReferenceUID")
    listed = {item.text("FrameOfReferenceUID") for item in source.items("ReferencedFrameOfReferenceSequence")}
    by_roi = {item.text("ReferencedFrameOfReferenceUID") for item in source.items("StructureSetROISequence")}
    claims = (frozenset(frames) - {""} for frames in ({own}, listed, by_roi))
    return tuple(claim for claim in claims if claim)


def frames_of(source: Attributes) -> frozenset[str]:
    """Frames of reference that a structure set lies in: what all its claims share, all that it names if they do not."""
    claims = frame_claims(source)
    every: frozenset[str] = frozenset().union(*claims)
    return every.intersection(*claims) or every


def referenced_images(source: Attributes) -> dict[str, frozenset[str]]:
    """CT series that a structure set refers to -> the SOPInstanceUIDs that it lists of each."""
    images: dict[str, frozenset[str]] = {}
    for frame in source.items("ReferencedFrameOfReferenceSequence"):
        for study in frame.items("RTReferencedStudySequence"):
            for series in study.items("RTReferencedSeriesSequence"):
                listed = {item.text("ReferencedSOPInstanceUID") for item in series.items("ContourImageSequence")}
                images[series.text("SeriesInstanceUID")] = frozenset(listed - {""})
    images.pop("", None)
    return images


@dataclass(frozen=True)
class _Surroundings:
    """What the CT and the other ROIs say of one: its frame of reference, and the thickness that a plane stands for
    where the ROI has one plane or two; None where nothing tells it. slices_mm: where the CT's slices lie.
    """

    frame_uid: str
    one_plane_mm: float | None
    two_planes_mm: float | None
    slices_mm: Callable[[], Lengths] | None


def read_structures(
    source: Attributes,
    frame_uid: str | None = None,
    slice_mm: float | None = None,
    slices_mm: Callable[[], Lengths] | None = None,
) -> StructureSet:
    """The ROIs of an RTSTRUCT.

    frame_uid: the CT's frame of reference, by default the structure set's own. slice_mm: distance between CT slices,
    for structures of a single plane. slices_mm: gives the z of all CT slices, ascending; asked only where the planes
    of an ROI are unequally far apart. Raises InputError when no ROI is listed; what is wrong with one ROI stands in it.
    """
    declared = _declared_rois(source)
    numbers = [number for number, _ in declared]
    frame = frame_uid or _usual_frame(source, [roi for _, roi in declared])
    drawn = _contour_items(source)
    problems = tuple(
        warning("ROI_NOT_LISTED", f"Contours of ROI number {number} belong to no listed ROI.", _CHECK_CONTOURS)
        for number in sorted(set(drawn) - set(numbers))
    )
    types = {item.whole("ReferencedROINumber"): item.text("RTROIInterpretedType") for item in _observations(source)}
    gathered = [(number, roi, *_planar_contours(roi, drawn.get(number, ()), frame)) for number, roi in declared]
    for number, _, contours, faults in gathered:
        faults.shared_number = number if contours and numbers.count(number) > 1 else None
    _find_overlapping((contours, faults) for _, _, contours, faults in gathered)
    usual = _usual_spacing([_planes_z(contours) for _, _, contours, _ in gathered])
    surroundings = _Surroundings(frame, slice_mm or usual, usual or slice_mm, slices_mm)
    rois = tuple(
        replace(_roi(number, roi, contours, faults, surroundings), interpreted_type=types.get(number, ""))
        for number, roi, contours, faults in gathered
    )
    sop_uid, label = source.text("SOPInstanceUID"), source.text("StructureSetLabel")
    header = readable_header(source.dataset, "ROIContourSequence")
    return StructureSet(header, sop_uid, frame, rois, label, problems)


def _find_overlapping(gathered: Iterable[tuple[list[PlanarContour], RoiFaults]]) -> None:
    """Note the ROIs with which resolving the planes of all would take too long."""
    work = 0.0
    for contours, faults in gathered:
        own = sum(estimate_work([contour.polygon for contour in plane]) for plane in _planes(contours))
        faults.overlapping = work + own > _MOST_WORK
        work += 0.0 if faults.overlapping else own


def _usual_frame(source: Attributes, declared: Iterable[_Declared]) -> str:
    """The frame of the structure set, else that of most ROIs, else the first that it refers to, else ""."""
    frames = frames_of(source)
    of_rois = [roi.frame_uid for roi in declared if roi.frame_uid in frames]
    return max(of_rois, key=of_rois.count) if of_rois else min(frames, default="")


def _observations(source: Attributes) -> tuple[Attributes, ...]:
    return source.items("RTROIObservationsSequence")


def _declared_rois(source: Attributes) -> list[tuple[int, _Declared]]:
    """ROI numbers and what they are declared as, in file order; a number may stand twice."""
    items = source.items("StructureSetROISequence")
    if not items:
        message = f"{source.what} lists no ROI."
        raise InputError(Problem("STRUCTURES_EMPTY", message, "Export a structure set with contours."))
    if len(items) > _MOST_ROIS:
        message = f"{source.what} lists {len(items)} ROIs; {_MOST_ROIS} are the most that is read."
        raise InputError(Problem("DICOM_TOO_LARGE", message, "Export it again with the ROIs that are needed."))
    declared = []
    for item in items:
        number = item.need_whole("ROINumber", -(2**31), 2**31 - 1)
        name = item.text("ROIName", _LONGEST_NAME) or f"ROI {number}"
        declared.append((number, _Declared(name, item.text("ReferencedFrameOfReferenceUID"))))
    return declared


def _contour_items(source: Attributes) -> dict[int, tuple[Attributes, ...]]:
    """ROI number -> its contour items; the items of a number that stands twice are put together."""
    drawn: dict[int, tuple[Attributes, ...]] = {}
    for item in source.items("ROIContourSequence"):
        number = item.need_whole("ReferencedROINumber", -(2**31), 2**31 - 1)
        drawn[number] = drawn.get(number, ()) + item.items("ContourSequence")
    count = sum(map(len, drawn.values()))
    if count > _MOST_CONTOURS:
        message = f"{source.what} holds {count} contours; {_MOST_CONTOURS} are the most that is read."
        raise InputError(Problem("DICOM_TOO_LARGE", message, "Export it again with the ROIs that are needed."))
    return drawn


def _planar_contours(
    roi: _Declared, items: Iterable[Attributes], frame_uid: str
) -> tuple[list[PlanarContour], RoiFaults]:
    """The closed axial contours of one ROI, ascending in z, and what was wrong with the others."""
    faults = RoiFaults(roi.name)
    contours = []
    for number, item in enumerate(items, start=1):
        contour = planar_contour(item, number, faults)
        if contour is not None:
            contours.append(contour)
    faults.other_frame = bool(contours) and roi.frame_uid not in ("", frame_uid)
    return sorted(contours, key=lambda contour: contour.z_mm), faults


def _planes_z(contours: list[PlanarContour]) -> list[float]:
    return [float(np.mean([c.z_mm for c in plane])) for plane in _planes(contours)]


def _planes(contours: list[PlanarContour]) -> list[list[PlanarContour]]:
    planes: list[list[PlanarContour]] = []
    for contour in contours:
        if planes and contour.z_mm - planes[-1][0].z_mm <= PLANE_TOLERANCE_MM:
            planes[-1].append(contour)
        else:
            planes.append([contour])
    return planes


def _usual_spacing(planes_z: list[list[float]]) -> float | None:
    """The usual distance between neighbouring planes over all ROIs of three planes or more."""
    gaps = np.concatenate([np.diff(z) for z in planes_z if len(z) >= 3] or [np.empty(0)])
    return _lower_median(gaps) if gaps.size else None


def _lower_median(gaps: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    return float(np.percentile(gaps, 50, method="lower"))


def _roi(
    number: int,
    roi: _Declared,
    contours: list[PlanarContour],
    faults: RoiFaults,
    surroundings: _Surroundings,
) -> Roi:
    planes = tuple(_one_plane(plane, faults) for plane in _planes(contours) if not faults.overlapping)
    if not planes:
        faults.nothing_left = True
        return Roi(number, roi.name, None, faults.problems())
    gaps = np.diff([plane.z_mm for plane in planes])
    slab = _slab_mm(gaps, surroundings)
    faults.unknown_thickness = slab is None
    if slab is None or faults.errors():
        return Roi(number, roi.name, None, faults.problems())
    connected = _connected(np.array([plane.z_mm for plane in planes]), slab, surroundings.slices_mm, faults)
    found = Contours(planes, slab, surroundings.frame_uid, connected)
    skipped = np.flatnonzero(~plane_stack(found).connected)
    faults.skipped_mm = [(planes[i].z_mm, planes[i + 1].z_mm) for i in skipped]
    return Roi(number, roi.name, found, faults.problems())


def _connected(
    z_mm: Lengths, slab_mm: float, slices_mm: Callable[[], Lengths] | None, faults: RoiFaults
) -> tuple[bool, ...] | None:
    """Which neighbouring planes belong together, None where their distances are regular or say so by themselves."""
    if is_regular(z_mm):
        return None
    places = slices_mm() if slices_mm is not None else np.empty(0)
    by_slab = connected_by_slab(z_mm, slab_mm)
    if places.size > 1:
        connected = connected_by_slices(z_mm, slab_mm, places)
    else:
        connected = connected_by_distances(z_mm, slab_mm)
        faults.uneven_mm = sorted({round(float(gap), 1) for gap in np.diff(z_mm)[connected & ~by_slab]})
    return None if np.array_equal(connected, by_slab) else tuple(connected.tolist())


def _slab_mm(gaps: np.ndarray[tuple[int], np.dtype[np.float64]], surroundings: _Surroundings) -> float | None:
    """The thickness that one plane stands for; two planes far apart are two islands, not one thick slab."""
    if gaps.size == 0:
        return surroundings.one_plane_mm
    usual = _lower_median(gaps)
    two_planes_mm = surroundings.two_planes_mm
    if gaps.size == 1 and two_planes_mm is not None and usual > 1.5 * two_planes_mm:
        return two_planes_mm
    return usual


def _one_plane(contours: list[PlanarContour], faults: RoiFaults) -> ContourPlane:
    """One plane, its polygons made to combine by even-odd; `faults` learns what was not simple."""
    exclusive = any(contour.exclusive for contour in contours)
    plane = resolve_plane([contour.polygon for contour in contours], exclusive)
    faults.repeated += [contours[k].number for k in plane.repeated]
    faults.wound += [contours[k].number for k in plane.wound]
    z_mm = float(np.mean([contour.z_mm for k, contour in enumerate(contours) if k not in plane.repeated]))
    if plane.united:
        faults.united_mm.append(z_mm)
    if plane.cancelled:
        faults.cancelled.append((z_mm, *plane.cancelled))
    return ContourPlane(z_mm, plane.polygons)
