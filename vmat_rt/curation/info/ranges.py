"""A prostate cohort beside the ranges that clinical plans of 70 Gy in 28 fractions fall into.

The ranges are those that a simulated cohort has to meet (vmat_rt.phantom.planning.acceptance): of the
median, not of each case. Here the cohort's own doses are read, so a clinic's cohort is compared as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from vmat_rt.phantom.planning.acceptance import COHORT_BOUNDS
from vmat_rt.protocol import Protocol

_SITE: Final = "prostate"
_READ: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "rectum_v50_percent": (("Rectum",), "V50Gy"),
    "rectum_v60_percent": (("Rectum",), "V60Gy"),
    "rectum_v70_percent": (("Rectum",), "V70Gy"),
    "bladder_v50_percent": (("Bladder",), "V50Gy"),
    "femur_head_max_gy": (("Femur_Head_L", "Femur_Head_R"), "Dmax"),
}
"""Of each measure that has a range: structures (of several the highest value counts) and metric."""


@dataclass(frozen=True)
class RangeRow:
    """One row of the table. p10 and p90 are of the cases; within: whether the median lies in the range."""

    quantity: str
    unit: str
    low: float | None
    high: float | None
    n: int
    median: float
    p10: float
    p90: float

    @property
    def within(self) -> bool:
        return (self.low is None or self.low <= self.median) and (self.high is None or self.median <= self.high)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "within": self.within}


def choose_range_metrics(name: str) -> tuple[str, ...]:
    """The metrics of one structure that the table needs."""
    return tuple(metric for names, metric in _READ.values() if name in names)


def tabulate_ranges(cases: Sequence[Mapping[str, Mapping[str, float]]], protocol: Protocol) -> tuple[RangeRow, ...]:
    """Make one row per quantity that at least one case has; none for another site than the prostate.

    cases: of each the metrics by structure, then by metric.
    """
    rows: list[RangeRow] = []
    if protocol.site != _SITE:
        return ()
    for bound in COHORT_BOUNDS:
        names, metric = _READ[bound.measure]
        found = [[case[n][metric] for n in names if metric in case.get(n, {})] for case in cases]
        values = [max(each) for each in found if each]
        if values:
            p10, median, p90 = np.percentile(values, (10, 50, 90)).tolist()
            rows.append(RangeRow(bound.title, bound.unit, bound.low, bound.high, len(values), median, p10, p90))
    return tuple(rows)
