"""What a simulated plan reaches, whether it is accepted, and how a cohort of them compares with clinical ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields

import numpy as np

from vmat_rt.case import Case, Structure, Volume
from vmat_rt.errors import ConfigError
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.metrics.dvh.compute import compute_dvhs
from vmat_rt.phantom.planning.goals import HIGH, LOW

LOW_SHELL = "PTV_5600 outside PTV_7000"


@dataclass(frozen=True)
class PlanMeasures:
    """DVH numbers of a plan on the case's own structures; None where a structure is not there.

    Doses in Gy in total, volumes of organs in percent, of bowel in cc. ptv_5600 is its part outside PTV_7000.
    conformity: volume that gets 95 % of the lowest prescription, over the volume of all targets together.
    """

    ptv_7000_v70_percent: float
    ptv_7000_d95_gy: float
    ptv_7000_d98_gy: float
    ptv_7000_d003cc_gy: float
    body_d003cc_gy: float
    conformity: float
    ptv_5600_d95_gy: float | None = None
    rectum_v50_percent: float | None = None
    rectum_v60_percent: float | None = None
    rectum_v70_percent: float | None = None
    bladder_v50_percent: float | None = None
    bladder_v70_percent: float | None = None
    femur_head_l_max_gy: float | None = None
    femur_head_r_max_gy: float | None = None
    bag_bowel_v45_cc: float | None = None
    penile_bulb_mean_gy: float | None = None

    @property
    def femur_head_max_gy(self) -> float | None:
        """Of both sides."""
        sides = [gy for gy in (self.femur_head_l_max_gy, self.femur_head_r_max_gy) if gy is not None]
        return max(sides, default=None)

    @classmethod
    def from_numbers(cls, numbers: Mapping[str, object], prefix: str = "plan_") -> PlanMeasures:
        """Back from the provenance of a case's record, whose keys carry the prefix.

        Raises ConfigError where a number is missing that every plan has.
        """
        known = {}
        for field in fields(cls):
            value = numbers.get(prefix + field.name)
            if isinstance(value, int | float):
                known[field.name] = float(value)
            elif field.default is MISSING:
                raise ConfigError(f"the record of a simulated plan has no number {prefix + field.name}")
        return cls(**known)


_METRICS: dict[str, tuple[str, str]] = {
    "ptv_7000_v70_percent": (HIGH, "V70Gy"),
    "ptv_7000_d95_gy": (HIGH, "D95%"),
    "ptv_7000_d98_gy": (HIGH, "D98%"),
    "ptv_7000_d003cc_gy": (HIGH, "D0.03cc"),
    "body_d003cc_gy": ("External", "D0.03cc"),
    "ptv_5600_d95_gy": (LOW_SHELL, "D95%"),
    "rectum_v50_percent": ("Rectum", "V50Gy"),
    "rectum_v60_percent": ("Rectum", "V60Gy"),
    "rectum_v70_percent": ("Rectum", "V70Gy"),
    "bladder_v50_percent": ("Bladder", "V50Gy"),
    "bladder_v70_percent": ("Bladder", "V70Gy"),
    "femur_head_l_max_gy": ("Femur_Head_L", "Dmax"),
    "femur_head_r_max_gy": ("Femur_Head_R", "Dmax"),
    "bag_bowel_v45_cc": ("Bag_Bowel", "V45Gy[cc]"),
    "penile_bulb_mean_gy": ("PenileBulb", "Dmean"),
}


def measure(case: Case, dose: Volume) -> PlanMeasures:
    """The numbers of a dose in Gy, on a grid that is fine enough to be read linearly, on its case's structures.

    Raises InputError for what is not a dose, ConfigError when the case or the dose lacks the high target.
    """
    numbers = {"conformity": compute_conformity(case, dose)}
    wanted = {metric for _, metric in _METRICS.values()}
    dvhs = compute_dvhs(_list_structures(case), dose, metrics=wanted)
    for field, (name, metric) in _METRICS.items():
        value = dvhs[name].value(metric) if name in dvhs else None
        if value is not None:
            numbers[field] = value
    return PlanMeasures.from_numbers(numbers, prefix="")


def _list_structures(case: Case) -> list[Structure]:
    """Those that are measured, each under its TG-263 name, and what PTV_5600 has outside PTV_7000."""
    wanted = {name for name, _ in _METRICS.values()}
    structures = [Structure(name, name, s.shape) for name, s in case.structures.items() if name in wanted]
    if LOW in case.structures:
        grid = case.ct.grid
        low, high = (structure_fraction(case.structures[name], grid) for name in (LOW, HIGH))
        structures.append(Structure(LOW_SHELL, None, Volume(grid, np.maximum(low - high, 0.0))))
    return structures


def compute_conformity(case: Case, dose: Volume) -> float:
    """See PlanMeasures."""
    grid, targets = case.ct.grid, case.targets()
    union = np.maximum.reduce([structure_fraction(case.structures[name], grid) for name in targets])
    treated_cc = np.count_nonzero(dose.array >= 0.95 * min(targets.values())) * dose.grid.voxel_cc
    return float(treated_cc / (union.sum(dtype=np.float64) * grid.voxel_cc))


@dataclass(frozen=True)
class Bound:
    """The limits of a measure: a lowest and a highest value."""

    title: str
    measure: str
    unit: str
    low: float | None
    high: float | None

    def missed(self, value: float) -> str:
        """A sentence when the value lies outside, else "". A value that is not a number lies outside."""
        if self.low is not None and not value >= self.low:
            return f"{self.title} is {value:.2f} {self.unit}, less than {self.low} {self.unit}."
        if self.high is not None and not value <= self.high:
            return f"{self.title} is {value:.2f} {self.unit}, more than {self.high} {self.unit}."
        return ""


PLAN_BOUNDS = (
    Bound("PTV_7000 V70", "ptv_7000_v70_percent", "%", 95.0, 98.0),
    Bound("PTV_7000 D95", "ptv_7000_d95_gy", "Gy", 66.5, None),
    Bound("PTV_7000 D0.03cc", "ptv_7000_d003cc_gy", "Gy", None, 77.0),
    Bound(f"{LOW_SHELL} D95", "ptv_5600_d95_gy", "Gy", 53.2, None),
    Bound("Hottest 0.03 cc anywhere", "body_d003cc_gy", "Gy", None, 77.0),
)
"""Of each plan."""

COHORT_BOUNDS = (
    Bound("Rectum V50", "rectum_v50_percent", "%", 15.0, 40.0),
    Bound("Rectum V60", "rectum_v60_percent", "%", 8.0, 25.0),
    Bound("Rectum V70", "rectum_v70_percent", "%", 3.0, 15.0),
    Bound("Bladder V50", "bladder_v50_percent", "%", 10.0, 45.0),
    Bound("Femoral head maximum", "femur_head_max_gy", "Gy", 30.0, 48.0),
)
"""Of the median over a cohort: what clinics report."""


def list_refusals(measures: PlanMeasures) -> tuple[str, ...]:
    """Why this plan is not accepted, one sentence per reason; empty when it is."""
    values = [(bound, getattr(measures, bound.measure)) for bound in PLAN_BOUNDS]
    reasons = [bound.missed(value) for bound, value in values if value is not None]
    return tuple(reason for reason in reasons if reason)


@dataclass(frozen=True)
class AcceptanceRow:
    """One bound against a cohort: median, lowest and highest value of `plans` plans. met: by the median where
    scope is "median", by every plan where it is "each plan".
    """

    bound: Bound
    scope: str
    plans: int
    median: float
    lowest: float
    highest: float
    met: bool


def tabulate_acceptance(measures: Sequence[PlanMeasures]) -> tuple[AcceptanceRow, ...]:
    """All bounds that any plan has a number for, those of each plan first."""
    scopes = [("each plan", PLAN_BOUNDS), ("median", COHORT_BOUNDS)]
    rows = [_make_row(bound, scope, measures) for scope, bounds in scopes for bound in bounds]
    return tuple(row for row in rows if row is not None)


def _make_row(bound: Bound, scope: str, measures: Sequence[PlanMeasures]) -> AcceptanceRow | None:
    numbers = [getattr(each, bound.measure) for each in measures]
    values = np.array([value for value in numbers if value is not None])
    if not len(values):
        return None
    median = float(np.median(values))
    decisive = values if scope == "each plan" else [median]
    met = not any(bound.missed(value) for value in decisive)
    return AcceptanceRow(bound, scope, len(values), median, float(values.min()), float(values.max()), met)
