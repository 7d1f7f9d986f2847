"""From a curve and a metric to a number, or to the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from vmat_rt.metrics.dvh.curve import DoseVolumeCurve
from vmat_rt.metrics.grammar import Metric

NEAR_MAXIMUM_CC = 0.1
"""D_x cc up to this x stands for the maximum, so a structure smaller than x gets its Dmax, the cautious reading."""


@dataclass(frozen=True)
class Reading:
    """The value of a metric in its own unit, or None and the reason in words."""

    value: float | None
    reason: str = ""


def read_metric(
    metric: Metric, curve: DoseVolumeCurve, prescription_gy: float | None, isodose_cc: float | None
) -> Reading:
    """Read a metric off a curve.

    D_x cc of a structure smaller than x cc is Dmax up to 0.1 cc and unknown above. prescription_gy and isodose_cc,
    the volume that gets the prescription anywhere in the dose grid, may be None where the metric needs neither.
    """
    if metric.needs_prescription and not prescription_gy:
        return Reading(None, f"{metric} needs a prescribed dose")
    if metric.is_volume:
        return _read_volume(metric, curve, prescription_gy or 0.0)
    if metric.is_dose:
        reading = _read_dose(metric, curve)
        if metric.unit == "%" and reading.value is not None and prescription_gy:
            return replace(reading, value=100 * reading.value / prescription_gy)
        return reading
    if metric.kind == "homogeneity":
        return _compute_homogeneity(curve)
    if metric.kind == "conformity":
        return _compute_conformity(curve, prescription_gy or 0.0, isodose_cc)
    raise ValueError(f"there is no reading of {metric.kind!r}")


def _read_dose(metric: Metric, curve: DoseVolumeCurve) -> Reading:
    number = metric.number or 0.0
    match metric.kind:
        case "dose_mean":
            return Reading(curve.mean_gy)
        case "dose_min":
            return Reading(curve.lowest_gy)
        case "dose_max":
            return Reading(curve.highest_gy)
        case "geud":
            return Reading(curve.geud_gy(number))
        case "dose_at_cc":
            return _read_dose_at_cc(number, curve)
        case "dose_at_percent":
            return Reading(curve.dose_at_cc(number / 100 * curve.volume_cc))
        case "dose_median":
            return Reading(curve.dose_at_cc(0.5 * curve.volume_cc))
        case "volume_at_gy" | "volume_at_percent" | "homogeneity" | "conformity":
            raise ValueError(f"{metric} is no dose")
        case _:
            assert_never(metric.kind)


def _read_dose_at_cc(volume_cc: float, curve: DoseVolumeCurve) -> Reading:
    if volume_cc <= curve.volume_cc * (1 + 1e-6):
        return Reading(curve.dose_at_cc(volume_cc))
    if volume_cc <= NEAR_MAXIMUM_CC:
        return Reading(curve.highest_gy)
    return Reading(None, f"the structure has {curve.volume_cc:.3g} cc, less than {volume_cc:g} cc")


def _read_volume(metric: Metric, curve: DoseVolumeCurve, prescription_gy: float) -> Reading:
    number = metric.number or 0.0
    level = number if metric.kind == "volume_at_gy" else number / 100 * prescription_gy
    volume = float(curve.volume_at_gy(level))
    return Reading(volume if metric.unit == "cc" else 100 * (volume / curve.volume_cc))


def _compute_homogeneity(curve: DoseVolumeCurve) -> Reading:
    d2, d50, d98 = (curve.dose_at_cc(share * curve.volume_cc) for share in (0.02, 0.50, 0.98))
    if d50 == 0:
        return Reading(None, "half of the structure gets no dose")
    return Reading((d2 - d98) / d50)


def _compute_conformity(curve: DoseVolumeCurve, prescription_gy: float, isodose_cc: float | None) -> Reading:
    if isodose_cc is None:
        return Reading(None, "CI needs the volume of the prescription isodose: ask for CI when the DVH is computed")
    if isodose_cc == 0:
        return Reading(0.0)
    both = float(curve.volume_at_gy(prescription_gy))
    return Reading(both * both / (curve.volume_cc * isodose_cc))
