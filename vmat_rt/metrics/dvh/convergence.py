"""How finely a structure must be sampled: the step is halved until the metrics that are asked for hold still.

Every step cuts the solid anew, so the change tells of geometry and dose alike. The error falls at least as fast as the
step, so all further halvings together (1/2 + 1/4 + ...) change no more than the last one did.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from vmat_rt.case import Structure, Volume
from vmat_rt.grid import Grid
from vmat_rt.metrics.dvh.curve import DoseVolumeCurve, build_curve
from vmat_rt.metrics.dvh.evaluation import read_metric
from vmat_rt.metrics.dvh.sampling import Detail
from vmat_rt.metrics.dvh.solid_samples import find_extremes_gy, sample_structure
from vmat_rt.metrics.grammar import Metric

_FIRST_STEP = 0.025
"""Coarsest step as a fraction of the edge of a cube of the same volume; never above the dose grid's spacing."""
_QUANTUM = 0.02
"""Boxes are cut where dose differs across them by more than this fraction of the structure's highest dose."""
HOT_CC = 2.0
"""Volume at the hot end that is always sampled finely: holds the D_x cc metrics of planning (x <= 1 cc) with a
margin."""
HOT_PART_MM = 0.4
"""0.03 cc then holds some 470 points."""
_FLOOR = 0.25
"""A structure far from the target is held to no less than what one with a quarter of the highest dose is held to."""


@dataclass(frozen=True)
class Accuracy:
    """When sampling is fine enough.

    dose_percent: dose metrics change by less than this much of the structure's highest dose (of a quarter of the dose
    grid's where that is more) when the step is halved; 0.2 %, 0.14 Gy at 70 Gy, is a fifth of what planning systems
    differ by. volume_percent: volume metrics change by less than this much of the structure; 0.5 % because at a
    target's edge 0.1 % of dose is already about that. most_cells bounds time and memory: past it the change that was
    reached is reported, and that it is too large.
    """

    dose_percent: float = 0.2
    volume_percent: float = 0.5
    most_cells: int = 40_000_000


@dataclass(frozen=True)
class GridInvariance:
    """How much the metrics still changed when the sampling step was last halved, to step_mm.

    dose_change_gy is the largest change of a dose metric, volume_change_percent that of a volume metric in percent of
    the structure (an index, HI or CI, counts times 100). within_tolerance: both are within what Accuracy asks for.
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


@dataclass(frozen=True)
class MetricRequest:
    """The metrics that a curve is for, and the prescription that they refer to, Gy."""

    metrics: tuple[Metric, ...]
    prescription_gy: float | None


def refine_curve(
    structure: Structure,
    dose: Volume,
    extent: Extent,
    request: MetricRequest,
    accuracy: Accuracy,
) -> tuple[DoseVolumeCurve, GridInvariance]:
    """The curve of a structure, fine enough for the request, and how far it still moves.

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
        change_gy, change_percent = _compute_changes(previous, curve, request)
        allowed_gy = accuracy.dose_percent / 100 * max(curve.highest_gy, floor_gy)
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


def _compute_changes(before: DoseVolumeCurve, after: DoseVolumeCurve, request: MetricRequest) -> tuple[float, float]:
    """Largest change of a dose metric, Gy, and of a volume metric or index, percent."""
    change_gy, change_percent = abs(after.mean_gy - before.mean_gy), 0.0
    for metric in request.metrics:
        absolute = replace(metric, unit="Gy") if metric.is_dose else replace(metric, unit="%")
        # The volume of the prescription isodose does not depend on the step; the structure's own stands for it.
        old = read_metric(absolute, before, request.prescription_gy, before.volume_cc).value
        new = read_metric(absolute, after, request.prescription_gy, after.volume_cc).value
        if old is None or new is None:
            continue
        if metric.is_dose:
            change_gy = max(change_gy, abs(new - old))
        else:
            change_percent = max(change_percent, abs(new - old) * (1 if metric.is_volume else 100))
    return change_gy, change_percent
