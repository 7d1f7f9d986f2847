"""The two scores of the OpenKBP challenge, with its exact semantics.

Babier et al., Med. Phys. 48(9), 5549-5561, 2021, doi 10.1002/mp.14845. What is easy to miss:

- the dose score sums the absolute error over the whole grid, also where no dose can be, and divides by the number of
  voxels where dose can be;
- the DVH score pools all entries (patient, structure, metric) before it averages;
- D_0.1_cc is the dose of the hottest max(1, round(100 mm^3 / voxel volume)) voxels, by a percentile of whole voxels.

They are kept to compare with published tables. For anything else use vmat_rt.metrics.dvh.compute, which weighs
partial voxels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmat_rt.errors import GeometryError, InputError, Problem

Mask = NDArray[np.bool_]
Dose = NDArray[np.floating]
Entry = tuple[str, str]
"""(metric, structure)."""

TARGET_PERCENTILES = {"D_99": 1.0, "D_95": 5.0, "D_1": 99.0}


@dataclass(frozen=True)
class PatientScore:
    """Dose error of one patient, Gy, and the absolute difference of each of its DVH metrics, Gy."""

    dose_error_gy: float
    dvh_errors_gy: Mapping[Entry, float]


@dataclass(frozen=True)
class OpenKbpScore:
    """Both scores of a cohort, Gy; lower is better. dvh_score_gy is None when no patient has a structure."""

    dose_score_gy: float
    dvh_score_gy: float | None
    patients: int


@dataclass(frozen=True)
class OpenKbpRegions:
    """What a patient is scored in: possible_dose and masks of one shape, any axis order, and the voxel's volume.

    oars and targets are keyed by name; structures without a voxel are left out of the score.
    """

    possible_dose: Mask
    oars: Mapping[str, Mask]
    targets: Mapping[str, Mask]
    voxel_mm3: float


def compute_dvh_metrics_gy(dose: Dose, regions: OpenKbpRegions) -> dict[Entry, float]:
    """OpenKBP's metrics of one dose: D_0.1_cc and mean of each OAR; D_99, D_95 and D_1 of each target."""
    hottest = max(1.0, float(np.round(100.0 / regions.voxel_mm3)))
    metrics: dict[Entry, float] = {}
    for name, mask in regions.oars.items():
        doses = dose[mask].astype(np.float64)
        if doses.size:
            # A structure smaller than the hottest 0.1 cc has its minimum there, not a percentile below 0.
            percentile = max(0.0, 100.0 - 100.0 * hottest / doses.size)
            metrics["D_0.1_cc", name] = float(np.percentile(doses, percentile))
            metrics["mean", name] = float(doses.mean())
    for name, mask in regions.targets.items():
        doses = dose[mask].astype(np.float64)
        if doses.size:
            values = np.percentile(doses, list(TARGET_PERCENTILES.values()))
            metrics.update({(m, name): float(v) for m, v in zip(TARGET_PERCENTILES, values, strict=True)})
    return metrics


def score_patient(prediction: Dose, reference: Dose, regions: OpenKbpRegions) -> PatientScore:
    """Score one predicted dose against the delivered one, both Gy and of the masks' shape.

    Raises GeometryError when shapes differ or no voxel can have dose, InputError (DOSE_NAN) when
    a dose is not a number.
    """
    if prediction.shape != reference.shape or regions.possible_dose.shape != reference.shape:
        raise GeometryError(f"prediction {prediction.shape}, reference {reference.shape} and masks must have one shape")
    for name, dose in (("predicted", prediction), ("reference", reference)):
        broken = int(np.count_nonzero(~np.isfinite(dose)))
        if broken:
            message = f"The {name} dose is not a number in {broken} of {dose.size} voxels."
            raise InputError(Problem("DOSE_NAN", message, "Export or compute the dose again."))
    possible = int(np.count_nonzero(regions.possible_dose))
    if not possible:
        raise GeometryError("the mask of possible dose is empty")
    error = float(np.abs(prediction.astype(np.float64) - reference.astype(np.float64)).sum()) / possible
    predicted, wanted = compute_dvh_metrics_gy(prediction, regions), compute_dvh_metrics_gy(reference, regions)
    return PatientScore(error, {entry: abs(predicted[entry] - value) for entry, value in wanted.items()})


def combine_scores(patients: Iterable[PatientScore]) -> OpenKbpScore:
    """The cohort's two scores. Raises ValueError without a patient."""
    scores = list(patients)
    if not scores:
        raise ValueError("no patient was scored")
    entries = [value for score in scores for value in score.dvh_errors_gy.values()]
    return OpenKbpScore(
        dose_score_gy=float(np.mean([score.dose_error_gy for score in scores])),
        dvh_score_gy=float(np.mean(entries)) if entries else None,
        patients=len(scores),
    )
