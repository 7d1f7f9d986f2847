"""The fluence that serves the objectives best: bounded quasi-Newton steps from a flat field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_array

from vmat_rt.phantom.delivery.engine import DoseEngine, Influence
from vmat_rt.phantom.planning.objectives import Doubles, Objectives

MEMORY = 12
"""Past steps that the limited-memory BFGS method keeps."""

TURNING = 1.0
"""What a step from one angle to the next costs, relative to one within a field."""


@dataclass(frozen=True)
class FluenceTask:
    """Which fluence is wanted. smoothness: weight of the mean squared step between neighbours, in mean weights."""

    influence: Influence
    objectives: Objectives
    steps: csr_array
    smoothness: float


@dataclass(frozen=True)
class Fluence:
    """Weights of all bixels (n,), their cost and that of the start, and how often dose was computed."""

    weights: Doubles
    start_cost: float
    cost: float
    evaluations: int


def make_neighbour_steps(engine: DoseEngine, full_turn: bool, turning: float = TURNING) -> csr_array:
    """Matrix (pairs, bixels) of differences between neighbours.

    Neighbours touch along v or u in one beam's field, or stand at one place of successive angles (times sqrt(turning)):
    leaves do not jump while the gantry turns. full_turn: the last angle stands next to the first.
    """
    fields = _index_fields(engine)
    successive = np.concatenate([fields, fields[:1]]) if full_turn else fields
    pairs = [
        _pair_neighbours(fields[:, :-1], fields[:, 1:], 1.0),
        _pair_neighbours(fields[:, :, :-1], fields[:, :, 1:], 1.0),
        _pair_neighbours(successive[:-1], successive[1:], turning**0.5),
    ]
    low, high, factor = (np.concatenate(column) for column in zip(*pairs, strict=True))
    row = np.arange(len(low))
    entries = (np.concatenate([factor, -factor]), (np.concatenate([row, row]), np.concatenate([high, low])))
    return csr_array(entries, shape=(len(row), engine.bixels))


def _index_fields(engine: DoseEngine) -> NDArray[np.int64]:
    """Index of the bixel at each place (beams, v, u) of one lattice for all beams, -1 where none is open."""
    beams = range(len(engine.angles_deg))
    places = [np.rint(engine.bixel_centres_mm(beam) / engine.settings.bixel_mm).astype(np.int64) for beam in beams]
    first = np.concatenate(places).min(axis=0)
    rows, columns = np.concatenate(places).max(axis=0) - first + 1
    fields = np.full((len(places), rows, columns), -1, np.int64)
    for beam, position in enumerate(places):
        row, column = (position - first).T
        fields[beam, row, column] = engine.bixel_map(beam)[2]
    return fields


def _pair_neighbours(
    low: NDArray[np.int64], high: NDArray[np.int64], factor: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], Doubles]:
    both = (low >= 0) & (high >= 0)
    return low[both], high[both], np.full(np.count_nonzero(both), factor)


def compute_cost_and_gradient(task: FluenceTask, weights: Doubles, mean_weight: float) -> tuple[float, Doubles]:
    """Cost of a fluence and its derivative by each weight; mean_weight makes smoothness a number without unit."""
    cost, slope = task.objectives.cost_and_gradient(task.influence.forward(weights))
    gradient = task.influence.adjoint(slope).astype(np.float64)
    factor = task.smoothness / (len(weights) * mean_weight**2)
    steps = task.steps @ weights
    return cost + factor * float(steps @ steps), gradient + 2 * factor * (task.steps.T @ steps)


def optimise(task: FluenceTask, start: NDArray[np.floating], iterations: int) -> Fluence:
    """L-BFGS-B (Byrd, Lu, Nocedal and Zhu, SIAM J. Sci. Comput. 16(5), 1190-1208, 1995) with weights of 0 or more.

    start must be positive somewhere: its mean is the unit of the search.
    """
    unit = float(np.mean(start))
    costs: list[float] = []

    def scale_cost(x: Doubles) -> tuple[float, Doubles]:
        cost, gradient = compute_cost_and_gradient(task, unit * x, unit)
        costs.append(cost)
        return cost, unit * gradient

    result = minimize(
        scale_cost,
        np.asarray(start, np.float64) / unit,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * len(start),
        options={"maxiter": iterations, "maxcor": MEMORY, "ftol": 1e-6, "gtol": 1e-9},
    )
    return Fluence(np.maximum(unit * result.x, 0.0), costs[0], float(result.fun), len(costs))
