"""The points at which a plan is optimised: close together in and near targets, further apart elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Case, Structure, Volume
from vmat_rt.errors import GeometryError
from vmat_rt.geometry.distance import signed_distance_mm
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.geometry.rays import list_voxel_points
from vmat_rt.geometry.resample import resample
from vmat_rt.grid import Grid, centred_grid

STEP_MM = 3.5
NEAR_MM = 8.0
MIDDLE_MM = 30.0
FAR_STRIDE = 4
REACH_MM = 60.0
"""Distances are known up to this one."""

FINE_ORGANS = ("Rectum", "PenileBulb")

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class PlanPoints:
    """points_mm (n, 3) z, y, x; volume_cc (n,): the part of the body that each stands for; fraction: share of that in
    each structure (n,); distance_mm (n,): from each target's surface, negative inside, limited to REACH_MM.
    """

    points_mm: Floats
    volume_cc: Floats
    fraction: Mapping[str, Floats]
    distance_mm: Mapping[str, Floats]


def choose_plan_points(case: Case, step_mm: float = STEP_MM) -> PlanPoints:
    """Points of a simulated case, on a lattice of step_mm within its CT.

    All of its voxels within NEAR_MM of a target and in FINE_ORGANS, every second one along each axis up to MIDDLE_MM,
    every FAR_STRIDE-th beyond. Raises GeometryError for a case without a target or with a structure that is not voxels.
    """
    grid = fit_lattice(case.ct.grid, step_mm)
    fraction = {
        name: resample(_require_voxels(structure), grid, 0.0).array for name, structure in case.structures.items()
    }
    body = structure_fraction(case.body, grid) >= 0.5
    distance = {name: _measure_distance_mm(case, name, grid) for name in case.targets()}
    if not distance:
        raise GeometryError("a plan needs a target")
    stride = _choose_strides(np.minimum.reduce(list(distance.values())), fraction)
    chosen = body & (stride > 0)
    return PlanPoints(
        points_mm=list_voxel_points(grid, chosen),
        volume_cc=(grid.voxel_cc * stride[chosen].astype(np.float32) ** 3),
        fraction={name: array[chosen] for name, array in fraction.items()},
        distance_mm={name: array[chosen] for name, array in distance.items()},
    )


def fit_lattice(grid: Grid, step_mm: float) -> Grid:
    """The isotropic grid of step_mm in the middle of `grid`, no voxel of which reaches beyond it."""
    z, y, x = (max(1, int((b - a + 1e-6) // step_mm)) for a, b in zip(*grid.bounds_mm, strict=True))
    return centred_grid((z, y, x), (step_mm, step_mm, step_mm), grid.centre_mm, grid.frame_uid)


def _choose_strides(distance_mm: Floats, fraction: Mapping[str, Floats]) -> NDArray[np.int64]:
    """How many lattice steps apart the points lie at each voxel; 0 where the voxel is not one of them."""
    wanted = np.where(distance_mm < NEAR_MM, 1, np.where(distance_mm < MIDDLE_MM, 2, FAR_STRIDE))
    for name in FINE_ORGANS:
        if name in fraction:
            wanted[(fraction[name] > 0) & (distance_mm < REACH_MM)] = 1
    stands = np.zeros(wanted.shape, np.int64)
    for stride in (1, 2, FAR_STRIDE):
        every = (slice(stride // 2, None, stride),) * 3
        stands[every] = np.where(wanted[every] == stride, stride, stands[every])
    return stands


def _require_voxels(structure: Structure) -> Volume:
    if not isinstance(structure.shape, Volume):
        raise GeometryError(f"{structure.name} of a simulated case must be voxels")
    return structure.shape


def _measure_distance_mm(case: Case, name: str, grid: Grid) -> Floats:
    """Computed on the CT's finer voxels: a rim of 2 mm is less than a step of the lattice."""
    fine = case.ct.grid
    distance = signed_distance_mm(structure_fraction(case.structures[name], fine), fine, REACH_MM)
    return resample(Volume(fine, distance), grid, REACH_MM).array
