"""Planning targets: growing by margins without distance maps of the whole scan.

Near the surface of a field lie its foot points: lattice point - distance x normal. The distance of a point outside is
that to the nearest foot point among the lattice neighbours within the margin; only points within the margin are looked
at. That is exact to a fraction of a millimetre, and element-wise (see fields).
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from vmat_rt.case import FloatArray
from vmat_rt.phantom.anatomy.lattice import STEP_MM
from vmat_rt.phantom.anatomy.shapes import FAR, f32

MARGIN_HIGH_MM = 7.0
MARGIN_BACK_MM = 5.0
SKIN_MM = 5.0


def build_prostate_target(prostate: FloatArray) -> FloatArray:
    """PTV_7000: the prostate grown by 7 mm, 5 mm towards the back."""
    return grow(prostate, MARGIN_HIGH_MM, MARGIN_BACK_MM)


def grow(field: FloatArray, margin_mm: float, back_mm: float | None = None) -> FloatArray:
    """The solid grown by margin_mm (by back_mm towards +y, along a half ellipsoid), as a signed distance near its
    surface: a field over the same lattice, FAR beyond the margin's neighbourhood.
    """
    reach = margin_mm + 2 * STEP_MM
    if not (field < 0).any():
        return np.full_like(field, FAR)
    squeeze = margin_mm / back_mm if back_mm else 1.0
    distance = _measure_distance_to(_find_foot_offsets(field), field, reach, squeeze)
    return distance - f32(margin_mm)


def _find_foot_offsets(field: FloatArray) -> list[FloatArray]:
    """From each lattice point within one and a half steps of the surface to its foot: flat z, y, x, mm; else 1e4."""
    near = np.abs(field) < f32(1.5 * STEP_MM)
    near[[0, -1]] = False
    near[:, [0, -1]] = False
    near[:, :, [0, -1]] = False
    at = np.flatnonzero(near)
    flat = field.ravel()
    strides = (field.shape[1] * field.shape[2], field.shape[2], 1)
    slopes = [(flat[at + s] - flat[at - s]) / f32(2 * STEP_MM) for s in strides]
    squared = np.maximum(slopes[0] * slopes[0] + slopes[1] * slopes[1] + slopes[2] * slopes[2], f32(0.25))
    offsets = []
    for slope in slopes:
        offset = np.full(field.size, 1e4, np.float32)
        offset[at] = -flat[at] * slope / squared
        offsets.append(offset)
    return offsets


def _measure_distance_to(feet: list[FloatArray], field: FloatArray, reach: float, squeeze: float) -> FloatArray:
    """Distance from each point within reach to the nearest foot, mm; y beyond a foot counts squeeze times."""
    foot_z, foot_y, foot_x = feet
    cells = math.ceil(reach / STEP_MM)
    inner = field[cells:-cells, cells:-cells, cells:-cells]
    band = (inner < f32(reach + 1)) & (inner > f32(-2 * STEP_MM))
    z, y, x = np.nonzero(band)
    rows, columns = field.shape[1:]
    at = ((z + cells) * rows + (y + cells)) * columns + (x + cells)
    best = np.full(at.shape, 1e9, np.float32)
    for dz, dy, dx in itertools.product(range(-cells, cells + 1), repeat=3):
        if math.hypot(dz, dy, dx) * STEP_MM > reach + 2 * STEP_MM:
            continue
        other = at + ((dz * rows + dy) * columns + dx)
        gap_z = foot_z[other] + f32(dz * STEP_MM)
        gap_y = foot_y[other] + f32(dy * STEP_MM)
        gap_x = foot_x[other] + f32(dx * STEP_MM)
        # The gap points from here to the foot: y is negative where the foot lies in front of this point.
        gap_y = np.maximum(gap_y, gap_y * f32(-squeeze))
        np.minimum(best, gap_z * gap_z + gap_y * gap_y + gap_x * gap_x, out=best)
    distance = np.sqrt(best)
    result = np.where(field < 0, -FAR, FAR)
    flat = result.ravel()
    flat[at] = np.where(field.ravel()[at] < 0, -distance, distance)
    return result


def drop_below_skin(target: FloatArray, skin: FloatArray) -> FloatArray:
    """The target without what lies less than SKIN_MM under the skin."""
    return np.asarray(np.maximum(target, skin + f32(SKIN_MM)), np.float32)
