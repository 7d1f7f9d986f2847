"""DoseVolumeCurve: a cumulative dose-volume histogram without bins, and what can be read off it.

Each sample stands for a volume at a dose. Ordered by dose, the middle of each sample's volume is one point of the
curve, the lowest and the highest dose are its two ends, and between points it is linear. D and V are inverse by
construction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_LEVEL_TOLERANCE = 1e-6
"""A dose counts as reaching a level from this fraction below it: float32 doses of 70 Gy may read 69.99999."""
_KEPT = 4096
"""Points kept at equal steps of volume; what lies between two of them is under 0.025 % of the volume."""
_TAIL_RATIO = 1.01
"""Towards both ends points are kept at steps of 1 % of the volume that is left, so D0.03cc of a body stays exact."""


@dataclass(frozen=True)
class DoseVolumeCurve:
    """doses_gy ascending; at_least_cc the volume that gets at least each, from the whole volume down to 0.

    mean_gy is that of the samples, not of the points kept.
    """

    doses_gy: FloatArray
    at_least_cc: FloatArray
    mean_gy: float

    @property
    def volume_cc(self) -> float:
        """The volume that the curve describes, cm^3."""
        return float(self.at_least_cc[0])

    @property
    def lowest_gy(self) -> float:
        return float(self.doses_gy[0])

    @property
    def highest_gy(self) -> float:
        return float(self.doses_gy[-1])

    def dose_at_cc(self, volume_cc: float) -> float:
        """The lowest dose in the hottest volume_cc, Gy."""
        return float(self.doses_at_cc(np.array([volume_cc]))[0])

    def doses_at_cc(self, volumes_cc: FloatArray) -> FloatArray:
        """dose_at_cc of several volumes."""
        doses: FloatArray = np.interp(volumes_cc, self.at_least_cc[::-1], self.doses_gy[::-1])
        return doses

    def volume_at_gy(self, levels_gy: FloatArray | float) -> FloatArray:
        """Volume that gets at least each level, cm^3; the shape of levels_gy."""
        levels = np.asarray(levels_gy, np.float64) * (1 - _LEVEL_TOLERANCE)
        # Where many samples have one dose the curve drops vertically; the first of them has the whole drop's volume.
        upper = np.searchsorted(self.doses_gy, levels, side="left")
        i = np.clip(upper, 1, len(self.doses_gy) - 1)
        below, above = self.doses_gy[i - 1], self.doses_gy[i]
        gap = above - below
        t = np.clip(np.divide(levels - below, gap, out=np.ones_like(levels), where=gap > 0), 0, 1)
        inner = self.at_least_cc[i - 1] + t * (self.at_least_cc[i] - self.at_least_cc[i - 1])
        inner = np.where(upper == 0, self.volume_cc, inner)
        result: FloatArray = np.where(upper == len(self.doses_gy), 0.0, inner)
        return result

    def with_volume(self, volume_cc: float, dose_gy: float) -> DoseVolumeCurve:
        """The curve of the same structure and volume_cc more, all of it at dose_gy."""
        at = int(np.searchsorted(self.doses_gy, dose_gy, side="left"))
        near = slice(max(0, at - 1), at + 1)
        above = float(np.interp(dose_gy, self.doses_gy[near], self.at_least_cc[near]))
        whole = self.volume_cc + volume_cc
        return DoseVolumeCurve(
            np.concatenate([self.doses_gy[:at], [dose_gy, dose_gy], self.doses_gy[at:]]),
            np.concatenate([self.at_least_cc[:at] + volume_cc, [above + volume_cc, above], self.at_least_cc[at:]]),
            (self.mean_gy * self.volume_cc + dose_gy * volume_cc) / whole,
        )

    def geud_gy(self, exponent: float) -> float:
        """Generalised equivalent uniform dose, (sum v_i D_i^a)^(1/a) with volume fractions v_i, Gy."""
        if exponent == 1:
            return self.mean_gy
        if self.highest_gy == 0 or (exponent < 0 and self.lowest_gy == 0):
            return 0.0
        share = -np.diff(self.at_least_cc) / self.volume_cc
        scale = self.highest_gy if exponent > 0 else self.lowest_gy  # keeps the powers within (0, 1]
        power = (self.doses_gy / scale) ** exponent
        mean_power = float(np.sum(share * (power[:-1] + power[1:]) / 2))
        return float(scale * mean_power ** (1 / exponent))


def build_curve(
    doses_gy: NDArray[np.float32], weights: NDArray[np.float32], volume_cc: float, ends_gy: tuple[float, float]
) -> DoseVolumeCurve:
    """The curve of samples (n,) whose weights (n,) are proportional to volume and together make up volume_cc.

    ends_gy are the lowest and the highest dose of the structure: samples that overshoot them are brought back. n >= 1.
    """
    doses, weights = _sort_by_dose(np.clip(doses_gy, np.float32(ends_gy[0]), np.float32(ends_gy[1])), weights)
    below = np.cumsum(weights, dtype=np.float64)
    total = float(below[-1])
    mean = float(np.dot(doses.astype(np.float64), weights) / total)
    kept = _choose_points(below, total)
    # The middle of a sample's volume is where its dose is most nearly right.
    middle = below[kept] - weights[kept].astype(np.float64) / 2
    at_least = np.concatenate([[total], total - middle, [0.0]]) * (volume_cc / total)
    knots = np.concatenate([[ends_gy[0]], doses[kept].astype(np.float64), [ends_gy[1]]])
    # Rounding to float32 may put a sample a hair outside the ends.
    np.clip(knots, *ends_gy, out=knots)
    return DoseVolumeCurve(knots, at_least, min(max(mean, ends_gy[0]), ends_gy[1]))


def _sort_by_dose(
    doses: NDArray[np.float32], weights: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both arrays in ascending order of dose.

    Non-negative floats sort as their bit patterns do, so dose and weight travel as one 64-bit key: sorting values is
    several times faster than sorting indices and gathering twice.
    """
    # Adding 0 turns -0.0, whose pattern would come last, into 0.0.
    keys = (doses + np.float32(0)).view(np.uint32).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.ascontiguousarray(weights).view(np.uint32)
    keys.sort()
    high = (keys >> np.uint64(32)).astype(np.uint32).view(np.float32)
    low = keys.astype(np.uint32).view(np.float32)
    return high, low


def _choose_points(below: FloatArray, total: float) -> NDArray[np.intp]:
    """Indices of samples that carry the curve: both ends densely, equal steps of volume between."""
    n = len(below)
    if n <= 2 * _KEPT:
        return np.arange(n)
    even = np.linspace(0, total, _KEPT)
    steps = int(np.log(n) / np.log(_TAIL_RATIO)) + 1
    tail = total / n * _TAIL_RATIO ** np.arange(steps)
    wanted = np.concatenate([even, tail, total - tail])
    return np.unique(np.clip(np.searchsorted(below, wanted), 0, n - 1))
