"""What a plan is asked for, as quadratic penalties on dose at points, and their derivative.

    cost = sum of weight (dose - limit)^2 over penalties and their points where dose lies on the wrong side of the limit

Every term is convex in dose, so in fluence too: the optimiser has one valley, wherever it starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vmat_rt.errors import GeometryError

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Penalty:
    """One wish: dose on this side of limit_gy (k,) costs weight (k,) per Gy^2, at the points index (k,)."""

    name: str
    side: Literal["above", "below"]
    index: NDArray[np.int64]
    limit_gy: Doubles
    weight: Doubles

    def __post_init__(self) -> None:
        if not len(self.index) == len(self.limit_gy) == len(self.weight):
            raise GeometryError(f"the penalty {self.name} has lists of different lengths")


def make_penalty(
    name: str,
    side: Literal["above", "below"],
    members: NDArray[np.floating],
    limit_gy: float | NDArray[np.floating],
    priority: float,
) -> Penalty:
    """A wish for the points where `members` (n,) is above 0: the volume (any unit) by which each of them counts.

    limit_gy is one dose or one for each of the n points. The cost is priority times the volume's mean of the squared
    excess, so that small and large structures of one priority weigh the same.
    """
    index = np.flatnonzero(members > 0)
    share = np.asarray(members, np.float64)[index]
    limit = np.broadcast_to(np.asarray(limit_gy, np.float64), members.shape)[index]
    return Penalty(name, side, index, limit, priority * share / max(float(share.sum()), 1e-12))


@dataclass(frozen=True)
class Objectives:
    """All wishes for one plan."""

    penalties: tuple[Penalty, ...]

    def cost_and_gradient(self, dose_gy: NDArray[np.floating]) -> tuple[float, Doubles]:
        """Cost, and its derivative by each point's dose (n,)."""
        cost, gradient = 0.0, np.zeros(len(dose_gy))
        for wish in self.penalties:
            excess = dose_gy[wish.index] - wish.limit_gy
            excess = np.maximum(excess, 0.0) if wish.side == "above" else np.minimum(excess, 0.0)
            slope = wish.weight * excess
            cost += float(slope @ excess)
            gradient[wish.index] += 2.0 * slope
        return cost, gradient

    def costs(self, dose_gy: NDArray[np.floating]) -> dict[str, float]:
        """Cost by name; wishes of one name are added up."""
        by_name: dict[str, float] = {}
        for wish in self.penalties:
            by_name[wish.name] = by_name.get(wish.name, 0.0) + Objectives((wish,)).cost_and_gradient(dose_gy)[0]
        return by_name
