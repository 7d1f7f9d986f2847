"""Conformal intervals: of a value that a model predicts, from how wrong it was on cases that it had not seen.

If this case is like the calibration cases, an interval of level L holds the true value with probability L at least and
L + 1 / (n + 1) at most, whatever the distribution of the errors (Vovk, Gammerman and Shafer, Algorithmic Learning in a
Random World, 2005; Lei et al., J. Am. Stat. Assoc. 113, 1094, 2018). Errors are measured in units of a spread that is
known before the truth is, so that the interval is wide where the model is unsure (Papadopoulos et al., 2008). The
centre is the median error; for each calibration case it is that of the others, as for the new case it is that of all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

LEVEL = 0.9
"""The level of the bands in reports: nine of ten cases like these."""


@dataclass(frozen=True)
class Interval:
    """From low to high, both in the unit of the value, and the number of cases behind it."""

    low: float
    high: float
    cases: int

    @property
    def width(self) -> float:
        return self.high - self.low


def count_needed(level: float) -> int:
    """The fewest calibration cases that an interval of this level can be had from: 9 for 0.9, 19 for 0.95."""
    return math.ceil(level / (1 - level) - 1e-9)


def find_interval(
    value: float, spread: float, errors: FloatArray, spreads: FloatArray, level: float
) -> Interval | None:
    """The interval of the truth for one prediction; None where there are too few calibration cases for the level.

    errors: truth minus prediction of each calibration case (n,); spreads: how unsure the model was of each (n,), > 0,
    measured as `spread` is for this case.
    """
    count = len(errors)
    rank = math.ceil((count + 1) * level - 1e-9)
    if rank > count or count < 2:
        return None
    scores = np.abs(errors - _find_medians_of_others(errors)) / spreads
    reach = float(np.partition(scores, rank - 1)[rank - 1]) * spread
    centre = value + float(np.median(errors))
    return Interval(centre - reach, centre + reach, count)


def _find_medians_of_others(errors: FloatArray) -> FloatArray:
    """For each case the median error of all others (n,); n >= 2."""
    return np.array([np.median(np.delete(errors, i)) for i in range(len(errors))])
