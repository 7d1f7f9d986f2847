"""What of a goal can be said of a structure, also where it leaves the dose grid.

"Met" needs all of the structure within the dose grid: what lies outside might get any dose. "Missed" is certain where
the part inside already decides: an upper limit that is exceeded though all the rest got nothing, a lower one that is
not reached though all the rest got any dose.
"""

from __future__ import annotations

from dataclasses import dataclass

from vmat_rt.metrics.dvh.compute import Dvh
from vmat_rt.metrics.dvh.coverage import WHOLE
from vmat_rt.metrics.dvh.evaluation import read_metric
from vmat_rt.metrics.grammar import Metric

_ANY_GY = 1e6


@dataclass(frozen=True)
class GoalReading:
    """The value of a goal's metric, or None and the reason. bound says that the true value is at least (an upper limit)
    or at most (a lower limit) the value, because a part of the structure lies outside the dose grid.
    """

    value: float | None
    reason: str = ""
    bound: bool = False


def read_goal(dvh: Dvh, metric: Metric, prescription_gy: float | None, *, upper: bool) -> GoalReading:
    """Read a metric for a goal with an upper limit or a lower one. Errors as in Dvh.read."""
    if dvh.covered_fraction >= WHOLE or dvh.cumulative is None:
        reading = dvh.read(metric, prescription_gy)
        return GoalReading(reading.value, reading.reason)
    outside_cc = (1 - dvh.covered_fraction) * dvh.volume_cc
    curve = dvh.cumulative.with_volume(outside_cc, 0.0 if upper else _ANY_GY)
    reading = read_metric(metric, curve, prescription_gy, None)
    missing = dvh.reason or dvh.shortfall
    return GoalReading(reading.value, reading.reason or missing, True)
