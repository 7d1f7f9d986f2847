"""Slices that a target was not contoured on, though it was on those below and above."""

from __future__ import annotations

import numpy as np

from vmat_rt.case import ContourPlane, Contours, Structure
from vmat_rt.errors import Problem
from vmat_rt.geometry.rasterize import plane_fractions
from vmat_rt.geometry.solid import plane_stack
from vmat_rt.grid import Grid

_WIDEST_MM = 30.0
"""Parts of a target further apart than this are two."""
_SHARED = 0.3
"""Part of the smaller of two planes that lies over the other where one target goes on between them."""
_PIXEL_MM = 1.0
_NAMED = 5


def missing_target_slices(target: Structure) -> tuple[Problem, ...]:
    """TARGET_SLICES_MISSING, an error, where planes of a target that lie over each other are not connected.

    Parts that lie beside each other or more than 30 mm apart are taken as separate, as lymph nodes are; the reader
    warns of those gaps as of any other ROI's.
    """
    if not isinstance(target.shape, Contours):
        return ()
    stack = plane_stack(target.shape)
    gaps = [
        (stack.z_mm[i], stack.z_mm[i + 1])
        for i in np.flatnonzero(~stack.connected & (np.diff(stack.z_mm) <= _WIDEST_MM))
        if _goes_on(stack.planes[i], stack.planes[i + 1])
    ]
    if not gaps:
        return ()
    listed = ", ".join(f"{low:.1f} to {high:.1f} mm" for low, high in gaps[:_NAMED])
    rest = f" and {len(gaps) - _NAMED} more gaps" if len(gaps) > _NAMED else ""
    message = f"The target {target.name or target.roi_name} has no contour between z {listed}{rest}, though it has on "
    remedy = "Interpolate the contours; if the parts are separate, go on with --allow TARGET_SLICES_MISSING."
    return (Problem("TARGET_SLICES_MISSING", f"{message}both sides.", remedy),)


def _goes_on(below: ContourPlane, above: ContourPlane) -> bool:
    """Whether two planes lie over each other by a good part of the smaller."""
    grid = _grid_round(below, above)
    one, other = plane_fractions([below.polygons, above.polygons], grid)
    smaller = min(float(one.sum()), float(other.sum()))
    return float(np.minimum(one, other).sum()) > _SHARED * smaller


def _grid_round(*planes: ContourPlane) -> Grid:
    """A plane grid of 1 mm round all polygons; coarser where they reach further than a patient does."""
    points = np.concatenate([polygon for plane in planes for polygon in plane.polygons])
    low, high = points.min(axis=0), points.max(axis=0)
    pixel = max(_PIXEL_MM, float((high - low).max()) / 1000)
    rows, columns = (np.ceil((high - low) / pixel).astype(int) + 1).tolist()
    return Grid((1, rows, columns), (1.0, pixel, pixel), (0.0, float(low[0]), float(low[1])), "")
