"""Gamma index of two doses in 3-D, and pass rates by region.

gamma(r) = min over r' of sqrt(|r - r'|^2 / distance^2 + (D_eval(r') - D_ref(r))^2 / dose^2), Low et al., Med. Phys. 25,
1998, doi 10.1118/1.598248. A point passes when gamma <= 1 (AAPM TG-218, Miften et al., Med. Phys. 45, 2018,
doi 10.1002/mp.12810). Each voxel of the reference at or above the lower cutoff is one point; the evaluation dose is
interpolated trilinearly at offsets on shells around it, as pymedphys does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import FloatArray, Volume
from vmat_rt.errors import ConfigError, GeometryError, Problem, warning
from vmat_rt.grid import Grid
from vmat_rt.metrics.gamma.samples import Doubles, SearchScale, prepare

Status = Literal["evaluated", "not evaluable"]
PASS = 1.0


@dataclass(frozen=True)
class GammaCriteria:
    """What counts as agreement. Percentages are of the reference maximum; `local` takes dose_percent of each point.

    lower_cutoff_percent: reference points below it are not examined. max_gamma: the search stops there, worse points
    have this value. interpolation_mm: spacing of the search samples, by default a tenth of distance_mm.
    Raises ConfigError for values with which gamma has no meaning.
    """

    dose_percent: float = 3.0
    distance_mm: float = 3.0
    lower_cutoff_percent: float = 10.0
    local: bool = False
    max_gamma: float = 2.0
    interpolation_mm: float | None = None

    def __post_init__(self) -> None:
        numbers = (self.dose_percent, self.distance_mm, self.max_gamma, self.step_mm)
        if not all(np.isfinite(number) and number > 0 for number in numbers):
            raise ConfigError("gamma: dose_percent, distance_mm, max_gamma and interpolation_mm must be positive")
        if self.max_gamma <= PASS:
            raise ConfigError(f"gamma: max_gamma {self.max_gamma:g} would let every point pass; it must be above 1")
        if not 0 <= self.lower_cutoff_percent <= 100:
            raise ConfigError(f"gamma: lower_cutoff_percent {self.lower_cutoff_percent:g} is not within 0 to 100")

    @property
    def step_mm(self) -> float:
        return self.distance_mm / 10 if self.interpolation_mm is None else self.interpolation_mm

    @property
    def label(self) -> str:
        """For tables and figures: `3 % / 3 mm global, above 10 %`."""
        kind = "local" if self.local else "global"
        return f"{self.dose_percent:g} % / {self.distance_mm:g} mm {kind}, above {self.lower_cutoff_percent:g} %"


@dataclass(frozen=True)
class GammaSummary:
    """Pass rate (%) and mean gamma of some points; both None, and reason says why, where there is nothing to judge."""

    pass_rate_percent: float | None
    mean: float | None
    points_evaluated: int
    status: Status = "evaluated"
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class GammaResult:
    """map: gamma on the reference grid, float32, NaN where not evaluated. problems: warnings to report with it."""

    map: Volume
    summary: GammaSummary
    criteria: GammaCriteria
    problems: tuple[Problem, ...] = ()

    @property
    def pass_rate_percent(self) -> float | None:
        return self.summary.pass_rate_percent

    @property
    def mean(self) -> float | None:
        return self.summary.mean

    @property
    def points_evaluated(self) -> int:
        return self.summary.points_evaluated

    @property
    def status(self) -> Status:
        return self.summary.status

    @property
    def reason(self) -> str | None:
        return self.summary.reason

    def as_dict(self, regions: Mapping[str, GammaSummary] | None = None) -> dict[str, Any]:
        """For JSON; regions come from compute_region_pass_rates."""
        return {
            **self.summary.as_dict(),
            "regions": {name: summary.as_dict() for name, summary in (regions or {}).items()},
            "criteria": {**asdict(self.criteria), "interpolation_mm": self.criteria.step_mm},
            "problems": [problem.as_dict() for problem in self.problems],
        }


def gamma(
    reference: Volume,
    evaluation: Volume,
    dose_percent: float = 3.0,
    distance_mm: float = 3.0,
    lower_cutoff_percent: float = 10.0,
    local: bool = False,
    max_gamma: float = 2.0,
    interpolation_mm: float | None = None,
    device: str = "cpu",
) -> GammaResult:
    """Gamma of an evaluation dose against a reference dose, both Gy on grids (z, y, x) of one frame of reference.

    The grids may differ. device "cpu" searches with numba; "torch" and "cuda[:n]" take the same steps with torch, on
    the CPU or a GPU. Options are those of GammaCriteria. A reference point with no evaluation dose in reach fails,
    with max_gamma. Raises GeometryError for two frames, ConfigError for criteria without meaning. Doses that cannot be
    compared (not finite, no point at or above the cutoff) give status "not evaluable" and a reason.
    """
    criteria = GammaCriteria(dose_percent, distance_mm, lower_cutoff_percent, local, max_gamma, interpolation_mm)
    reference.grid.require_same_frame(evaluation.grid)
    values = np.full(reference.grid.shape, np.nan, np.float32)
    reason = _explain_not_evaluable(reference, evaluation)
    if reason is not None:
        return GammaResult(Volume(reference.grid, values), _summarize_nothing(reason), criteria)
    index = _choose_points(reference.array, criteria)
    if index.size:
        values.ravel()[index] = _search(reference, evaluation, index, criteria, device)
        summary = _summarize(values.ravel()[index], np.ones(index.size))
    else:
        summary = _summarize_nothing(f"no reference point reaches {lower_cutoff_percent:g} % of the maximum")
    problems = _report_negative_doses(reference, evaluation) + _report_points_outside(
        reference.grid, evaluation.grid, index
    )
    return GammaResult(Volume(reference.grid, values), summary, criteria, problems)


def compute_region_pass_rates(
    result: GammaResult, regions: Mapping[str, FloatArray | NDArray[np.bool_]]
) -> dict[str, GammaSummary]:
    """Pass rate of each region, from the whole map: the search behind it crossed the region's border.

    regions: masks or area fractions in [0, 1] on the reference grid (z, y, x); voxels count by their fraction.
    Raises GeometryError when a region has another shape.
    """
    summaries = {}
    for name, region in regions.items():
        if region.shape != result.map.array.shape:
            raise GeometryError(f"region of shape {region.shape} on a gamma map of {result.map.array.shape}")
        chosen = (region > 0) & np.isfinite(result.map.array)
        if result.status == "not evaluable":
            summaries[name] = _summarize_nothing(result.reason)
        elif not (region > 0).any():
            summaries[name] = _summarize_nothing("the region is empty on the dose grid")
        elif not chosen.any():
            summaries[name] = _summarize_nothing("the region lies wholly below the dose cutoff")
        else:
            summaries[name] = _summarize(result.map.array[chosen], np.asarray(region[chosen], np.float64))
    return summaries


def grow_region(fraction: FloatArray, grid: Grid, margin_mm: float = 5.0) -> NDArray[np.bool_]:
    """Voxels (z, y, x) whose centre lies in the structure or within margin_mm of its surface; none if it is empty."""
    from vmat_rt.geometry.distance import signed_distance_mm  # SimpleITK: only where a region is grown

    if not (fraction > 0).any():
        return np.zeros(fraction.shape, np.bool_)
    distance = signed_distance_mm(fraction, grid, clip_mm=margin_mm + 2 * max(grid.spacing_mm))
    return np.asarray(distance <= margin_mm)


def _explain_not_evaluable(reference: Volume, evaluation: Volume) -> str | None:
    for name, volume in (("reference", reference), ("evaluation", evaluation)):
        broken = int(np.count_nonzero(~np.isfinite(volume.array)))
        if broken:
            return f"{broken} voxels of the {name} dose are not finite numbers"
    if not reference.array.max() > 0:
        return "the reference dose is nowhere above 0"
    for axis, name in enumerate("zyx"):
        flat = evaluation.grid.shape[axis] == 1
        apart = np.abs(reference.grid.axis_mm(axis) - evaluation.grid.origin_mm[axis]).max()
        if flat and apart > 1e-3:
            return f"the evaluation dose is a single plane in {name}, and reference points lie off it"
    return None


def _report_negative_doses(reference: Volume, evaluation: Volume) -> tuple[Problem, ...]:
    problems = []
    for name, volume in (("reference", reference), ("evaluation", evaluation)):
        below = int(np.count_nonzero(volume.array < 0))
        if below:
            message = f"{below} voxels of the {name} dose are below 0 Gy, the lowest {volume.array.min():.3g} Gy."
            problems.append(warning("DOSE_NEGATIVE", message, "Gamma took them as they are; find out why."))
    return tuple(problems)


def _report_points_outside(reference: Grid, evaluation: Grid, index: NDArray[np.int64]) -> tuple[Problem, ...]:
    inside = [
        (centres >= evaluation.origin_mm[axis] - 1e-3) & (centres <= evaluation.last_mm[axis] + 1e-3)
        for axis, centres in enumerate(reference.axis_mm(axis) for axis in range(3))
    ]
    covered = inside[0][:, None, None] & inside[1][:, None] & inside[2]
    outside = index.size - int(np.count_nonzero(covered.ravel()[index]))
    if not outside:
        return ()
    message = f"{outside} of {index.size} points lie outside the evaluation dose grid; out of its reach they fail."
    return (warning("GAMMA_OUTSIDE", message, "Compare doses that cover the same volume."),)


def _choose_points(dose: FloatArray, criteria: GammaCriteria) -> NDArray[np.int64]:
    chosen = dose >= criteria.lower_cutoff_percent / 100 * float(dose.max())
    if criteria.local:
        chosen &= dose > 0  # a percentage of nothing is not a criterion
    return np.flatnonzero(chosen)


def _search(
    reference: Volume, evaluation: Volume, index: NDArray[np.int64], criteria: GammaCriteria, device: str
) -> FloatArray:
    highest = reference.array.max()
    reach_mm = criteria.distance_mm * criteria.max_gamma
    search = prepare(
        Volume(reference.grid, np.asarray(reference.array, np.float32) / highest),
        Volume(evaluation.grid, np.asarray(evaluation.array, np.float32) / highest),
        index,
        SearchScale(criteria.distance_mm, criteria.step_mm, reach_mm),
    )
    fraction = criteria.dose_percent / 100
    if device == "cpu":
        from vmat_rt.metrics.gamma.search import search_on_cpu

        return search_on_cpu(search, fraction, criteria.local, criteria.max_gamma)
    from vmat_rt.metrics.gamma.cuda import search_with_torch

    return search_with_torch(search, fraction, criteria.local, criteria.max_gamma, device)


def _summarize_nothing(reason: str | None) -> GammaSummary:
    return GammaSummary(None, None, 0, "not evaluable", reason)


def _summarize(values: FloatArray, weights: Doubles) -> GammaSummary:
    gammas = values.astype(np.float64)
    return GammaSummary(
        pass_rate_percent=float(100 * np.average(gammas <= PASS, weights=weights)),
        mean=float(np.average(gammas, weights=weights)),
        points_evaluated=int(gammas.size),
    )
