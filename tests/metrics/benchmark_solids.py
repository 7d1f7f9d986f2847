"""The five solids of the published analytic benchmark of DVHs, contoured on axial planes, with their true metrics.

B. Nelms et al., Med. Phys. 42, 4435 (2015): sphere, cylinder and cone of 24 mm, the last two also lying (their axis
along y), in doses that rise by 1 Gy per mm along z or y, 16 Gy in the middle, so that they run from 4 to 28 Gy. A cone
tapers towards low dose. Flat ends that lie across z are half a spacing beyond a plane, as published; everything else
may lie at any phase of the planes. Made from the published dimensions; (z, y, x) mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import ContourPlane, Contours, Polygon, Structure, Volume
from vmat_rt.grid import Grid

FRAME = "1.2.826.0.2"
RADIUS, HALF = 12.0, 12.0
MIDDLE_GY, GY_MM = 16.0, 1.0
NAMES = ("sphere", "cylinder", "lying cylinder", "cone", "lying cone")
ALIGNED = ("cylinder", "cone")

Floats = NDArray[np.float64]


def _chord(at: Floats) -> Floats:
    return 4 * HALF * np.sqrt(np.clip(RADIUS**2 - at**2, 0, None))


def _hyperbola(at: Floats, height: float) -> Floats:
    """Area of a cone's section parallel to its axis, `at` mm from it."""
    ratio = np.clip(np.abs(at) / RADIUS, 1e-12, 1)
    return height * RADIUS * (np.sqrt(1 - ratio**2) - ratio**2 * np.arccosh(1 / ratio))


@dataclass(frozen=True)
class BenchmarkSolid:
    """name as in NAMES; height_mm of a standing cone, the others are 24 mm high."""

    name: str
    height_mm: float = 2 * HALF

    def section_mm2(self, axis: str, at: Floats) -> Floats:
        """Area of the section across axis "z" or "y" at places from the middle."""
        standing = self.name in ALIGNED
        if self.name == "sphere":
            return np.pi * np.clip(RADIUS**2 - at**2, 0, None)
        if "cylinder" in self.name:
            return np.full(len(at), np.pi * RADIUS**2) if standing == (axis == "z") else _chord(at)
        if standing == (axis == "z"):
            # The base stays at +12 mm; the slope of a cone of another height is another.
            return np.pi * (RADIUS * np.clip(at - HALF + self.height_mm, 0, None) / self.height_mm) ** 2
        return _hyperbola(at, self.height_mm)

    def _profile(self, axis: str) -> tuple[Floats, Floats]:
        low = HALF - self.height_mm if self.name == "cone" and axis == "z" else -HALF
        at = np.linspace(low, HALF, 20001)
        area = self.section_mm2(axis, at)
        return at, np.append(0, np.cumsum((area[1:] + area[:-1]) / 2 * np.diff(at)))

    @property
    def volume_cc(self) -> float:
        return float(self._profile("z")[1][-1]) / 1000

    def dose_gy(self, axis: str, percent: float) -> float:
        """The true D of a percentage of the volume."""
        at, volume = self._profile(axis)
        return MIDDLE_GY + GY_MM * float(np.interp((1 - percent / 100) * volume[-1], volume, at))

    def outline(self, z: float) -> Polygon:
        """The section at a height from the middle, vertices (y, x)."""
        if self.name == "lying cylinder":
            x = np.sqrt(RADIUS**2 - z**2)
            return np.array([[-HALF, -x], [-HALF, x], [HALF, x], [HALF, -x]])
        if self.name == "lying cone":
            first = self.height_mm * abs(z) / RADIUS
            y = first + (self.height_mm - first) * np.linspace(0, 1, 120) ** 2
            x = np.sqrt(np.clip((RADIUS * y / self.height_mm) ** 2 - z**2, 0, None))
            return np.column_stack((np.concatenate([y, y[::-1]]) - HALF, np.concatenate([x, -x[::-1]])))
        angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
        # A polygon of the circle's area.
        radius = np.sqrt(self.section_mm2("z", np.array([z]))[0] / (180 * np.sin(2 * np.pi / 360)))
        return radius * np.column_stack((np.sin(angle), np.cos(angle)))

    def contoured(self, spacing_mm: float, phase: float) -> Structure:
        """Contours every spacing_mm; phase in [0, 1) places the planes of what has no flat end across z."""
        first = 0.5 * spacing_mm - HALF if self.name in ALIGNED else phase * spacing_mm
        z = first + spacing_mm * np.arange(-60, 61)
        kept = (z < HALF) & (self.section_mm2("z", z) > 0.05) & (z > -HALF if self.name != "cone" else z > -1e9)
        planes = tuple(ContourPlane(float(at), (self.outline(float(at)),)) for at in z[kept])
        return Structure(self.name, None, Contours(planes, spacing_mm, FRAME))


def linear_dose(axis: str, spacing_mm: float) -> Volume:
    """The dose that rises along z or y, on voxels of spacing_mm."""
    count = int(48 / spacing_mm) + 1
    start = -spacing_mm * (count - 1) / 2
    grid = Grid((count,) * 3, (spacing_mm,) * 3, (start,) * 3, FRAME)
    along = 0 if axis == "z" else 1
    line = MIDDLE_GY + GY_MM * grid.axis_mm(along)
    shape = [1, 1, 1]
    shape[along] = -1
    return Volume(grid, np.broadcast_to(np.maximum(line, 0).reshape(shape), grid.shape).astype(np.float32))


def placed(name: str, spacing_mm: float, phases: int) -> list[tuple[BenchmarkSolid, Structure]]:
    """A solid and its contours at so many phases of the planes; a standing cone's height puts its tip there."""
    found = []
    for phase in np.arange(phases) / phases:
        height = 2 * HALF + (phase - 0.5) * spacing_mm if name == "cone" else 2 * HALF
        solid = BenchmarkSolid(name, float(height))
        found.append((solid, solid.contoured(spacing_mm, float(phase))))
    return found[:1] if name == "cylinder" else found
