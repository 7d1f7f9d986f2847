"""The places of a case that are worth a look: the hottest voxel, the worst goal, the largest difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmat_rt.grid import Grid, Triple
from vmat_rt.report.margins import compute_margin, list_missed, name_judged
from vmat_rt.report.result import CaseResult
from vmat_rt.report.sampling import compute_fraction, sample_volume
from vmat_rt.report.schema import GoalEntry, ReportDocument


@dataclass(frozen=True)
class Place:
    """A point (z, y, x) in LPS mm, the button that leads there, and what is to be seen.

    against: the label of the dose that the predicted one is compared with there, or "".
    """

    kind: str
    title: str
    text: str
    at_mm: Triple
    against: str = ""

    def describe(self) -> dict[str, Any]:
        """For the page's JSON."""
        return {"kind": self.kind, "title": self.title, "text": self.text, "at": self.at_mm, "against": self.against}


def find_places(result: CaseResult, document: ReportDocument, titles: Mapping[str, str]) -> tuple[Place, ...]:
    """Those that exist, found in the full doses; titles are what the page calls each dose, by label."""
    dose = result.predicted.dose
    hottest = _locate(dose.grid, int(np.argmax(dose.array)))
    places = [Place("hottest", "Hottest voxel", f"{float(dose.array.max()):.2f} Gy predicted", hottest)]
    places += [
        place for place in (_find_worst_goal(result, document), _find_largest_difference(result, titles)) if place
    ]
    return tuple(places)


def _locate(grid: Grid, flat: int) -> Triple:
    z, y, x = (int(index) for index in np.unravel_index(flat, grid.shape))
    return (float(grid.axis_mm(0)[z]), float(grid.axis_mm(1)[y]), float(grid.axis_mm(2)[x]))


def _find_worst_goal(result: CaseResult, document: ReportDocument) -> Place | None:
    """Where the goal that is missed by most is violated: the coldest voxel for a lower limit, else the hottest one."""
    places = (_find_extreme(result, goal) for goal in list_missed(document.predicted.goals))
    return next((place for place in places if place is not None), None)


def _find_extreme(result: CaseResult, goal: GoalEntry) -> Place | None:
    judged, structure = name_judged(goal), result.case.structures.get(goal.structure)
    if judged != goal.structure and goal.structure in result.predicted.shells:
        structure = result.predicted.shells[goal.structure].shell.structure
    if structure is None or structure.shape is None:
        return None
    dose = result.predicted.dose
    inside: NDArray[np.bool_] = compute_fraction(structure, dose.grid) >= 0.5
    if not inside.any():
        return None
    cold = goal.comparison in {">", ">="}
    values = np.where(inside, dose.array, np.inf if cold else -np.inf)
    at = int(np.argmin(values) if cold else np.argmax(values))
    margin = compute_margin(goal)
    text = f"{judged} {goal.metric_evaluated}{f': {margin.text}' if margin else ''}"
    return Place("goal", "Worst goal", text, _locate(dose.grid, at))


def _find_largest_difference(result: CaseResult, titles: Mapping[str, str]) -> Place | None:
    """In the body, against the reference where there is one, else against the baseline."""
    other = result.other("clinical") or result.other("geometric baseline")
    if other is None:
        return None
    dose = result.predicted.dose
    gap = dose.array - sample_volume(other.dose, dose.grid)
    gap[compute_fraction(result.case.body, dose.grid) < 0.5] = np.nan
    if not np.isfinite(gap).any():
        return None
    at = int(np.nanargmax(np.abs(gap)))
    words = titles[other.label]
    text = f"{float(gap.flat[at]):+.2f} Gy against {words[:1].lower()}{words[1:]}".replace("-", "−")
    return Place("difference", "Largest difference", text, _locate(dose.grid, at), other.label)
