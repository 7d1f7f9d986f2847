"""A quick inverse plan: ray weights that give the targets their prescription and the rest little, as maps of dose.

Every beam is a view of ray weights, blurred by the penumbra; dose at a point is the mean over beams of the weight of
its ray, attenuated. The weights solve a weighted least-squares problem without negative weights, by the multiplicative
update of the image-space reconstruction algorithm (Daube-Witherspoon and Muehllehner, IEEE Trans. Med. Imaging 5(2),
61-66, 1986): no step size, no randomness, and each step lowers the cost. It knows neither scatter nor machine limits: a
shape for the predictor to learn from, not a dose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import FloatArray
from vmat_rt.geometry import ray_kernels
from vmat_rt.geometry.rays import Beams, Fan, gather, list_voxel_points, measure_target_chords, soften
from vmat_rt.system.threads import run_threads

STEPS = 30
COARSE = 2
"""Outside the targets every COARSE-th voxel along each axis stands for its neighbours."""

FALL_OFF_MM = 30.0
"""Healthy tissue counts in full from this distance to the target; dose must fall off somewhere."""


@dataclass(frozen=True)
class Wish:
    """What one plan is to spare, and how fine it may be.

    importance (z, y, x): what a unit of dose outside the targets costs relative to a unit missed in them, once
    FALL_OFF_MM away; zero outside the patient. blur_mm: standard deviation of the finest pattern that the weights can
    make, in the isocentre plane.
    """

    importance: FloatArray
    blur_mm: float


@dataclass(frozen=True)
class _Cost:
    """Dose wanted at each point, the weight of a difference from it, and the blur of the ray weights."""

    dose: NDArray[np.float32]
    weight: NDArray[np.float32]
    blur_mm: float


@dataclass(frozen=True)
class _Rays:
    """For each beam and point: the ray's first cell in the flat view, its place between cells, and the attenuation."""

    cell: NDArray[np.int32]
    between: NDArray[np.float32]
    factor: NDArray[np.float32]


def plan_doses(
    beams: Beams, wanted: FloatArray, distance_mm: FloatArray, wishes: Mapping[str, Wish]
) -> dict[str, FloatArray]:
    """For each wish the dose (z, y, x) of its fitted weights, in the unit of `wanted`, zero outside the body.

    wanted: the prescription in the targets, zero elsewhere. distance_mm: to the nearest target.
    """
    target = wanted > 0
    coarse = np.zeros(beams.grid.shape, bool)
    coarse[::COARSE, ::COARSE, ::COARSE] = True
    matters = np.any([wish.importance > 0 for wish in wishes.values()], axis=0)
    chosen = target | (coarse & matters)
    far = np.clip(distance_mm[chosen] / np.float32(FALL_OFF_MM), 0, 1).astype(np.float32)
    rays = _locate(beams, list_voxel_points(beams.grid, chosen))
    start = (measure_target_chords(beams.fan, beams.grid, target.astype(np.float32)) > 0).astype(np.float32)
    dose = wanted[chosen].astype(np.float32)
    fluences = []
    for wish in wishes.values():
        weight = np.where(target[chosen], np.float32(1), COARSE**3 * far * wish.importance[chosen]).astype(np.float32)
        fluences.append(_fit(beams.fan, rays, start, _Cost(dose, weight, wish.blur_mm)))
    rows = gather(beams, np.stack(fluences, axis=1), attenuated=len(fluences))
    return {name: beams.volume(row) for name, row in zip(wishes, rows[:-1], strict=True)}


def _fit(fan: Fan, rays: _Rays, start: NDArray[np.float32], cost: _Cost) -> NDArray[np.float32]:
    """Softened ray weights (beams, v, u) after STEPS updates from `start`, which is not negative; zero stays zero."""
    numerator = soften(fan, _spread_on_rays(fan, rays, cost.weight * cost.dose), cost.blur_mm)
    fluence = start
    tiny = np.float32(1e-12)
    for _ in range(STEPS):
        dose = _compute_dose(rays, soften(fan, fluence, cost.blur_mm))
        denominator = soften(fan, _spread_on_rays(fan, rays, cost.weight * dose), cost.blur_mm)
        fluence = (fluence * numerator / np.maximum(denominator, tiny)).astype(np.float32)
    return soften(fan, fluence, cost.blur_mm)


def _locate(beams: Beams, points: NDArray[np.float32]) -> _Rays:
    fan, count = beams.fan, len(beams.fan.angles_deg)
    rays = _Rays(
        np.zeros((count, len(points)), np.int32),
        np.zeros((count, len(points), 2), np.float32),
        np.zeros((count, len(points)), np.float32),
    )

    def one(beam: int) -> None:
        table = (fan.directions[beam], fan.centre, fan.view, fan.view_shape, fan.depth_start, beams.depths[beam])
        ray_kernels.locate_rays(points, *table, rays.cell[beam], rays.between[beam], rays.factor[beam])

    run_threads(one, range(count))
    return _Rays(rays.cell, rays.between, rays.factor / np.float32(count))


def _compute_dose(rays: _Rays, fluence: NDArray[np.float32]) -> NDArray[np.float32]:
    """Dose at the points, beams summed in order."""
    width = fluence.shape[2]

    def one(beam: int) -> NDArray[np.float32]:
        dose: NDArray[np.float32] = ray_kernels.sum_dose_at_points(
            fluence[beam].ravel(), width, rays.cell[beam], rays.between[beam], rays.factor[beam]
        )
        return dose

    total: NDArray[np.float32] = np.sum(run_threads(one, range(len(fluence))), axis=0, dtype=np.float32)
    return total


def _spread_on_rays(fan: Fan, rays: _Rays, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The transpose of _forward: point values spread over the rays that reach them, (beams, v, u)."""
    height, width = fan.view_shape

    def one(beam: int) -> NDArray[np.float32]:
        flat: NDArray[np.float32] = ray_kernels.spread_on_rays(
            values, height * width, width, rays.cell[beam], rays.between[beam], rays.factor[beam]
        )
        return flat.reshape(height, width)

    return np.stack(run_threads(one, range(len(fan.angles_deg))))
