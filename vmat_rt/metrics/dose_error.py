"""How far one dose lies from another: voxel errors by region, D95 gaps of targets, overlap of isodoses.

Differences are evaluation minus reference, Gy. Voxels count by their area fraction in a region, so that a structure of
a few voxels is weighed as it was drawn. A region without voxels has no error (None), not an error of 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import FloatArray, Structure, Volume
from vmat_rt.errors import GeometryError, InputError, Problem, raise_errors
from vmat_rt.metrics.dvh.compute import check_dose, compute_dvhs

Region = FloatArray | NDArray[np.bool_]

LEVELS_PERCENT = (10, 50, 90)
"""Parts of the body above these percentages of the highest reference dose are reported by themselves."""


@dataclass(frozen=True)
class DoseError:
    """Mean absolute, root mean square and mean signed difference over a region of volume_cc, Gy."""

    mae_gy: float
    rmse_gy: float
    signed_gy: float
    volume_cc: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def compute_dose_error(reference: Volume, evaluation: Volume, region: Region | None = None) -> DoseError | None:
    """Error of `evaluation` against `reference`, both Gy on one grid, over a region of fractions in [0, 1] (z, y, x).

    Without a region, over the whole grid; None for an empty one. Raises GeometryError when grids or shapes differ,
    InputError (DOSE_NAN, DOSE_NEGATIVE) for what is not a dose.
    """
    difference = _subtract(reference, evaluation)
    return _average_over(difference, np.ones(difference.shape, np.bool_) if region is None else region, reference)


def compute_dose_errors(
    reference: Volume,
    evaluation: Volume,
    body: Region,
    structures: Mapping[str, Region],
    targets: Sequence[str] = (),
) -> dict[str, DoseError | None]:
    """Errors over "body", the parts of it "above 10 %", "above 50 %" and "above 90 %" of the highest reference dose in
    the body, "targets" (their union) and each structure by its name.

    body and structures: masks or fractions in [0, 1] (z, y, x). targets: names of structures.
    Errors as in compute_dose_error.
    """
    difference = _subtract(reference, evaluation)
    _require_shape(body, reference)
    inside = np.where(body > 0, reference.array, 0)
    highest = float(inside.max())
    regions: dict[str, Region] = {"body": body}
    for level in LEVELS_PERCENT:
        above = (inside >= level / 100 * highest) & (highest > 0)
        regions[f"above {level} %"] = np.where(above, body, 0).astype(np.float32)
    wanted = [np.asarray(structures[name], np.float32) for name in targets if name in structures]
    if wanted:
        regions["targets"] = np.maximum.reduce(wanted)
    return {name: _average_over(difference, region, reference) for name, region in {**regions, **structures}.items()}


def compute_d95_gaps_gy(
    targets: Mapping[str, Structure], reference: Volume, evaluation: Volume
) -> dict[str, float | None]:
    """D95% in the evaluation dose minus D95% in the reference dose for each target; None where either has none.

    The doses may lie on different grids of one frame. Errors as in vmat_rt.metrics.dvh.compute.compute_dvhs.
    """
    gaps: dict[str, float | None] = {}
    for name, target in targets.items():
        values = [
            next(iter(compute_dvhs([target], dose, metrics=("D95%",)).values())).value("D95%")
            for dose in (reference, evaluation)
        ]
        gaps[name] = None if values[0] is None or values[1] is None else values[1] - values[0]
    return gaps


def require_some_dose(dose: Volume) -> None:
    """Raises InputError (REFERENCE_DOSE_EMPTY) for a dose that is 0 everywhere: no plan gives it."""
    if not dose.array.any():
        message = "The case's reference dose is 0 everywhere on the cohort's grid."
        raise InputError(Problem("REFERENCE_DOSE_EMPTY", message, "Look at its RTDOSE, and add the case again."))


def compute_isodose_dice(
    reference: Volume, evaluation: Volume, levels_gy: Sequence[float]
) -> dict[float, float | None]:
    """Dice coefficient 2 |A and B| / (|A| + |B|) of the voxels at or above each level; None where no dose reaches it.

    Both doses Gy on one grid. Errors as in compute_dose_error.
    """
    _subtract(reference, evaluation)
    dice: dict[float, float | None] = {}
    for level in levels_gy:
        one, other = reference.array >= level, evaluation.array >= level
        total = int(np.count_nonzero(one)) + int(np.count_nonzero(other))
        dice[level] = 2 * int(np.count_nonzero(one & other)) / total if total else None
    return dice


def _subtract(reference: Volume, evaluation: Volume) -> NDArray[np.float64]:
    reference.grid.require_same(evaluation.grid)
    raise_errors([*check_dose(reference), *check_dose(evaluation)])
    return evaluation.array.astype(np.float64) - reference.array


def _require_shape(region: Region, reference: Volume) -> None:
    if region.shape != reference.grid.shape:
        raise GeometryError(f"region of shape {region.shape} on doses of {reference.grid.shape}")


def _average_over(difference: NDArray[np.float64], region: Region, reference: Volume) -> DoseError | None:
    _require_shape(region, reference)
    chosen = region > 0
    weights = region[chosen].astype(np.float64)
    total = float(weights.sum())
    if not total > 0:
        return None
    gaps = difference[chosen]
    return DoseError(
        mae_gy=float(weights @ np.abs(gaps)) / total,
        rmse_gy=float(np.sqrt(weights @ gaps**2 / total)),
        signed_gy=float(weights @ gaps) / total,
        volume_cc=total * reference.grid.voxel_cc,
    )
