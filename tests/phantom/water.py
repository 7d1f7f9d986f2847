"""Water phantoms and the dose in them by direct summation: nothing here uses the engine's lattices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from vmat_rt.case import Volume
from vmat_rt.grid import Grid
from vmat_rt.phantom.delivery.machine import Machine

FRAME = "water"
Points = NDArray[np.float64]

SLAB = Grid((52, 64, 90), (5.0, 4.0, 4.5), (-131.0, -112.0, -193.0), FRAME)
"""Water fills this grid: 260 x 256 x 405 mm, its front face at y = -114 mm."""


def everywhere(grid: Grid, value: float = 1.0) -> Volume:
    return Volume(grid, np.full(grid.shape, value, np.float32))


def ellipsoid(grid: Grid, centre_mm: tuple[float, float, float], radii_mm: tuple[float, float, float]) -> Volume:
    """1 inside, 0 outside; a radius may be infinite."""
    z, y, x = (
        (grid.axis_mm(a).reshape([-1 if a == b else 1 for b in range(3)]) - centre_mm[a]) / radii_mm[a]
        for a in range(3)
    )
    return Volume(grid, (z**2 + y**2 + x**2 <= 1).astype(np.float32))


def rectangle_dose(
    machine: Machine, view_mm: Points, half_mm: tuple[float, float], depth_mm: Points, ssd_mm: float
) -> Points:
    """Dose, without inverse square, of a rectangle of unit fluence: half sides (v, u), rays (n, 2), depths (n,).

    Every pixel of the tabulated kernels, seen through the field with Gaussian edges.
    """
    place = np.interp(ssd_mm, machine.ssd_mm, np.arange(len(machine.ssd_mm)))
    below = min(int(place), len(machine.ssd_mm) - 2)
    table = machine.kernels[below] + (place - below) * (machine.kernels[below + 1] - machine.kernels[below])
    step, count = machine.radius_step_mm, table.shape[1]
    pixel = np.arange(1 - count, count) * step
    radius = np.hypot(pixel[:, None], pixel[None, :])
    seen = []
    for axis in range(2):
        distance = view_mm[:, axis, None] - pixel
        width = np.sqrt(2) * machine.penumbra_sigma_mm
        seen.append((erf((distance + half_mm[axis]) / width) - erf((distance - half_mm[axis]) / width)) / 2)
    total = np.zeros(len(view_mm))
    for row, depth_dose in zip(table, machine.depth_dose(depth_mm), strict=True):
        image = np.interp(radius, np.arange(count) * step, row, right=0) * step**2
        total += depth_dose * np.einsum("nv,vu,nu->n", seen[0], image, seen[1], optimize=True)
    return total
