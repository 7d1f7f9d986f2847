"""How finely a structure must be sampled: the step is halved until its whole curve holds still.

Every step cuts the solid anew, so the change tells of geometry and dose alike. The error falls at least as fast as the
step, so all further halvings together (1/2 + 1/4 + ...) change no more than the last one did. What is compared does not
depend on what is asked for: a structure in a dose has one curve, and every report and table reads its numbers there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vmat_rt.case import Structure, Volume
from vmat_rt.grid import Grid
from vmat_rt.metrics.dvh.curve import DoseVolumeCurve, build_curve
from vmat_rt.metrics.dvh.sampling import Detail
from vmat_rt.metrics.dvh.solid_samples import find_extremes_gy, sample_structure

_FIRST_STEP = 0.025
"""Coarsest step as a fraction of the edge of a cube of the same volume; never above the dose grid's spacing."""
_QUANTUM = 0.02
"""Boxes are cut where dose differs across them by more than this fraction of the structure's highest dose."""
HOT_CC = 2.0
"""Volume at the hot end that is always sampled finely: holds the D_x cc metrics of planning (x <= 1 cc) with a
margin."""
HOT_PART_MM = 0.4
"""0.03 cc then holds some 470 points."""
_COMPARED_PERCENT = (99, 98, 95, 90, 75, 50, 25, 10, 5, 2, 1)
_COMPARED_CC = (0.1, 0.5, 1.0)
"""Volumes at which curves are compared in dose; in volume they are at every percent of the highest dose. D0.03cc is
made certain by HOT_PART_MM: halving the step moves it by chance only."""
_LEVELS = 100
_NO_VOLUME = 0.001
_NO_DOSE = 0.25
"""Parts of the structure's volume, and of the dose tolerance at the grid's highest dose, that are slight."""
_FLOOR = 0.25
"""A structure far from the target is held to no less than what one with a quarter of the highest dose is held to."""


@dataclass(frozen=True)
class Accuracy:
    """When sampling is fine enough.

    dose_percent: doses of the curve change by less than this much of the structure's highest dose (of a quarter of the
    dose grid's where that is more) when the step is halved; 0.2 %, 0.14 Gy at 70 Gy, is a fifth of what planning
    systems differ by. volume_percent: volumes at every dose change by less than this much of the structure.
    most_cells bounds time and memory: past it the change that was reached is reported, and that it is too large.
    """

    dose_percent: float = 0.2
    volume_percent: float = 0.5
    most_cells: int = 40_000_000


@dataclass(frozen=True)
class GridInvariance:
    """How much the curve still changed when the sampling step was last halved, to step_mm.

    dose_change_gy is the largest change of a dose (mean, D_x), volume_change_percent that of the volume at any dose in
    percent of the structure. within_tolerance: both are within what Accuracy asks for.
    """

    step_mm: float
    samples: int
    dose_change_gy: float
    volume_change_percent: float
    within_tolerance: bool

    def as_dict(self) -> dict[str, float | int | bool]:
        return dict(vars(self))


@dataclass(frozen=True)
class Extent:
    """How large a structure is, cm^3, and the fraction of it inside the dose grid (above 0)."""

    whole_cc: float
    covered_fraction: float

    @property
    def inside_cc(self) -> float:
        return self.whole_cc * self.covered_fraction


def refine_curve(
    structure: Structure, dose: Volume, extent: Extent, accuracy: Accuracy
) -> tuple[DoseVolumeCurve, GridInvariance]:
    """The curve of a structure, as fine as accuracy asks for, and how far it still moves.

    Raises GeometryError when structure and dose lie in different frames.
    """
    hottest_gy = float(dose.array.max())
    ends_gy = find_extremes_gy(structure, dose)
    steps = _halve_steps_mm(extent.whole_cc, dose.grid, accuracy.most_cells)

    def sample_curve(step_mm: float, detail: Detail) -> tuple[DoseVolumeCurve, int]:
        samples = sample_structure(structure, dose, step_mm, detail)
        ends = ends_gy
        if ends[0] > ends[1]:
            ends = float(samples.doses_gy.min()), float(samples.doses_gy.max())
        return build_curve(samples.doses_gy, samples.weights_cc, extent.inside_cc, ends), len(samples.doses_gy)

    curve, _ = sample_curve(next(steps), Detail(quantum_gy=_QUANTUM * hottest_gy or math.inf))
    for step in steps:
        previous = curve
        floor_gy = _FLOOR * hottest_gy
        curve, count = sample_curve(step, _choose_detail(previous, floor_gy))
        allowed_gy = accuracy.dose_percent / 100 * max(curve.highest_gy, floor_gy)
        change_gy, change_percent = _compute_changes(
            previous, curve, _NO_DOSE * accuracy.dose_percent / 100 * hottest_gy
        )
        within = change_gy <= allowed_gy and change_percent <= accuracy.volume_percent
        invariance = GridInvariance(step, count, change_gy, change_percent, within)
        if within:
            break
    return curve, invariance


def _choose_detail(curve: DoseVolumeCurve, floor_gy: float) -> Detail:
    """Choose how finely to cut, given the curve of the step before."""
    return Detail(
        quantum_gy=_QUANTUM * max(curve.highest_gy, floor_gy) or math.inf,
        hot_gy=curve.dose_at_cc(HOT_CC) if curve.volume_cc > HOT_CC else -1.0,
        hot_part_mm=HOT_PART_MM,
    )


def _halve_steps_mm(volume_cc: float, dose: Grid, most_cells: int) -> Iterator[float]:
    """Steps to sample at, each half the one before, as long as about most_cells suffice.

    The first is a scout, twice as coarse as may ever do: it finds where the structure is hot.
    """
    step = min(_FIRST_STEP * (volume_cc * 1000) ** (1 / 3), max(dose.spacing_mm))
    yield 2 * step
    yield step
    while volume_cc * 1000 / (step / 2) ** 3 <= most_cells:
        step /= 2
        yield step


def _compute_changes(before: DoseVolumeCurve, after: DoseVolumeCurve, slight_gy: float) -> tuple[float, float]:
    """Largest change of a dose, Gy, and of the volume at a dose, percent of the structure.

    Where the curve is flat a dose, where it is steep a volume says little: the change of a dose does not count where
    hardly any volume has it, nor that of a volume which slight_gy more or less makes up for.
    """
    tail_cc = np.array([cc for cc in _COMPARED_CC if cc < after.volume_cc])
    tail_gy = np.abs(after.doses_at_cc(tail_cc) - before.doses_at_cc(tail_cc))
    shares_cc = np.array(_COMPARED_PERCENT) / 100 * after.volume_cc
    doses_gy = after.doses_at_cc(shares_cc)
    moved_gy = np.abs(doses_gy - before.doses_at_cc(shares_cc))
    moved_cc = np.abs(before.volume_at_gy(doses_gy) - shares_cc)
    moved_gy = np.where(moved_cc > _NO_VOLUME * after.volume_cc, moved_gy, 0.0)
    change_gy = max(abs(after.mean_gy - before.mean_gy), float(moved_gy.max()), float(tail_gy.max(initial=0.0)))
    levels_gy = after.highest_gy * np.arange(1, _LEVELS) / _LEVELS
    volumes_cc = after.volume_at_gy(levels_gy)
    change_cc = np.abs(volumes_cc - before.volume_at_gy(levels_gy))
    shift_gy = np.abs(before.doses_at_cc(volumes_cc) - levels_gy)
    change_cc = np.where(shift_gy > slight_gy, change_cc, 0.0)
    return change_gy, 100 * float(change_cc.max()) / after.volume_cc
