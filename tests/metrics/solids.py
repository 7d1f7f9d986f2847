"""Solids whose DVH in a linear dose gradient is known: sphere, cylinder and cone, contoured on axial planes.

Everything lies off zero, (z, y, x) mm. Along means a gradient in z, across one in x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq

from vmat_rt.case import ContourPlane, Contours, Structure, Volume
from vmat_rt.grid import Grid
from vmat_rt.metrics.dvh.compute import Dvh
from vmat_rt.metrics.dvh.convergence import Accuracy

FRAME = "1.2.826.0.1"
CENTRE = (31.3, -12.7, 8.9)
GRADIENTS = ("along", "across")
BASE_GY, SLOPE_GY_MM = 50.0, 0.8


def _segment(t: float) -> float:
    """Share of a disc of radius 1 beyond a chord at t."""
    t = float(np.clip(t, -1, 1))
    return float((np.arccos(t) - t * np.sqrt(1 - t * t)) / np.pi)


@dataclass(frozen=True)
class Solid:
    """kind "sphere", "cylinder" or "cone" (apex up); height is along z."""

    kind: str
    radius_mm: float
    height_mm: float

    @property
    def volume_cc(self) -> float:
        share = {"sphere": 2 / 3, "cylinder": 1.0, "cone": 1 / 3}[self.kind]
        return float(np.pi * self.radius_mm**2 * self.height_mm * share / 1000)

    def radius_at(self, u: float) -> float:
        """Radius at height u in [0, 1], 0 at the bottom."""
        if self.kind == "sphere":
            return float(self.radius_mm * np.sqrt(max(0.0, 1 - (2 * u - 1) ** 2)))
        return self.radius_mm * (1 - u) if self.kind == "cone" else self.radius_mm

    def share_beyond(self, gradient: str, mm: float) -> float:
        """Share of the volume further along the gradient than mm from the middle of the height or the axis."""
        if gradient == "along":
            u = float(np.clip(mm / self.height_mm + 0.5, 0, 1))
            v = 1 - u
            return {"sphere": v * v * (3 - 2 * v), "cylinder": v, "cone": v**3}[self.kind]
        if self.kind == "cylinder":
            return _segment(mm / self.radius_mm)
        whole = quad(lambda u: self.radius_at(u) ** 2, 0, 1)[0]
        part = quad(lambda u: self.radius_at(u) ** 2 * _segment(mm / max(self.radius_at(u), 1e-9)), 0, 1, limit=200)[0]
        return float(part / whole)

    def dose_at(self, gradient: str, shares: Sequence[float]) -> list[float]:
        """D of each share of the volume, Gy, in linear_dose(gradient)."""
        reach = max(self.radius_mm, self.height_mm / 2)
        return [
            BASE_GY + SLOPE_GY_MM * float(brentq(lambda mm, s=s: self.share_beyond(gradient, mm) - s, -reach, reach))
            for s in shares
        ]


SOLIDS = (Solid("sphere", 22.0, 44.0), Solid("cylinder", 15.0, 48.0), Solid("cone", 24.0, 48.0))


def contours_of(solid: Solid, spacing_mm: float, offset: float = 0.3, centre: tuple[float, ...] = CENTRE) -> Structure:
    """The solid contoured every spacing_mm; `offset` shifts the planes by that share of the spacing."""
    bottom = centre[0] - solid.height_mm / 2
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    planes = []
    for k in range(int(solid.height_mm / spacing_mm) + 2):
        z = bottom + (k + 0.5 + offset) * spacing_mm - spacing_mm * round(offset)
        u = (z - bottom) / solid.height_mm
        if not 0 < u < 1 or solid.radius_at(u) < 0.05:
            continue
        ring = solid.radius_at(u) * np.column_stack((np.sin(angle), np.cos(angle))) + (centre[1], centre[2])
        planes.append(ContourPlane(z, (ring,)))
    return Structure(solid.kind, None, Contours(tuple(planes), spacing_mm, FRAME))


def dose_grid(spacing_mm: float, reach_mm: float = 40.0) -> Grid:
    """A grid round CENTRE with three different spacings about spacing_mm, rows != columns, at no round place."""
    spacing = (spacing_mm, 0.93 * spacing_mm, 1.07 * spacing_mm)
    z, y, x = (int(2 * reach_mm / s) + 2 + extra for s, extra in zip(spacing, (1, 4, 0), strict=True))
    origin = tuple(c - reach_mm - 0.37 * s for c, s in zip(CENTRE, spacing, strict=True))
    return Grid((z, y, x), spacing, (origin[0], origin[1], origin[2]), FRAME)


def linear_dose(gradient: str, spacing_mm: float) -> Volume:
    """BASE_GY at CENTRE, SLOPE_GY_MM more for every mm along z or x."""
    grid = dose_grid(spacing_mm)
    axis = 0 if gradient == "along" else 2
    shape = [1, 1, 1]
    shape[axis] = -1
    line = BASE_GY + SLOPE_GY_MM * (grid.axis_mm(axis) - CENTRE[axis])
    return Volume(grid, np.broadcast_to(line.reshape(shape), grid.shape).astype(np.float32))


def uniform_dose(gy: float, spacing_mm: float = 2.5) -> Volume:
    grid = dose_grid(spacing_mm)
    return Volume(grid, np.full(grid.shape, gy, np.float32))


SPHERE, CYLINDER, CONE = SOLIDS


def box_structure(low: tuple[float, float, float], high: tuple[float, float, float], slab: float = 2.0) -> Structure:
    """A box between two corners (z, y, x) mm, contoured every `slab`."""
    (z0, y0, x0), (z1, y1, x1) = low, high
    ring = np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]])
    count = round((z1 - z0) / slab)
    planes = tuple(ContourPlane(z0 + (k + 0.5) * slab, (ring,)) for k in range(count))
    return Structure("box", None, Contours(planes, slab, FRAME))


def stated_gy(dvh: Dvh) -> float:
    """What the default Accuracy allows a dose metric to be off by."""
    return Accuracy().dose_percent / 100 * float(dvh.value("Dmax") or 0)


def bumpy_dose(seed: int, spacing: float = 2.5) -> Volume:
    """A smooth dose with a steep flank, hot and cold spots."""
    rng = np.random.default_rng(seed)
    grid = dose_grid(spacing)
    z, y, x = np.meshgrid(*(grid.axis_mm(a) - CENTRE[a] for a in range(3)), indexing="ij")
    shift = rng.uniform(-8, 8, 3)
    radius = np.sqrt((z - shift[0]) ** 2 + (y - shift[1]) ** 2 + (x - shift[2]) ** 2)
    dose = 70 / (1 + np.exp((radius - rng.uniform(12, 22)) / 5)) + 3 * np.sin(z / 6 + seed) * np.cos(y / 7) + 4
    return Volume(grid, np.maximum(dose, 0).astype(np.float32))
