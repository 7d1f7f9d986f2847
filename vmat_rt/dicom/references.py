"""CT slices that contours name, against where the contours lie. Only checked: contours are placed by coordinates."""

from __future__ import annotations

from collections.abc import Iterator

from vmat_rt.dicom.attributes import Attributes
from vmat_rt.dicom.ct.read import CtSeries
from vmat_rt.errors import InputError, Problem, warning

_ROUNDING_MM = 0.1


def reference_problems(source: Attributes, ct: CtSeries) -> tuple[Problem, ...]:
    """A warning where contours of a structure set lie further than half a slice from the CT slice that they name."""
    uids = ct.sop_uids
    if len(set(uids)) < len(uids):  # frames of one object, or slices that stand for interpolated ones
        return ()
    z_of = dict(zip(uids, ct.volume.grid.axis_mm(0).tolist(), strict=True))
    off = [abs(z_mm - z_of[uid]) for uid, z_mm in _named_slices(source) if uid in z_of]
    wrong = [distance for distance in off if distance > ct.volume.grid.spacing_mm[0] / 2 + _ROUNDING_MM]
    if not wrong:
        return ()
    message = (
        f"{len(wrong)} of {len(off)} contours name a CT slice that lies up to {max(wrong):.1f} mm from them; they are "
    )
    remedy = "Check in the report that contours and CT fit: one of the two may have been moved, or exported wrongly."
    return (warning("CONTOUR_OTHER_SLICE", f"{message}placed by their coordinates.", remedy),)


def _named_slices(source: Attributes) -> Iterator[tuple[str, float]]:
    """SOPInstanceUID that a contour names, and the contour's z in mm; what cannot be read is told elsewhere."""
    try:
        contours = [item for roi in source.items("ROIContourSequence") for item in roi.items("ContourSequence")]
    except InputError:
        return
    for contour in contours:
        try:
            images = contour.items("ContourImageSequence")
            points = contour.raw_numbers("ContourData") if len(images) == 1 else None
            if points is not None and points.size >= 3:
                yield images[0].text("ReferencedSOPInstanceUID"), float(points[2])
        except InputError:
            continue
