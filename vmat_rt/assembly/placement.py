"""Where structures lie with respect to the CT: outside, partly outside, or enclosing nothing."""

from __future__ import annotations

import numpy as np

from vmat_rt.case import Contours, Structure
from vmat_rt.errors import Problem, warning
from vmat_rt.geometry.rasterize import bounds_mm, volume_cc
from vmat_rt.grid import Grid, Triple

_TOLERANCE_MM = 0.5
_DIRECTIONS = (("below its lowest slice", "above its highest slice"), ("in front", "behind"), ("right", "left"))


def placement_problems(structure: Structure, ct: Grid) -> tuple[Problem, ...]:
    """A structure wholly outside the CT or without volume is an error; one that leaves the CT a warning with the mm.

    The structure has contours, or voxels of which at least one is not empty.
    """
    low, high = _extent_mm(structure)
    ct_low, ct_high = ct.bounds_mm
    named = f"ROI {structure.roi_name!r}"
    if any(low[axis] >= ct_high[axis] or high[axis] <= ct_low[axis] for axis in range(3)):
        centre = ", ".join(f"{(a + b) / 2:.1f}" for a, b in zip(low, high, strict=True))
        message = f"{named} lies outside the CT: its centre is at ({centre}) mm (z, y, x), the CT {ct.describe()}."
        return (Problem("STRUCTURE_OUTSIDE_CT", message, "Use the CT that the ROI was drawn on."),)
    if volume_cc(structure) <= 0:
        message = f"{named} has {structure.contour_count} contours, but they enclose no volume."
        return (Problem("STRUCTURE_EMPTY", message, "Repair or delete it in the planning system."),)
    beyond = [
        f"{distance:.1f} mm {word}"
        for axis, words in enumerate(_DIRECTIONS)
        for distance, word in zip((ct_low[axis] - low[axis], high[axis] - ct_high[axis]), words, strict=True)
        if distance > _TOLERANCE_MM
    ]
    if not beyond:
        return ()
    message = f"{named} leaves the CT: {', '.join(beyond)}."
    return (warning("STRUCTURE_LEAVES_CT", message, "What lies outside counts in its volume but has no CT."),)


def _extent_mm(structure: Structure) -> tuple[Triple, Triple]:
    """Lowest and highest coordinates (z, y, x): of planes and vertices, or of the faces of occupied voxels."""
    contours = structure.shape
    if not isinstance(contours, Contours):
        return bounds_mm(structure)
    vertices = np.concatenate([polygon for plane in contours.planes for polygon in plane.polygons])
    (y0, x0), (y1, x1) = vertices.min(axis=0), vertices.max(axis=0)
    return (contours.planes[0].z_mm, float(y0), float(x0)), (contours.planes[-1].z_mm, float(y1), float(x1))
