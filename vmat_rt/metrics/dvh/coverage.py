"""What is known of a structure that leaves the dose grid.

A dose grid is laid round what matters, so dose outside it is taken to be no higher than the highest dose on those outer
faces of the grid that the structure crosses. A metric is given where it is the same whether the part outside gets that
dose or none: what the hot end decides (Dmax, D0.03cc, D2%, V70Gy of the whole volume) most often is, what the cold end
decides (Dmin, Dmean, D95%) is not. A structure that lies mostly outside has no metrics: its hottest part may be there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vmat_rt.case import Structure, Volume
from vmat_rt.geometry.rasterize import bounds_mm
from vmat_rt.grid import Grid
from vmat_rt.metrics.dvh.curve import DoseVolumeCurve
from vmat_rt.metrics.dvh.evaluation import Reading, read_metric
from vmat_rt.metrics.grammar import Metric

WHOLE = 0.999
"""From this fraction inside the dose grid on, a structure counts as covered: the rest is rounding of its edge."""
LEAST = 0.5
"""Below this fraction inside, no metric is given."""
_ROUNDING = 0.01
_SAME = 0.005
"""Gy, %, cc: values this close are one number, half a unit of the second decimal."""


@dataclass(frozen=True)
class Outside:
    """The part of a structure outside the dose grid, and the dose that it is taken not to exceed."""

    volume_cc: float
    at_most_gy: float


def is_within_grid(structure: Structure, grid: Grid) -> bool:
    """Whether a structure lies wholly within the outer faces of a grid, its ends included.

    What reaches beyond by less than _ROUNDING of a voxel is rounding of positions, not anatomy.
    """
    (low, high), (first, last) = bounds_mm(structure), grid.bounds_mm
    return all(
        low[axis] >= first[axis] - _ROUNDING * grid.spacing_mm[axis]
        and high[axis] <= last[axis] + _ROUNDING * grid.spacing_mm[axis]
        for axis in range(3)
    )


def find_hottest_crossed_face_gy(structure: Structure, dose: Volume) -> float:
    """The highest dose on the outer faces of the dose grid that the structure reaches beyond, Gy; 0 without any."""
    (low, high), (first, last) = bounds_mm(structure), dose.grid.bounds_mm
    hottest = 0.0
    for axis in range(3):
        for crossed, index in ((low[axis] < first[axis], 0), (high[axis] > last[axis], -1)):
            if crossed:
                hottest = max(hottest, float(np.take(dose.array, index, axis).max()))
    return hottest


def read_with_outside(
    metric: Metric, inside: DoseVolumeCurve, outside: Outside, prescription_gy: float | None, isodose_cc: float | None
) -> Reading:
    """The metric of the whole structure, from the curve of the part inside; None where the part outside decides it."""
    none, most = (
        read_metric(metric, inside.with_volume(outside.volume_cc, gy), prescription_gy, isodose_cc)
        for gy in (0.0, outside.at_most_gy)
    )
    if none.value is None or most.value is None:
        return most if most.value is None else none
    if abs(most.value - none.value) <= _SAME:
        return most
    return Reading(None, f"it depends on {outside.volume_cc:.3g} cc that lie outside the dose grid")
