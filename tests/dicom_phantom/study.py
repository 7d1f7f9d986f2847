"""The study as a whole: pixels, dose and regions that differ along every axis, written to a folder."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.dicom_phantom.files import save
from tests.dicom_phantom.images import ct_slice, dose
from tests.dicom_phantom.plans import plan
from tests.dicom_phantom.structures import structure_set
from tests.dicom_phantom.values import Drawn, Options, Phantom
from vmat_rt.case import Polygon
from vmat_rt.grid import Grid


def disc(y_mm: float, x_mm: float, radius_mm: float, vertices: int = 48) -> Polygon:
    """A regular polygon round (y, x)."""
    angle = 2 * np.pi * np.arange(vertices) / vertices
    return np.stack([y_mm + radius_mm * np.sin(angle), x_mm + radius_mm * np.cos(angle)], axis=1)


def default_rois(grid: Grid) -> tuple[Drawn, ...]:
    """Two target levels, two organs at risk, the outline, a point, an ROI nobody knows and one without contours."""
    z = [float(v) for v in grid.axis_mm(0)]
    _, y, x = grid.centre_mm
    return (
        Drawn("PTV_7000", 1, {v: [disc(y - 3, x + 4, 12)] for v in z[4:8]}, "PTV"),
        Drawn("PTV_5600", 2, {v: [disc(y - 3, x + 4, 18), disc(y - 3, x + 4, 12)] for v in z[3:9]}, "PTV"),
        Drawn("Rectum", 3, {v: [disc(y + 24, x + 2, 8)] for v in z[2:10]}, "ORGAN"),
        Drawn("Bladder", 4, {v: [disc(y - 25, x - 1, 9)] for v in z[5:9]}, "ORGAN"),
        Drawn("BODY", 5, {v: [disc(y, x, 44)] for v in z}, "EXTERNAL"),
        Drawn("Marker", 6, {z[5]: [disc(y, x, 1, 1)]}, "MARKER", "POINT"),
        Drawn("zz help", 7, {v: [disc(y + 1, x - 20, 5)] for v in z[3:5]}),
        Drawn("Empty", 8, {}),
    )


def write_study(folder: Path, options: Options | None = None, **changes: object) -> Phantom:
    """Write the study below `folder`; `changes` are fields of Options. File names are shuffled against z."""
    o = replace(options or Options(), **changes)  # type: ignore[arg-type]
    folder.mkdir(parents=True, exist_ok=True)
    grid = Grid(o.shape, o.spacing_mm, o.origin_mm, o.uid("frame"))
    rois = o.rois if o.rois is not None else default_rois(grid) if o.structures else ()
    hu, dose_gy = phantom_hu(grid), phantom_dose(grid)
    order = list(range(o.shape[0]))
    random.Random(7).shuffle(order)
    files = tuple(folder / "CT" / f"{o.seed}.{order[k]:03d}.dcm" for k in range(o.shape[0]))
    phantom = Phantom(
        folder, grid, hu, dose_gy, rois, files, folder / "rs.dcm", folder / "rp.dcm", folder / "rd.dcm", o
    )
    if o.ct:
        (folder / "CT").mkdir(exist_ok=True)
        for k, path in enumerate(files):
            save(ct_slice(phantom, k), path)
    if o.structures:
        save(structure_set(phantom), phantom.structures_file)
    if o.plan:
        save(plan(phantom), phantom.plan_file)
    if o.dose:
        save(dose(phantom), phantom.dose_file)
    return phantom


def phantom_hu(grid: Grid) -> NDArray[np.float32]:
    """Whole HU: a body of about 0 HU that differs along each axis, in air."""
    y, x = (grid.axis_mm(axis) - grid.centre_mm[axis] for axis in (1, 2))
    inside = (y[:, None] ** 2 + x[None, :] ** 2 <= 44**2)[None]
    k, j, i = (np.arange(n) for n in grid.shape)
    ramp = 2 * k[:, None, None] + j[:, None] - 3 * i
    return np.where(inside, ramp, -1000).astype(np.float32)


def phantom_dose(grid: Grid) -> NDArray[np.float32]:
    """Gy that falls from a point off the middle, differently along each axis."""
    z, y, x = (grid.axis_mm(axis) - grid.centre_mm[axis] for axis in range(3))
    r2 = (z[:, None, None] / 15) ** 2 + ((y[:, None] + 3) / 25) ** 2 + ((x - 4) / 35) ** 2
    return (70 * np.exp(-r2)).astype(np.float32)
