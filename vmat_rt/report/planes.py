"""Which three planes a report shows, and what lies on them: CT, doses and structure outlines, ready to be drawn.

A plane is a grid with a single voxel along its normal, so the one resampler and the one rasteriser serve it unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Case, FloatArray, Structure, Volume
from vmat_rt.geometry.rasterize import bounds_mm
from vmat_rt.grid import Grid, Triple
from vmat_rt.report.sampling import compute_fraction, is_empty, sample_volume

View = Literal["axial", "coronal", "sagittal"]
VIEWS: tuple[View, ...] = ("axial", "coronal", "sagittal")
NORMAL_AXIS: Mapping[View, int] = {"axial": 0, "coronal": 1, "sagittal": 2}

_MARGIN_MM = 12.0
_FINEST_MM = 1.0
_MOST_PIXELS = 360
_TARGET_CELLS = 40

Outline = NDArray[np.float64]
"""Vertices (n, 2) as (horizontal, vertical) position on the plane, LPS mm."""


@dataclass(frozen=True)
class Plane:
    """One cut through the patient.

    grid has one voxel along the normal; ct is the CT's own slice, HU, on ct_grid. Both are in the order (z, y, x).
    outlines are the closed curves of each structure on this plane, keyed by ROI name.
    """

    view: View
    grid: Grid
    ct: Volume
    outlines: Mapping[str, tuple[Outline, ...]]

    @property
    def axes(self) -> tuple[int, int]:
        """The grid's axes that run down and across the picture."""
        normal = NORMAL_AXIS[self.view]
        down, across = (axis for axis in range(3) if axis != normal)
        return down, across

    @property
    def position_mm(self) -> float:
        """Where the plane cuts its normal, LPS mm."""
        return self.grid.origin_mm[NORMAL_AXIS[self.view]]

    def flat(self, volume: Volume) -> FloatArray:
        """The (down, across) picture of a volume that lies on one plane."""
        return np.squeeze(volume.array, axis=NORMAL_AXIS[self.view])

    def sample(self, volume: Volume) -> FloatArray:
        """The volume's values on the plane (down, across), linear between voxels; NaN outside the volume."""
        return self.flat(Volume(self.grid, sample_volume(volume, self.grid)))


def cut_planes(case: Case, dose_grid: Grid) -> tuple[Plane, ...]:
    """Axial, coronal and sagittal planes through the highest-prescribed target's largest sections.

    The picture shows the body within the dose grid, with a margin. Without a contoured target the planes pass through
    the middle of the dose grid.
    """
    centre = find_focus_mm(case, dose_grid)
    low, high = _find_region_mm(case, dose_grid)
    structures = [*case.structures.values()]
    if case.body.roi_name not in {structure.roi_name for structure in structures}:
        structures.append(case.body)
    planes = []
    for view in VIEWS:
        region = _make_round_section(case.body, _cut(case.ct, view, centre, (low, high))[1], view)
        ct, grid = _cut(case.ct, view, centre, region)
        outlines = {s.roi_name: _trace_outlines(s, grid, view) for s in structures if not is_empty(s)}
        planes.append(Plane(view, grid, ct, outlines))
    return tuple(planes)


def make_axial_plane(case: Case, z_mm: float) -> Plane:
    """The axial plane nearest z_mm, round the body's section."""
    low, high = case.ct.grid.bounds_mm
    centre = (z_mm, *case.ct.grid.centre_mm[1:])
    region = _make_round_section(case.body, _cut(case.ct, "axial", centre, (low, high))[1], "axial")
    ct, grid = _cut(case.ct, "axial", centre, region)
    structures = {s.roi_name: s for s in (*case.structures.values(), case.body) if not is_empty(s)}
    return Plane("axial", grid, ct, {name: _trace_outlines(s, grid, "axial") for name, s in structures.items()})


def find_focus_mm(case: Case, dose_grid: Grid) -> Triple:
    """Find where the first target is largest along each axis: unlike its centre of mass, always inside some of it."""
    targets = [case.structures[name] for name in case.targets()]
    for target in (target for target in targets if not is_empty(target)):
        low, high = bounds_mm(target)
        spacing = tuple(max((b - a) / _TARGET_CELLS, _FINEST_MM) for a, b in zip(low, high, strict=True))
        shape = tuple(max(1, round((b - a) / s)) for a, b, s in zip(low, high, spacing, strict=True))
        origin = tuple(a + s / 2 for a, s in zip(low, spacing, strict=True))
        grid = Grid(_to_triple_of_int(shape), _to_triple(spacing), _to_triple(origin), dose_grid.frame_uid)
        fraction = compute_fraction(target, grid)
        sections = [fraction.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
        return _to_triple(tuple(grid.axis_mm(axis)[_find_middle_of_largest(s)] for axis, s in enumerate(sections)))
    return dose_grid.centre_mm


def _find_middle_of_largest(sections: NDArray[np.float32]) -> int:
    """Index in the middle of those sections that are within 5 % of the largest."""
    large = np.flatnonzero(sections >= 0.95 * sections.max())
    return int(large[len(large) // 2])


def _find_region_mm(case: Case, dose_grid: Grid) -> tuple[Triple, Triple]:
    """Find what the pictures show: the body where dose was computed, plus a margin, within the CT."""
    ct_low, ct_high = case.ct.grid.bounds_mm
    dose_low, dose_high = dose_grid.bounds_mm
    body_low, body_high = (ct_low, ct_high) if is_empty(case.body) else bounds_mm(case.body)
    low, high = [], []
    for axis in range(3):
        a = max(ct_low[axis], max(dose_low[axis], body_low[axis]) - _MARGIN_MM)
        b = min(ct_high[axis], min(dose_high[axis], body_high[axis]) + _MARGIN_MM)
        usable = b - a > case.ct.grid.spacing_mm[axis]
        low.append(a if usable else ct_low[axis])
        high.append(b if usable else ct_high[axis])
    return _to_triple(tuple(low)), _to_triple(tuple(high))


def _make_round_section(body: Structure, grid: Grid, view: View) -> tuple[Triple, Triple]:
    """The part of the plane round the body's section: an axial picture of a head needs no room for the shoulders."""
    low, high = (list(corner) for corner in grid.bounds_mm)
    box = grid.box_of(compute_fraction(body, grid) >= 0.5)
    if box is not None:
        for axis in (axis for axis in range(3) if axis != NORMAL_AXIS[view]):
            centres = grid.axis_mm(axis)
            low[axis] = max(low[axis], float(centres[box[axis].start]) - _MARGIN_MM)
            high[axis] = min(high[axis], float(centres[box[axis].stop - 1]) + _MARGIN_MM)
    return _to_triple(tuple(low)), _to_triple(tuple(high))


def _cut(ct: Volume, view: View, centre: Triple, region: tuple[Triple, Triple]) -> tuple[Volume, Grid]:
    """The CT slice nearest the centre, cropped to the region, and the finer or coarser grid that dose is sampled on."""
    normal = NORMAL_AXIS[view]
    start, stop = [], []
    for axis in range(3):
        ends = [centre[axis]] * 2 if axis == normal else [region[0][axis], region[1][axis]]
        first, last = (round((end - ct.grid.origin_mm[axis]) / ct.grid.spacing_mm[axis]) for end in ends)
        start.append(min(max(first, 0), ct.grid.shape[axis] - 1))
        stop.append(min(max(last, start[-1]), ct.grid.shape[axis] - 1) + 1)
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    piece = Volume(ct.grid.crop(_to_triple_of_int(tuple(start)), _to_triple_of_int(tuple(stop))), ct.array[box])
    return piece, _make_drawing_grid(piece.grid, normal)


def _make_drawing_grid(grid: Grid, normal: int) -> Grid:
    """The same field of view in square pixels of 1 mm, or larger where that would be too many."""
    low, high = grid.bounds_mm
    extent = [b - a for a, b in zip(low, high, strict=True)]
    pixel = max(_FINEST_MM, *(extent[axis] / _MOST_PIXELS for axis in range(3) if axis != normal))
    shape = [1 if axis == normal else max(1, round(extent[axis] / pixel)) for axis in range(3)]
    spacing = [extent[axis] / shape[axis] for axis in range(3)]
    origin = [low[axis] + spacing[axis] / 2 for axis in range(3)]
    return Grid(_to_triple_of_int(tuple(shape)), _to_triple(tuple(spacing)), _to_triple(tuple(origin)), grid.frame_uid)


def _trace_outlines(structure: Structure, grid: Grid, view: View) -> tuple[Outline, ...]:
    """Curves along which half of a pixel is covered; open where the picture's edge cuts the structure."""
    from contourpy import contour_generator

    normal = NORMAL_AXIS[view]
    down, across = (axis for axis in range(3) if axis != normal)
    fraction = np.squeeze(compute_fraction(structure, grid), axis=normal)
    if min(fraction.shape) < 2 or not fraction.any():
        return ()
    lines = contour_generator(grid.axis_mm(across), grid.axis_mm(down), fraction).lines(0.5)
    return tuple(np.asarray(line, np.float64) for line in lines)


def _to_triple(values: tuple[float, ...]) -> Triple:
    z, y, x = (float(value) for value in values)
    return z, y, x


def _to_triple_of_int(values: tuple[int, ...]) -> tuple[int, int, int]:
    z, y, x = (int(value) for value in values)
    return z, y, x
