"""Doses for the metric tests: every axis different, origin off zero."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter, shift

from vmat_rt.case import Volume
from vmat_rt.grid import Grid

GRID = Grid((13, 16, 19), (3.0, 2.0, 2.5), (-41.0, 17.0, 5.5), "1.2.3")


def volume(array: np.ndarray, grid: Grid = GRID) -> Volume:
    return Volume(grid, np.ascontiguousarray(np.broadcast_to(array, grid.shape), np.float32))


def linear(base_gy: float, slope_gy_per_mm: tuple[float, float, float], grid: Grid = GRID) -> Volume:
    """Dose base + slope . (position - origin of GRID), slope along (z, y, x)."""
    terms = [s * (grid.axis_mm(a) - GRID.origin_mm[a]) for a, s in enumerate(slope_gy_per_mm)]
    return volume(base_gy + terms[0][:, None, None] + terms[1][:, None] + terms[2], grid)


def smooth_pair(seed: int, grid: Grid) -> tuple[Volume, Volume]:
    """A random smooth dose of 0 to 70 Gy, and the same moved, scaled and disturbed by some Gy."""
    random = np.random.default_rng(seed)
    width = random.uniform(1.5, 3.5)
    dose = gaussian_filter(random.standard_normal(grid.shape), width)
    dose = 70 * (dose - dose.min()) / np.ptp(dose)
    disturbance = gaussian_filter(random.standard_normal(grid.shape), width)
    other = shift(dose, random.uniform(-0.6, 0.6, 3), order=1, mode="nearest") * random.uniform(0.97, 1.03)
    other += random.uniform(0.3, 1.6) * disturbance / disturbance.std()
    return volume(dose, grid), volume(np.clip(other, 0, None), grid)


PAIR = smooth_pair(5, GRID)


def moved(dose: Volume, by_mm: tuple[float, float, float]) -> Volume:
    origin = tuple(o + d for o, d in zip(dose.grid.origin_mm, by_mm, strict=True))
    return replace(dose, grid=replace(dose.grid, origin_mm=origin))


def interior(array: np.ndarray, voxels: int = 4) -> np.ndarray:
    return array[voxels:-voxels, voxels:-voxels, voxels:-voxels]
