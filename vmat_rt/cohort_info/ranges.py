"""A prostate cohort beside the ranges that clinical plans of 70 Gy in 28 fractions fall into.

The ranges are those that the simulated cohort has to meet (docs/results.md): of the cohort's median, not of each case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from vmat_rt.protocol import Protocol

_SITE: Final = "prostate"
_RANGES: Final = (
    (("Rectum",), "V50Gy", "%", 15.0, 40.0),
    (("Rectum",), "V60Gy", "%", 8.0, 25.0),
    (("Rectum",), "V70Gy", "%", 3.0, 15.0),
    (("Bladder",), "V50Gy", "%", 10.0, 45.0),
    (("Femur_Head_L", "Femur_Head_R"), "Dmax", "Gy", 30.0, 48.0),
)
"""Structures (of several the highest value counts), metric, unit, lowest and highest usual median."""


@dataclass(frozen=True)
class RangeRow:
    """One row of the table. p10 and p90 are of the cases; within: whether the median lies in the range."""

    quantity: str
    unit: str
    low: float
    high: float
    n: int
    median: float
    p10: float
    p90: float

    @property
    def within(self) -> bool:
        return self.low <= self.median <= self.high

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "within": self.within}


def range_metrics(name: str) -> tuple[str, ...]:
    """The metrics of one structure that the table needs."""
    return tuple(metric for names, metric, *_ in _RANGES if name in names)


def clinical_ranges(cases: Sequence[Mapping[str, Mapping[str, float]]], protocol: Protocol) -> tuple[RangeRow, ...]:
    """One row a quantity that at least one case has; none for another site than the prostate.

    cases: of each the metrics by structure, then by metric.
    """
    rows: list[RangeRow] = []
    if protocol.site != _SITE:
        return ()
    for names, metric, unit, low, high in _RANGES:
        found = [[case[n][metric] for n in names if metric in case.get(n, {})] for case in cases]
        values = [max(each) for each in found if each]
        if values:
            p10, median, p90 = np.percentile(values, (10, 50, 90)).tolist()
            title = f"{names[0].removesuffix('_L')} {metric}"
            rows.append(RangeRow(title, unit, low, high, len(values), median, p10, p90))
    return tuple(rows)
