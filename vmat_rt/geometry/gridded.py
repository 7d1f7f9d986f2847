"""A case on one grid, every value as a cohort stores it: what a network is trained on is what it is given later.

The values that fit in small integers are rounded to them here, once, for both: HU to whole numbers (as scanners store
them), area fractions to multiples of 1/255, dose to DOSE_STEP_GY. Storing such a case loses nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import AIR_HU, Case, FloatArray, Structure, Volume
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.geometry.resample import resample
from vmat_rt.grid import Grid

LEVELS: Final = 255
"""A fraction is a multiple of 1 / LEVELS: it is wrong by 0.002 at most, less than contours are drawn."""

DOSE_STEP_GY: Final = 0.002
"""Dose is a multiple of this: wrong by 0.001 Gy at most. OpenKBP's steps of 0.01 Gy are multiples of it."""

_HU_RANGE: Final = (-32768.0, 32767.0)  # 16 bits


def gridded(case: Case, grid: Grid) -> Case:
    """The case with CT, structures, body and reference dose on `grid`; the same again when it lies there already.

    CT: linear or averaged, air outside, whole HU within 16 bits. Structures and body: Volumes of area fractions. A
    structure without a voxel on the grid is left out (a body is kept), and so are ROIs that no name was found for.
    Reference dose: cubic, 0 outside, never negative. Raises GeometryError when case and grid lie in different frames.
    """
    ct = resample(case.ct, grid, AIR_HU).array
    body = _put_structure_on_grid(case.body, grid)
    structures = {}
    for name, structure in case.structures.items():
        # A contoured body stays one object under both names: nobody rasterises or stores it twice.
        placed = body if structure is case.body else _put_structure_on_grid(structure, grid)
        if isinstance(placed.shape, Volume) and placed.shape.array.any():
            structures[name] = placed
    dose = case.reference_dose
    return replace(
        case,
        ct=Volume(grid, np.rint(np.clip(ct, *_HU_RANGE))),
        structures=structures,
        body=body,
        unmapped=(),
        reference_dose=None
        if dose is None
        else Volume(grid, _round_to_steps(resample(dose, grid, 0.0, "cubic").array)),
    )


def _put_structure_on_grid(structure: Structure, grid: Grid) -> Structure:
    """Its area fractions on the grid, in multiples of 1 / LEVELS; an ROI without a shape stays as it is."""
    if structure.shape is None:
        return structure
    levels = np.rint(structure_fraction(structure, grid) * np.float32(LEVELS))
    return replace(structure, shape=Volume(grid, convert_levels(levels)))


def convert_levels(levels: NDArray[Any]) -> FloatArray:
    """0 to LEVELS -> 0 to 1, float32."""
    fraction: FloatArray = levels.astype(np.float32)
    fraction /= np.float32(LEVELS)
    return fraction


def convert_steps(steps: NDArray[Any]) -> FloatArray:
    """Whole multiples of DOSE_STEP_GY -> Gy, float32. Multiplied in double precision: the same on every machine."""
    dose_gy: FloatArray = (np.asarray(steps, np.float64) * DOSE_STEP_GY).astype(np.float32)
    return dose_gy


def count_dose_steps(dose_gy: FloatArray) -> NDArray[np.float64]:
    """Gy -> the nearest whole multiple of DOSE_STEP_GY, never negative."""
    return np.rint(np.maximum(dose_gy, 0.0).astype(np.float64) / DOSE_STEP_GY)


def _round_to_steps(dose_gy: FloatArray) -> FloatArray:
    return convert_steps(count_dose_steps(dose_gy))
