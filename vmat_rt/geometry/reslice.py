"""A case on a cohort's grid -> the same case on slices where its CT was scanned, so that contours lie on them again.

Contours live on slices. Traced on other slices than they were drawn on, even a perfect trace is another solid: half a
slice of a sloping surface is gained or lost, which costs a small organ 5 % of overlap (docs/results.md). In the plane
nothing changes here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import AIR_HU, Case, FloatArray, Structure, Volume
from vmat_rt.geometry.resample import resample
from vmat_rt.grid import Grid

_CORRECTIONS: Final = 8
_SPILLED: Final = 0.2
_TOLERANCE_MM: Final = 1e-3


def reslice(case: Case, z_mm: NDArray[np.float64]) -> Case:
    """CT, structures and body at those of the slices z_mm (n,) that the case's grid holds; the dose stays as it is.

    z_mm: equally spaced, ascending, in the frame of the case's CT. Structures and body have to be Volumes on the grid
    of the CT. A case that has its slices there already, or none of them, is returned as it is.
    """
    grid = case.ct.grid
    low, high = grid.bounds_mm[0][0], grid.bounds_mm[1][0]
    held = z_mm[(z_mm > low + _TOLERANCE_MM) & (z_mm < high - _TOLERANCE_MM)]
    own = grid.axis_mm(0)
    if len(held) < 2 or (len(held) == len(own) and np.allclose(held, own, rtol=0, atol=_TOLERANCE_MM)):
        return case
    step = float(held[-1] - held[0]) / (len(held) - 1)
    new = Grid(
        (len(held), *grid.shape[1:]),
        (step, *grid.spacing_mm[1:]),
        (float(held[0]), *grid.origin_mm[1:]),
        grid.frame_uid,
    )
    body = _move(case.body, new)
    structures = {
        name: body if structure is case.body else _move(structure, new) for name, structure in case.structures.items()
    }
    return replace(case, ct=resample(case.ct, new, AIR_HU), structures=structures, body=body)


def _move(structure: Structure, grid: Grid) -> Structure:
    shape = structure.shape
    if not isinstance(shape, Volume):
        return structure
    return replace(structure, shape=Volume(grid, _solve_at_planes(shape.array, shape.grid.axis_mm(0), grid.axis_mm(0))))


def _solve_at_planes(fraction: FloatArray, stored_mm: NDArray[np.float64], drawn_mm: NDArray[np.float64]) -> FloatArray:
    """Fractions at drawn_mm that give, interpolated linearly to stored_mm, what is stored there.

    Interpolated there and back, a structure would be blurred along z twice; a few steps of Van Cittert's iteration
    take back most of that. A plane whose fullest voxel is less than a fifth as full as the structure's was spilled
    beyond its end, and is left empty.
    """
    there, back = _make_interpolation(stored_mm, drawn_mm), _make_interpolation(drawn_mm, stored_mm)
    drawn: FloatArray = np.tensordot(there, fraction, (1, 0))
    for _ in range(_CORRECTIONS):
        rest = fraction - np.tensordot(back, drawn, (1, 0))
        drawn = np.clip(drawn + np.tensordot(there, rest, (1, 0)), 0, 1)
    fullest = drawn.max(axis=(1, 2))
    drawn[fullest <= _SPILLED * fullest.max()] = 0
    return np.ascontiguousarray(drawn, np.float32)


def _make_interpolation(source_mm: NDArray[np.float64], target_mm: NDArray[np.float64]) -> FloatArray:
    """Weights (target, source) of linear interpolation; the outermost planes hold for half a slice more."""
    step = float(source_mm[1] - source_mm[0])
    position = (target_mm - source_mm[0]) / step
    last = len(source_mm) - 1
    inside = (position >= -0.5) & (position < last + 0.5)
    position = np.clip(position, 0, last)
    lower = np.minimum(np.floor(position).astype(np.int64), last - 1)
    weights = np.zeros((len(target_mm), len(source_mm)), np.float32)
    rows = np.arange(len(target_mm))
    weights[rows, lower] = 1 - (position - lower)
    weights[rows, lower + 1] = position - lower
    weights[~inside] = 0
    return weights
