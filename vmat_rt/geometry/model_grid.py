"""The grid that a bundle's model works on, from the bundle's rule and the case; and what that grid cuts off."""

from __future__ import annotations

import math

import numpy as np

from vmat_rt.bundle import GridRule
from vmat_rt.case import Case, Structure
from vmat_rt.errors import InputError, Problem, warning
from vmat_rt.geometry.rasterize import bounds_mm, volume_cc, volume_inside_cc
from vmat_rt.grid import Grid, Triple, centred_grid

CUT_OFF_PERCENT = 0.1
"""Less of a structure than this may leave the grid without a word: contours on a face, rounding."""


def model_grid(rule: GridRule, case: Case) -> Grid:
    """The model's grid for this case, in the CT's frame of reference.

    "fixed": rule.shape voxels of rule.spacing_mm, its middle at the middle of the box round all targets.
    "ct_blocks": whole blocks of CT voxels; along each axis the number of voxels a block that brings its size nearest
    to rule.spacing_mm (of two equally near ones the smaller), but one where the CT has no more voxels than rule.shape
    and they are at least half as large as rule.spacing_mm: nothing is gained by averaging what fits. Where there are
    more blocks than rule.shape the part round the targets is taken, moved inwards to stay on the CT; where there are
    fewer the grid reaches equally beyond both ends.
    A CT that fits as it is is the grid. Raises InputError (NO_TARGET) when no target is contoured.
    """
    centre = _find_centre_of_targets(case)
    ct = case.ct.grid
    if rule.kind == "fixed":
        return centred_grid(rule.shape, rule.spacing_mm, centre, ct.frame_uid)
    axes = [_count_blocks_along(axis, rule, ct, centre[axis]) for axis in (0, 1, 2)]
    (factor_z, start_z), (factor_y, start_y), (factor_x, start_x) = axes
    if rule.shape == ct.shape and axes == [(1, 0)] * 3:
        return ct
    factors, starts = (factor_z, factor_y, factor_x), (start_z, start_y, start_x)
    spacing = tuple(f * s for f, s in zip(factors, ct.spacing_mm, strict=True))
    # The centre of a block lies (factor - 1) / 2 voxels after its first voxel.
    origin = tuple(
        o + (start * f + (f - 1) / 2) * s
        for o, s, f, start in zip(ct.origin_mm, ct.spacing_mm, factors, starts, strict=True)
    )
    return Grid(rule.shape, (spacing[0], spacing[1], spacing[2]), (origin[0], origin[1], origin[2]), ct.frame_uid)


def _count_blocks_along(axis: int, rule: GridRule, ct: Grid, centre_mm: float) -> tuple[int, int]:
    """CT voxels per block, and the (possibly negative) index of the first block of the grid, along one axis."""
    size, wanted, count = ct.spacing_mm[axis], rule.spacing_mm[axis], rule.shape[axis]
    factor = 1
    if ct.shape[axis] > count or 2 * size < wanted:
        smaller = max(1, math.floor(wanted / size))
        factor = min((smaller, smaller + 1), key=lambda f: (round(abs(f * size - wanted), 6), f))
    blocks = math.ceil(ct.shape[axis] / factor)
    if blocks <= count:
        return factor, -((count - blocks) // 2)
    centre_block = ((centre_mm - ct.origin_mm[axis]) / size + 0.5) / factor
    start = math.floor(centre_block - count / 2 + 0.5)
    return factor, min(max(start, 0), blocks - count)


def check_cut_off(case: Case, grid: Grid) -> tuple[Problem, ...]:
    """Report what leaves the model's grid, in cc and percent: an error for a target, a warning for any other structure.

    The body is not examined: a model's grid rarely holds a whole patient.
    """
    targets = case.targets()
    problems = []
    for name, structure in case.structures.items():
        if name == case.body.name or structure.shape is None:
            continue
        cut = _measure_cut_off_cc(structure, grid)
        if cut is None:
            continue
        message = (
            f"{cut[0]:.1f} of {cut[1]:.1f} cc ({100 * cut[0] / cut[1]:.1f} %) of {name} lie outside the model's grid"
        )
        grid_mm = " x ".join(f"{n * s:.0f}" for n, s in zip(grid.shape, grid.spacing_mm, strict=True))
        message += f" of {grid_mm} mm (z, y, x)."
        if name in targets:
            remedy = "This model cannot predict targets of this extent; use one with a larger grid."
            problems.append(Problem("STRUCTURE_CUT_OFF", message, remedy))
        else:
            remedy = (
                "No dose is predicted there: read this structure's dose-volume results as those of the part inside."
            )
            problems.append(warning("STRUCTURE_CUT_OFF", message, remedy))
    return tuple(problems)


def _measure_cut_off_cc(structure: Structure, grid: Grid) -> tuple[float, float] | None:
    """(volume outside the grid, whole volume) in cc; None when nothing worth mention is outside."""
    low, high = bounds_mm(structure)
    grid_low, grid_high = grid.bounds_mm
    if np.all(np.greater_equal(low, grid_low)) and np.all(np.less_equal(high, grid_high)):
        return None
    whole = volume_cc(structure)
    outside = whole - volume_inside_cc(structure, grid)
    if outside <= whole * CUT_OFF_PERCENT / 100:
        return None
    return outside, whole


def _find_centre_of_targets(case: Case) -> Triple:
    """Middle of the box round all contoured targets, (z, y, x) mm."""
    boxes = [bounds_mm(case.structures[name]) for name in case.targets() if case.structures[name].shape is not None]
    if not boxes:
        raise InputError(
            Problem(
                "NO_TARGET",
                "None of the prescribed targets is contoured, so there is nothing to centre the model's grid on.",
                "Contour a target, or map its name in a site protocol.",
            )
        )
    low = np.min([box[0] for box in boxes], axis=0)
    high = np.max([box[1] for box in boxes], axis=0)
    z, y, x = ((low + high) / 2).tolist()
    return z, y, x
