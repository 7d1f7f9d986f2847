"""One contour item of an RTSTRUCT -> one closed axial polygon, or a note of what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Polygon
from vmat_rt.dicom.attributes import Attributes
from vmat_rt.errors import InputError, Problem, warning
from vmat_rt.geometry.regions import is_tangled

_EXCLUSIVE = "CLOSEDPLANAR_XOR"
_CLOSED = {"CLOSED_PLANAR", _EXCLUSIVE}
_FLAT_MM = 0.1
_FURTHEST_MM = 10_000.0
_THINNEST_MM = 1e-4
_MOST_POINTS = 100_000
_MISCOUNTED = 1
"""Some systems count the repeated first point, or leave it out of the count; more than that, and points are missing."""
_NAMED = 5
_REPAIR = "Repair or delete them in the planning system and export the structure set again."
_CHECK = "Check in the planning system that nothing is missing."


@dataclass(frozen=True)
class PlanarContour:
    """number: place of the item in its ROI, from 1; polygon: (y, x) mm, not closed by a repeated vertex; exclusive:
    it combines with the others of its plane by exclusive or.
    """

    number: int
    z_mm: float
    polygon: Polygon
    exclusive: bool = False


@dataclass
class RoiFaults:
    """What was found wrong while the contours of one ROI were read; item numbers count from 1."""

    roi_name: str
    other_frame: bool = False
    shared_number: int | None = None
    unknown_thickness: bool = False
    not_closed: dict[str, int] = field(default_factory=dict)
    degenerate: list[int] = field(default_factory=list)
    nothing_left: bool = False
    overlapping: bool = False
    repeated: list[int] = field(default_factory=list)
    miscounted: list[tuple[int, int, int]] = field(default_factory=list)
    wound: list[int] = field(default_factory=list)
    united_mm: list[float] = field(default_factory=list)
    cancelled: list[tuple[float, float, float]] = field(default_factory=list)
    invalid: list[tuple[int, str]] = field(default_factory=list)
    not_axial: list[tuple[int, float]] = field(default_factory=list)
    uneven_mm: list[float] = field(default_factory=list)
    skipped_mm: list[tuple[float, float]] = field(default_factory=list)

    def problems(self) -> tuple[Problem, ...]:
        return (*self.errors(), *self._warnings())

    def errors(self) -> list[Problem]:
        found = []
        if self.other_frame:
            message = f"ROI {self.roi_name!r} lies in another frame of reference than the CT or the other ROIs."
            found.append(Problem("ROI_OTHER_FRAME", message, "Register it and copy it to the planning CT first."))
        if self.shared_number is not None:
            message = f"ROI {self.roi_name!r} shares its number {self.shared_number} with another ROI, so its contours "
            found.append(Problem("ROI_NUMBER_TWICE", f"{message}cannot be told from those of the other.", _REPAIR))
        if self.invalid:
            first = "; ".join(f"contour {number} {fault}" for number, fault in self.invalid[:_NAMED])
            message = f"ROI {self.roi_name!r} has {len(self.invalid)} damaged contours: {first}."
            found.append(Problem("CONTOUR_INVALID", message, _REPAIR))
        if self.not_axial:
            number, extent = self.not_axial[0]
            message = f"ROI {self.roi_name!r} has {len(self.not_axial)} contours that are not axial; contour {number} "
            found.append(Problem("CONTOUR_NOT_AXIAL", f"{message}spans {extent:.1f} mm in z.", _REPAIR))
        if self.nothing_left and self.degenerate and not found:
            message = f"ROI {self.roi_name!r} has {len(self.degenerate)} closed contours, but none encloses an area."
            found.append(Problem("STRUCTURE_EMPTY", message, "Repair or delete it in the planning system."))
        if self.overlapping:
            message = f"Contours of ROI {self.roi_name!r} overlap and cross themselves more often than any drawn ones."
            found.append(Problem("CONTOUR_INVALID", message, _REPAIR))
        if self.unknown_thickness:
            message = f"ROI {self.roi_name!r} has a single plane, and neither CT nor another ROI tells how thick it is."
            found.append(Problem("ROI_THICKNESS_UNKNOWN", message, "Add the CT to the folder."))
        return found

    def _warnings(self) -> list[Problem]:
        found = []
        if self.not_closed:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.not_closed.items()))
            message = f"ROI {self.roi_name!r} has contours that enclose nothing and were left out: {kinds}."
            found.append(warning("CONTOUR_NOT_CLOSED", message, _CHECK))
        if self.degenerate:
            message = f"ROI {self.roi_name!r} has {len(self.degenerate)} contours without area, which were left out."
            found.append(warning("CONTOUR_DEGENERATE", message, _CHECK))
        if self.repeated:
            message = f"ROI {self.roi_name!r} holds {len(self.repeated)} contours twice; each counts once."
            found.append(warning("CONTOUR_REPEATED", message, _CHECK))
        found += self._count_warnings() + self._shape_warnings()
        if self.uneven_mm:
            listed = _some([f"{gap:.1f}" for gap in self.uneven_mm])
            message = (
                f"A part of ROI {self.roi_name!r} has planes {listed} mm apart, further than usual for it; without "
            )
            message += "the slices of a CT it was taken as contoured on every slice there."
            found.append(warning("ROI_UNEVEN_PLANES", message, "Add the CT to the folder."))
        if self.skipped_mm:
            gaps = ", ".join(f"{low:.1f} to {high:.1f} mm" for low, high in self.skipped_mm[:_NAMED])
            message = f"ROI {self.roi_name!r} has no contour between z {gaps}; nothing is filled in there."
            found.append(warning("ROI_SKIPPED_SLICES", message, "Interpolate the contours if the ROI is continuous."))
        return found

    def _count_warnings(self) -> list[Problem]:
        if not self.miscounted:
            return []
        listed = [f"contour {n} says {stated} points and holds {held}" for n, stated, held in self.miscounted]
        message = f"ROI {self.roi_name!r}: {_some(listed)}. All points that are there were used."
        return [warning("CONTOUR_POINT_COUNT", message, _CHECK)]

    def _shape_warnings(self) -> list[Problem]:
        found = []
        if self.wound:
            message = f"ROI {self.roi_name!r} has {len(self.wound)} contours that run round a part of their plane more "
            listed = _some([str(number) for number in self.wound])
            message += f"than once (contours {listed}); all that they run round counts once."
            found.append(warning("CONTOUR_WOUND_TWICE", message, _CHECK))
        if self.united_mm:
            message = f"ROI {self.roi_name!r} has contours that overlap in part on {len(self.united_mm)} planes (z "
            listed = _some([f"{z:.1f}" for z in self.united_mm])
            found.append(warning("CONTOURS_OVERLAP", f"{message}{listed} mm); they were united.", _CHECK))
        if self.cancelled:
            listed = _some([f"{left:.4g} of {whole:.4g} mm2 at z {z:.1f} mm" for z, left, whole in self.cancelled])
            message = f"ROI {self.roi_name!r} has {len(self.cancelled)} planes whose contours cancel each other; they "
            found.append(warning("CONTOURS_CANCEL", f"{message}leave {listed}.", _CHECK))
        return found


def _some(listed: list[str]) -> str:
    rest = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + rest


def planar_contour(item: Attributes, number: int, faults: RoiFaults) -> PlanarContour | None:
    """The polygon of one ContourSequence item, None when it has none; `faults` learns why."""
    try:
        kind = item.text("ContourGeometricType").upper()
        points = _points(item)
        stated = item.whole("NumberOfContourPoints")
    except InputError:
        faults.invalid.append((number, "holds values that cannot be read"))
        return None
    if not kind:
        faults.invalid.append((number, "does not say whether it is closed (ContourGeometricType)"))
        return None
    if kind not in _CLOSED:
        faults.not_closed[kind] = faults.not_closed.get(kind, 0) + 1
        return None
    fault = _fault(points, stated)
    if fault is not None:
        faults.invalid.append((number, fault))
        return None
    assert isinstance(points, np.ndarray)
    extent = float(np.ptp(points[:, 2])) if len(points) else 0.0
    if extent > _FLAT_MM:
        faults.not_axial.append((number, extent))
        return None
    polygon = _without_repeats(points[:, 1::-1])
    if not _encloses_area(polygon):
        faults.degenerate.append(number)
        return None
    if is_tangled(polygon):
        faults.invalid.append((number, "crosses itself thousands of times"))
        return None
    if stated is not None and stated != len(points):
        faults.miscounted.append((number, stated, len(points)))
    return PlanarContour(number, float(np.mean(points[:, 2])), polygon, kind == _EXCLUSIVE)


def _points(item: Attributes) -> NDArray[np.float64] | int:
    """Points (n, 3) as (x, y, z), or the number of values where it is not a multiple of 3."""
    values = item.raw_numbers("ContourData")
    if values is None:
        return np.empty((0, 3))
    return values.reshape(-1, 3) if values.size % 3 == 0 else int(values.size)


def _fault(points: NDArray[np.float64] | int, stated: int | None) -> str | None:
    if isinstance(points, int):
        return f"has {points} coordinates, not three a point"
    if stated is not None and abs(stated - len(points)) > _MISCOUNTED:
        return f"says that it has {stated} points but holds {len(points)}"
    if len(points) > _MOST_POINTS:
        return f"has {len(points)} points"
    if not np.all(np.isfinite(points)):
        return "has a coordinate that is not a number"
    furthest = float(np.max(np.abs(points))) if len(points) else 0.0
    return f"reaches {furthest:.4g} mm from the origin" if furthest > _FURTHEST_MM else None


def _without_repeats(polygon: NDArray[np.float64]) -> Polygon:
    """Without vertices that the next one repeats; the first follows the last."""
    if len(polygon) < 2:
        return np.ascontiguousarray(polygon)
    moved = np.any(polygon != np.roll(polygon, -1, axis=0), axis=1)
    return np.ascontiguousarray(polygon[moved])


def _encloses_area(polygon: Polygon) -> bool:
    """Whether there are three vertices that do not lie on one line."""
    if len(polygon) < 3:
        return False
    arms = polygon - polygon[0]
    lengths = np.hypot(arms[:, 0], arms[:, 1])
    longest = arms[int(np.argmax(lengths))]
    heights = np.abs(arms[:, 0] * longest[1] - arms[:, 1] * longest[0]) / max(float(np.max(lengths)), 1e-12)
    return bool(np.max(heights) > _THINNEST_MM)
