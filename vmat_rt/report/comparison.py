"""The predicted dose against another one: what a physicist asks first, and whether the two disagree.

The action levels are for attention, not tolerances of treatment: a network whose dose leaves the geometric baseline by
more deserves a look at its input before its output is used for anything.
"""

from __future__ import annotations

import numpy as np

from vmat_rt.case import Case, Structure, Volume
from vmat_rt.metrics.dvh.compute import Dvh
from vmat_rt.report.colours import find_role, list_evaluated_structures
from vmat_rt.report.result import CaseResult, DoseResult
from vmat_rt.report.sampling import compute_fraction, sample_volume
from vmat_rt.report.schema import ComparisonEntry, StructureGap

TARGET_D95_PERCENT = 5.0
ORGAN_MEAN_PERCENT = 10.0
ACTION_LEVELS = (
    f"Flagged where a target's D95% differs by more than {TARGET_D95_PERCENT:g} % of its prescription, or the mean "
    f"dose of another structure by more than {ORGAN_MEAN_PERCENT:g} % of the highest prescription."
)


def compare(result: CaseResult, other: DoseResult) -> ComparisonEntry:
    """Predicted minus other dose, by structure and over the body."""
    gaps = [
        gap
        for structure in list_evaluated_structures(result.case, result.protocol)
        if (gap := _compute_gap(result, other, structure)) is not None
    ]
    mae, covered = compute_body_error_gy(result.case, result.predicted.dose, other.dose)
    return ComparisonEntry(
        against=other.label,
        mae_body_gy=mae,
        compared_body_percent=covered,
        structures=gaps,
        disagrees=any(gap.disagrees for gap in gaps),
        action_levels=ACTION_LEVELS,
    )


def compute_body_error_gy(case: Case, predicted: Volume, other: Volume) -> tuple[float | None, float]:
    """Mean absolute difference over the body's voxels (half inside or more) of the predicted dose's grid, Gy.

    The other dose is taken to that grid, linear between voxels. Also returns the part of those voxels, in percent, that
    the other dose covers; only they count. The mean is None where there are none.
    """
    there = sample_volume(other, predicted.grid)
    body = compute_fraction(case.body, predicted.grid) >= 0.5
    compared = body & np.isfinite(there)
    inside, count = int(np.count_nonzero(body)), int(np.count_nonzero(compared))
    if count == 0:
        return None, 0.0
    error = np.abs(predicted.array[compared] - there[compared], dtype=np.float64)
    return float(error.mean()), 100.0 * count / inside


def _compute_gap(result: CaseResult, other: DoseResult, structure: Structure) -> StructureGap | None:
    mine, theirs = result.predicted.dvhs.get(structure.roi_name), other.dvhs.get(structure.roi_name)
    if mine is None or theirs is None:
        return None
    role = find_role(structure.name, result.protocol)
    mean, near_max, d95 = (_subtract_metric(mine, theirs, metric) for metric in ("Dmean", "D0.03cc", "D95%"))
    d95 = d95 if role == "target" else None
    return StructureGap(
        roi_name=structure.roi_name,
        name=structure.name,
        role=role,
        mean_gap_gy=mean,
        near_max_gap_gy=near_max,
        d95_gap_gy=d95,
        disagrees=_is_disagreement(result, structure.name, mean, d95),
    )


def _subtract_metric(mine: Dvh, theirs: Dvh, metric: str) -> float | None:
    a, b = mine.value(metric), theirs.value(metric)
    return None if a is None or b is None else a - b


def _is_disagreement(result: CaseResult, name: str | None, mean_gy: float | None, d95_gy: float | None) -> bool:
    prescription = result.case.prescription
    if d95_gy is not None:
        own = prescription.dose_gy.get(name or "", prescription.highest_gy)
        return abs(d95_gy) > TARGET_D95_PERCENT / 100 * own
    return mean_gy is not None and abs(mean_gy) > ORGAN_MEAN_PERCENT / 100 * prescription.highest_gy
