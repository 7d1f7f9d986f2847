"""What the gate looks at, measured on the CT: where structures lie, and what is inside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Case, Structure, Volume
from vmat_rt.geometry.body import THRESHOLD_HU, find_body
from vmat_rt.geometry.rasterize import bounds_mm, structure_fraction, volume_cc
from vmat_rt.grid import Grid, Triple

METAL_HU = 2000.0
"""Denser than any bone; enamel and contrast stay below."""
_OUTLINE_STEP = (2, 2, 2)
_PARTS = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Contents:
    """One structure in the CT.

    centre_mm: centroid (z, y, x). hu: 10th, 50th and 90th percentile of the voxels that are mostly inside. in_air: the
    share of the volume below -300 HU, gas in the patient too; in_patient: the share within the patient in the CT.
    """

    volume_cc: float
    centre_mm: Triple
    hu: tuple[float, float, float]
    in_air: float
    in_patient: float


@dataclass(frozen=True)
class Measures:
    """A case as the gate sees it.

    contents: of every structure with a volume, by TG-263 name. body_in_air: the share of the contoured outline where
    the CT shows no patient, 0 without a contoured outline. body_mm: height (y) and width (x) of the patient at the
    middle of the highest target. metal_cc: volume above 2000 HU in the patient; metal_mm: its least distance from the
    targets, inf where there is none.
    """

    contents: Mapping[str, Contents]
    body_in_air: float
    body_mm: tuple[float, float]
    metal_cc: float
    metal_mm: float


def measure(case: Case) -> Measures:
    """Measure a case. Raises InputError (NO_BODY) where the CT shows no patient."""
    ct, patient = case.ct, find_body(case.ct).array
    structures = {n: s for n, s in case.structures.items() if s.shape is not None and s is not case.body}
    contents = {}
    for name, structure in structures.items():
        found = contents_of(structure, ct, patient)
        if found is not None:
            contents[name] = found
    targets = [case.structures[name] for name in case.targets() if name in contents]
    metal_cc, metal_mm = _measure_metal(ct, patient, targets)
    outline = structure_fraction(case.body, ct.grid) if case.body.name in case.structures else patient
    middle = contents[str(targets[0].name)].centre_mm if targets else ct.grid.centre_mm
    return Measures(
        contents,
        _measure_share_outside(outline, patient),
        _measure_body_mm(patient, ct.grid, middle[0]),
        metal_cc,
        metal_mm,
    )


def contents_of(structure: Structure, ct: Volume, patient: NDArray[np.float32]) -> Contents | None:
    """None for a structure that has no volume in the CT."""
    box = _find_box(structure, ct.grid)
    if box is None:
        return None
    start, stop = box
    grid = ct.grid.crop(start, stop)
    fraction = structure_fraction(structure, grid)
    total = float(fraction.sum(dtype=np.float64))
    if total <= 0:
        return None
    place = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    hu, inside = ct.array[place], fraction >= min(0.5, float(fraction.max()))
    low, middle, high = np.quantile(hu[inside], _PARTS)
    centre = [
        float(fraction.sum(axis=tuple({0, 1, 2} - {axis}), dtype=np.float64) @ grid.axis_mm(axis)) / total
        for axis in range(3)
    ]
    return Contents(
        volume_cc(structure),
        (centre[0], centre[1], centre[2]),
        (float(low), float(middle), float(high)),
        float((fraction * (hu < THRESHOLD_HU)).sum(dtype=np.float64)) / total,
        float((fraction * patient[place]).sum(dtype=np.float64)) / total,
    )


def _find_box(structure: Structure, grid: Grid) -> tuple[tuple[int, int, int], tuple[int, int, int]] | None:
    """First voxel and the one behind the last that a structure can reach in the grid; None where it reaches none."""
    low, high = bounds_mm(structure)
    first = np.floor(grid.index_of(np.asarray(low))).astype(int)
    last = np.ceil(grid.index_of(np.asarray(high))).astype(int)
    start, stop = np.clip(first, 0, grid.shape), np.clip(last + 1, 0, grid.shape)
    if np.any(stop <= start):
        return None
    return (int(start[0]), int(start[1]), int(start[2])), (int(stop[0]), int(stop[1]), int(stop[2]))


def _measure_share_outside(outline: NDArray[np.float32], patient: NDArray[np.float32]) -> float:
    """The share of the outline that is not patient, on every second voxel."""
    if outline is patient:
        return 0.0
    step = tuple(slice(None, None, n) for n in _OUTLINE_STEP)
    drawn, found = outline[step], patient[step]
    total = float(drawn.sum(dtype=np.float64))
    return float((drawn * (1 - found)).sum(dtype=np.float64)) / total if total else 0.0


def _measure_body_mm(patient: NDArray[np.float32], grid: Grid, z_mm: float) -> tuple[float, float]:
    """Height and width of the patient in the slice next to z."""
    k = int(np.clip(round((z_mm - grid.origin_mm[0]) / grid.spacing_mm[0]), 0, grid.shape[0] - 1))
    sizes = []
    for axis in (0, 1):
        inside = np.flatnonzero((patient[k] > 0.5).any(axis=1 - axis))
        sizes.append(float(inside[-1] - inside[0] + 1) * grid.spacing_mm[1 + axis] if inside.size else 0.0)
    return sizes[0], sizes[1]


def _measure_metal(ct: Volume, patient: NDArray[np.float32], targets: list[Structure]) -> tuple[float, float]:
    """Volume above 2000 HU in the patient, cc, and its distance from the box round the targets, mm."""
    places = np.argwhere((ct.array > METAL_HU) & (patient > 0.5))
    if not len(places):
        return 0.0, float("inf")
    points = places * np.asarray(ct.grid.spacing_mm) + np.asarray(ct.grid.origin_mm)
    nearest = float("inf")
    for target in targets:
        low, high = (np.asarray(corner) for corner in bounds_mm(target))
        gaps = np.maximum(0.0, np.maximum(low - points, points - high))
        nearest = min(nearest, float(np.sqrt((gaps**2).sum(axis=1)).min()))
    return len(places) * ct.grid.voxel_cc, nearest
