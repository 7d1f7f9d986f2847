"""Small procedural patients for the geometric predictor: every axis different, origin off zero, contours or voxels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from vmat_rt.baseline.scene import FeatureSettings
from vmat_rt.case import Case, ContourPlane, Contours, Prescription, Structure, Volume
from vmat_rt.grid import Grid, Triple, centred_grid

CENTRE: Triple = (-120.0, 35.0, -8.0)
FRAME = "1.2.3"
SETTINGS = FeatureSettings(
    organs=("SpinalCord", "Parotid_L", "Parotid_R", "Larynx"),
    pairs=(("Parotid_L", "Parotid_R"),),
    importance={"SpinalCord": 0.3},
    angles_deg=tuple(40.0 * k for k in range(9)),
)

# Ellipses in every slice: (centre y, centre x, half width y, half width x, lowest z, highest z), mm from CENTRE.
Ellipse = tuple[float, float, float, float, float, float]
SHAPES: dict[str, Ellipse] = {
    "External": (0.0, 0.0, 85.0, 75.0, -60.0, 60.0),
    "PTV_7000": (-15.0, 12.0, 16.0, 14.0, -20.0, 20.0),
    "PTV_5600": (-12.0, 5.0, 28.0, 40.0, -32.0, 26.0),
    "SpinalCord": (35.0, 1.0, 7.0, 8.0, -60.0, 60.0),
    "Parotid_L": (-2.0, 58.0, 14.0, 9.0, 5.0, 35.0),
    "Parotid_R": (2.0, -57.0, 13.0, 10.0, 5.0, 40.0),
}


def small_grid(scale: float = 1.0) -> Grid:
    """About 2.4 x 3.2 x 3.6 mm; `scale` refines it over the same ground."""
    shape = (round(57 * scale), round(61 * scale), round(49 * scale))
    return centred_grid(shape, (2.4 / scale, 3.2 / scale, 3.6 / scale), CENTRE, FRAME)


def mask_of(grid: Grid, ellipse: Ellipse) -> NDArray[np.bool_]:
    z, y, x = (grid.axis_mm(axis) - c for axis, c in enumerate(CENTRE))
    cy, cx, ry, rx, low, high = ellipse
    within = ((y[:, None] - cy) / ry) ** 2 + ((x[None, :] - cx) / rx) ** 2 <= 1
    return ((z >= low) & (z <= high))[:, None, None] & within[None]


def contours_of(ellipse: Ellipse, slab_mm: float = 2.4) -> Contours:
    """The same ellipse as contours of 90 corners, every slab_mm."""
    cy, cx, ry, rx, low, high = ellipse
    turn = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    polygon = np.stack([CENTRE[1] + cy + ry * np.sin(turn), CENTRE[2] + cx + rx * np.cos(turn)], axis=1)
    count = round((high - low) / slab_mm)
    planes = CENTRE[0] + low + (high - low) / count * (np.arange(count) + 0.5)
    return Contours(tuple(ContourPlane(float(z), (polygon,)) for z in planes), (high - low) / count, FRAME)


def mirrored(ellipse: Ellipse) -> Ellipse:
    return (ellipse[0], -ellipse[1], *ellipse[2:])


def patient(
    grid: Grid,
    shapes: Mapping[str, Ellipse] = SHAPES,
    dose_gy: Mapping[str, float] | None = None,
    as_contours: bool = False,
    nested: bool = True,
) -> Case:
    """A case of these shapes in water. nested: PTV_5600 contains PTV_7000, as clinics draw it."""
    structures = {}
    for name, ellipse in shapes.items():
        mask = mask_of(grid, ellipse)
        if name == "PTV_5600" and not nested:
            mask &= ~mask_of(grid, shapes["PTV_7000"])
        shape = contours_of(ellipse) if as_contours else Volume(grid, mask.astype(np.float32))
        structures[name] = Structure(name, name, shape)
    body = mask_of(grid, shapes["External"])
    ct = np.where(body, np.float32(0), np.float32(-1000))
    dose = {"PTV_7000": 70.0, "PTV_5600": 56.0} if dose_gy is None else dict(dose_gy)
    external = structures.pop("External")
    return Case("phantom", Volume(grid, ct), structures, external, Prescription(dose, 35, "test"), "head_neck_70")
