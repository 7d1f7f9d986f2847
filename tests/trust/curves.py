"""Curves and calibrations of known errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmat_rt.metrics.dvh.compute import Dvh
from vmat_rt.metrics.dvh.curve import DoseVolumeCurve
from vmat_rt.trust.calibration import Calibration, CalibrationCase, ShortCurve, StructureCurves

FloatArray = NDArray[np.float64]


def curve_of(doses_gy: FloatArray, volume_cc: float = 50.0) -> DoseVolumeCurve:
    """Equal volumes at these doses, coldest first."""
    at_least = np.linspace(volume_cc, 0, len(doses_gy))
    return DoseVolumeCurve(np.asarray(doses_gy, np.float64), at_least, float(np.mean(doses_gy)))


def shifted(dose_gy: float) -> DoseVolumeCurve:
    """From 10 Gy below to 10 Gy above a dose, evenly."""
    return curve_of(np.linspace(dose_gy - 10, dose_gy + 10, 201))


def dvh_of(curve: DoseVolumeCurve, name: str = "Rectum") -> Dvh:
    return Dvh(name, name, curve.volume_cc, 1.0, curve, None)


def calibration_of(
    errors_gy: FloatArray, spreads_gy: FloatArray | None = None, highest_gy: float = 70.0
) -> Calibration:
    """One structure, predicted at 40 Gy, planned at 40 Gy and the error, with a dose beside at 40 Gy and the spread."""
    spreads = np.ones(len(errors_gy)) if spreads_gy is None else spreads_gy
    cases = tuple(
        CalibrationCase(
            case=f"case-{index}",
            highest_gy=highest_gy,
            structures={
                "Rectum": StructureCurves(
                    volume_cc=50,
                    predicted=ShortCurve.of(shifted(40)),
                    beside=ShortCurve.of(shifted(40 + spread)),
                    reference=ShortCurve.of(shifted(40 + error)),
                )
            },
        )
        for index, (error, spread) in enumerate(zip(errors_gy, spreads, strict=True))
    )
    return Calibration(
        model="trees",
        model_version="1.0.0",
        model_sha256="0" * 64,
        data="made for a test",
        simulated=True,
        date="2026-11-28",
        command="none",
        cases=cases,
    )
