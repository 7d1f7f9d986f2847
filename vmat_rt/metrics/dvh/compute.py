"""DVH: how much of a structure gets how much dose. Unbinned, volume-weighted, sampled until the curve holds still.

The solid is that of vmat_rt.case.Contours (ends and all) or a Volume of area fractions; dose is trilinear
between voxel centres. What cannot be known is None with a reason, never 0: a structure without contours, a metric that
the part outside the dose grid decides (vmat_rt.metrics.dvh.coverage), one that lacks the prescription it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Contours, Structure, Volume
from vmat_rt.errors import GeometryError, Problem, raise_errors, warning
from vmat_rt.geometry.rasterize import volume_cc, volume_inside_cc
from vmat_rt.grid import Grid
from vmat_rt.metrics.dvh.convergence import Accuracy, Extent, GridInvariance, refine_curve
from vmat_rt.metrics.dvh.coverage import (
    LEAST,
    WHOLE,
    Outside,
    find_hottest_crossed_face_gy,
    is_within_grid,
    read_with_outside,
)
from vmat_rt.metrics.dvh.curve import DoseVolumeCurve
from vmat_rt.metrics.dvh.evaluation import Reading, read_metric
from vmat_rt.metrics.dvh.sampling import Detail
from vmat_rt.metrics.dvh.solid_samples import sample_structure
from vmat_rt.metrics.grammar import Metric, parse_metric

DEFAULT_METRICS = ("D99%", "D98%", "D95%", "D50%", "D5%", "D2%", "D1%", "D0.03cc", "Dmin", "Dmean", "Dmax")
"""What is read when no metrics are named."""
_ISODOSE_STEP_MM = 0.5


@dataclass(frozen=True)
class Dvh:
    """Cumulative DVH of one structure.

    volume_cc is the whole structure's; covered_fraction the part of it inside the dose grid; cumulative the curve of
    that part, None when nothing is covered. outside is the rest where it is too much to be left out of account. reason,
    when not empty, says why no metric can be given. prescription_gy is used where a caller of value() gives none;
    isodose_cc is the volume of the whole dose grid that gets it (for CI). within_grid: the whole structure, to its
    last edge, lies in the dose grid; covered_fraction may round to 1 where it does not.
    """

    roi_name: str
    name: str | None
    volume_cc: float
    covered_fraction: float
    cumulative: DoseVolumeCurve | None
    grid_invariance: GridInvariance | None
    prescription_gy: float | None = None
    isodose_cc: float | None = None
    reason: str = ""
    outside: Outside | None = None
    within_grid: bool = False

    @property
    def shortfall(self) -> str:
        """What is missing in words, where a part outside the dose grid may decide metrics; else ""."""
        if self.outside is None:
            return ""
        percent = 100 * (1 - self.covered_fraction)
        return f"{percent:.1f} % of it ({self.outside.volume_cc:.3g} cc) lies outside the dose grid"

    @property
    def doses_gy(self) -> NDArray[np.float64]:
        """Doses of the curve's points, ascending, Gy; empty without a curve."""
        return np.empty(0) if self.cumulative is None else self.cumulative.doses_gy

    @property
    def at_least_cc(self) -> NDArray[np.float64]:
        """Volume that gets at least each of doses_gy, cm^3."""
        return np.empty(0) if self.cumulative is None else self.cumulative.at_least_cc

    def read(self, metric: Metric | str, prescription_gy: float | None = None) -> Reading:
        """The metric's value in its own unit, or None and the reason. Raises ConfigError for what is not a metric."""
        metric = _as_metric(metric)
        if self.cumulative is None or self.reason:
            return Reading(None, self.reason)
        given = self.prescription_gy if prescription_gy is None else prescription_gy
        isodose_cc = self.isodose_cc if given == self.prescription_gy else None
        if self.outside is not None:
            return read_with_outside(metric, self.cumulative, self.outside, given, isodose_cc)
        return read_metric(metric, self.cumulative, given, isodose_cc)

    def value(self, metric: Metric | str, prescription_gy: float | None = None) -> float | None:
        """The metric's value in its own unit, or None when it cannot be given (read() gives the reason)."""
        return self.read(metric, prescription_gy).value

    def values(self, metrics: Iterable[Metric | str], prescription_gy: float | None = None) -> dict[str, float | None]:
        """Several values, keyed by the metric's canonical spelling."""
        parsed = [_as_metric(metric) for metric in metrics]
        return {str(metric): self.value(metric, prescription_gy) for metric in parsed}

    def curve(self, doses_gy: NDArray[np.float64] | Sequence[float]) -> NDArray[np.float64]:
        """Percent of the covered volume that gets at least each dose; NaN without a curve."""
        levels = np.asarray(doses_gy, np.float64)
        if self.cumulative is None:
            return np.full(levels.shape, np.nan)
        return 100 * (self.cumulative.volume_at_gy(levels) / self.cumulative.volume_cc)


def _as_metric(metric: Metric | str) -> Metric:
    return parse_metric(metric) if isinstance(metric, str) else metric


def check_dose(dose: Volume) -> tuple[Problem, ...]:
    """Why an array is not a dose: values that are not finite or negative, with their number of voxels."""
    bad = int(np.count_nonzero(~np.isfinite(dose.array)))
    below = int(np.count_nonzero(dose.array < 0))
    size = dose.array.size
    problems = []
    if bad:
        message = f"The dose is not a number in {bad} of {size} voxels."
        problems.append(Problem("DOSE_NAN", message, "Export or compute the dose again."))
    if below:
        lowest = float(np.nanmin(np.where(np.isfinite(dose.array), dose.array, np.nan)))
        message = f"The dose is negative in {below} of {size} voxels, down to {lowest:.4g} Gy."
        problems.append(Problem("DOSE_NEGATIVE", message, "Export or compute the dose again; a dose is 0 Gy or more."))
    return tuple(problems)


def check_coverage(dvhs: Mapping[str, Dvh]) -> tuple[Problem, ...]:
    """A warning for each structure that the dose grid does not cover, with what is missing. dvhs by compute_dvhs."""
    remedy = "Metrics that this part could decide are not given; compute the dose on a larger grid."
    return tuple(
        warning(
            "STRUCTURE_NOT_COVERED",
            f"Of ROI {key!r} {100 * (1 - dvh.covered_fraction):.1f} % "
            f"({(1 - dvh.covered_fraction) * dvh.volume_cc:.3g} of {dvh.volume_cc:.3g} cc) lies outside the dose grid.",
            remedy,
        )
        for key, dvh in dvhs.items()
        if dvh.volume_cc > 0 and dvh.covered_fraction < WHOLE
    )


def compute_dvh(
    structure: Structure,
    dose: Volume,
    *,
    metrics: Iterable[Metric | str] = (),
    prescription_gy: float | None = None,
    accuracy: Accuracy | None = None,
) -> Dvh:
    """The DVH of one structure in a dose (Gy). Its numbers do not depend on `metrics`: CI alone must be asked for here.

    prescription_gy is what V95%, D95%[%] and CI refer to. Raises GeometryError when structure and dose lie in different
    frames, InputError (DOSE_NAN, DOSE_NEGATIVE) for what is not a dose, ConfigError for what is not a metric.
    """
    prescriptions = {} if prescription_gy is None else {structure.roi_name: prescription_gy}
    dvhs = compute_dvhs([structure], dose, metrics=metrics, prescription_gy=prescriptions, accuracy=accuracy)
    return next(iter(dvhs.values()))


def compute_dvhs(
    structures: Iterable[Structure],
    dose: Volume,
    *,
    metrics: Iterable[Metric | str] = (),
    prescription_gy: Mapping[str, float] | None = None,
    accuracy: Accuracy | None = None,
) -> dict[str, Dvh]:
    """DVHs keyed by roi_name, in order; a second ROI of one name gets its number (or place) behind it.

    prescription_gy is looked up by TG-263 name, then by roi_name; other structures refer to the highest. Errors as in
    compute_dvh.
    """
    raise_errors(check_dose(dose))
    wanted = tuple(_as_metric(metric) for metric in metrics or DEFAULT_METRICS)
    dose = Volume(dose.grid, np.ascontiguousarray(dose.array, np.float32))
    given = prescription_gy or {}
    highest = max(given.values(), default=None)
    isodoses: dict[float, float] = {}
    dvhs: dict[str, Dvh] = {}
    for index, structure in enumerate(structures):
        level = given.get(structure.name or "", given.get(structure.roi_name, highest))
        if level is not None and any(m.kind == "conformity" for m in wanted) and level not in isodoses:
            isodoses[level] = compute_isodose_volume_cc(dose, level)
        dvh = _compute_one(structure, dose, accuracy or Accuracy())
        key = structure.roi_name
        if key in dvhs:
            key = f"{key} (ROI {structure.number if structure.number is not None else index})"
        dvhs[key] = replace(dvh, prescription_gy=level, isodose_cc=isodoses.get(level) if level else None)
    return dvhs


def key_by_structure_name(dvhs: Mapping[str, Dvh]) -> dict[str, Dvh]:
    """The same DVHs, in order, by TG-263 name where there is one. dvhs by compute_dvhs.

    An ROI without such a name keeps its key, and so does a second one of the same name; where that is the name of
    another structure, " (as found)" stands behind it.
    """
    first = {dvh.name: key for key, dvh in reversed(list(dvhs.items())) if dvh.name is not None}
    labels = {key: name for name, key in first.items()}
    return {labels.get(key, f"{key} (as found)" if key in first else key): dvh for key, dvh in dvhs.items()}


def compute_isodose_volume_cc(dose: Volume, level_gy: float, step_mm: float = _ISODOSE_STEP_MM) -> float:
    """Volume of the dose grid that gets at least level_gy, cm^3, sampled at about twice step_mm."""
    reached = dose.array >= level_gy * (1 - 1e-6)
    # One voxel more on every side: between centres the isodose reaches into voxels that are below the level.
    box = dose.grid.box_of(reached, (1, 1, 1))
    if box is None:
        return 0.0
    grid = dose.grid.part(box)
    whole = Structure("isodose", None, Volume(grid, np.ones(grid.shape, np.float32)))
    samples = sample_structure(whole, dose, step_mm, Detail())
    above = samples.doses_gy >= level_gy * (1 - 1e-6)
    return float(samples.weights_cc[above].sum(dtype=np.float64))


def _compute_one(structure: Structure, dose: Volume, accuracy: Accuracy) -> Dvh:
    shape = structure.shape
    if shape is None:
        return _make_empty(structure, 0.0, "it has no closed contours")
    if structure.frame_uid != dose.grid.frame_uid:
        raise GeometryError("structure and dose lie in different frames of reference")
    whole = volume_cc(structure) if not isinstance(shape, Contours) or shape.planes else 0.0
    if not whole > 0:
        return _make_empty(structure, 0.0, "it encloses no volume")
    covered = _compute_covered_fraction(structure, dose.grid, whole)
    if covered * whole <= 1e-9:
        return _make_empty(structure, whole, "it lies outside the dose grid")
    curve, invariance = refine_curve(structure, dose, Extent(whole, covered), accuracy)
    within = is_within_grid(structure, dose.grid)
    dvh = Dvh(structure.roi_name, structure.name, whole, covered, curve, invariance, within_grid=within)
    if covered >= WHOLE:
        return dvh
    if covered < LEAST:
        reason = f"only {100 * covered:.1f} % of it lies in the dose grid ({100 * LEAST:g} % is needed)"
        return replace(dvh, reason=reason)
    return replace(dvh, outside=Outside((1 - covered) * whole, find_hottest_crossed_face_gy(structure, dose)))


def _compute_covered_fraction(structure: Structure, grid: Grid, whole_cc: float) -> float:
    """Fraction of a structure's volume within the outer faces of the dose grid."""
    if is_within_grid(structure, grid):
        return 1.0
    return min(1.0, volume_inside_cc(structure, grid) / whole_cc)


def _make_empty(structure: Structure, volume: float, reason: str) -> Dvh:
    return Dvh(structure.roi_name, structure.name, volume, 0.0, None, None, reason=reason)
