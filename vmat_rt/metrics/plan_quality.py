"""How well a dose fits its targets (conformity, gradient, homogeneity), and what it means for organs (gEUD, EQD2).

With TV the target's volume, PIV the volume anywhere in the dose grid that gets the target's prescription, TV_PIV their
overlap and V50 the volume that gets half of it:

    Paddick CI = TV_PIV^2 / (TV PIV)     Paddick, J. Neurosurg. 93 (suppl 3), 219-222, 2000
    RTOG CI    = PIV / TV                Shaw et al., Int. J. Radiat. Oncol. Biol. Phys. 27, 1231-1239, 1993
    GI         = V50 / PIV               Paddick and Lippitz, J. Neurosurg. 105 (suppl), 194-201, 2006
    R50%       = V50 / TV                RTOG protocol 0813
    HI         = (D2% - D98%) / D50%     ICRU report 83, 2010

With a boost inside of a target of lower dose, PIV holds both, so the lower target's CI says little. The gEUD is
Niemierko's, (sum v_i D_i^a)^(1/a) (Med. Phys. 26, 1100, 1999), with a = 1/n of Burman et al., Int. J. Radiat. Oncol.
Biol. Phys. 21, 123-135, 1991, who fitted n to the estimates of Emami et al. EQD2 takes a dose as if each voxel got it
in equal parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from vmat_rt.case import Volume
from vmat_rt.metrics.dvh.compute import Dvh, compute_isodose_volume_cc
from vmat_rt.metrics.dvh.coverage import WHOLE
from vmat_rt.metrics.fractionation import eqd2_gy

VOLUME_EXPONENTS: Final[Mapping[str, float]] = {
    "Bladder": 0.5,
    "Brain": 0.25,
    "Brainstem": 0.16,
    "Esophagus": 0.06,
    "Femur_Head_L": 0.25,
    "Femur_Head_R": 0.25,
    "Larynx": 0.08,
    "Lung_L": 0.87,
    "Lung_R": 0.87,
    "Bone_Mandible": 0.07,
    "Mandible": 0.07,
    "Parotid_L": 0.7,
    "Parotid_R": 0.7,
    "Rectum": 0.12,
    "SpinalCord": 0.05,
}
"""n of Burman et al. 1991 by TG-263 name; for the mandible that of the joint, for the larynx that of oedema."""
EQD2_METRICS: Final = ("Dmean", "D0.03cc")
_MOST_SAMPLES: Final = 300_000
_FINEST_MM: Final = 0.5


@dataclass(frozen=True)
class TargetQuality:
    """Indices of one target, None where one cannot be computed; reason says why."""

    paddick_ci: float | None
    rtog_ci: float | None
    gradient_index: float | None
    r50: float | None
    homogeneity: float | None
    reason: str = ""


@dataclass(frozen=True)
class OrganEffect:
    """The gEUD in Gy with its exponent; EQD2 in Gy by metric with its alpha/beta. None where there is none to give."""

    geud_gy: float | None
    exponent: float | None
    eqd2_gy: Mapping[str, float | None]
    alpha_beta_gy: float | None


def compute_target_quality(dvh: Dvh, dose: Volume, prescription_gy: float) -> TargetQuality:
    """Indices of a target in a dose (Gy) against its own prescription, Gy; see the module for their formulas."""
    homogeneity = dvh.value("HI")
    if dvh.cumulative is None or dvh.covered_fraction < WHOLE:
        reason = dvh.reason or dvh.shortfall or "the target leaves the dose grid"
        return TargetQuality(None, None, None, None, homogeneity, reason)
    if not prescription_gy > 0:
        return TargetQuality(None, None, None, None, homogeneity, "no dose is prescribed to it")
    if _reaches_edge(dose, prescription_gy):
        return TargetQuality(None, None, None, None, homogeneity, "the prescribed isodose leaves the dose grid")
    target, isodose = dvh.volume_cc, measure_isodose_cc(dose, prescription_gy)
    inside = float(dvh.cumulative.volume_at_gy(prescription_gy))
    paddick = inside * inside / (target * isodose) if isodose > 0 else 0.0
    if _reaches_edge(dose, prescription_gy / 2):
        reason = "the isodose of half the prescription leaves the dose grid"
        return TargetQuality(paddick, isodose / target, None, None, homogeneity, reason)
    half = measure_isodose_cc(dose, prescription_gy / 2)
    gradient = half / isodose if isodose > 0 else None
    reason = "" if gradient is not None else "nothing gets the prescribed dose"
    return TargetQuality(paddick, isodose / target, gradient, half / target, homogeneity, reason)


def measure_isodose_cc(dose: Volume, level_gy: float) -> float:
    """Volume of the dose grid that gets at least level_gy, cm^3, from at most about 300,000 samples."""
    rough_cc = float(np.count_nonzero(dose.array >= level_gy)) * dose.grid.voxel_cc
    step_mm = max(_FINEST_MM, (1000 * rough_cc / _MOST_SAMPLES) ** (1 / 3) / 2)
    return compute_isodose_volume_cc(dose, level_gy, step_mm)


def _reaches_edge(dose: Volume, level_gy: float) -> bool:
    """Whether an outer voxel of the grid gets the level, so that the isodose may go on beyond."""
    array = dose.array
    return any(bool((np.take(array, (0, -1), axis=axis) >= level_gy).any()) for axis in range(3))


def compute_organ_effect(dvh: Dvh, fractions: int, alpha_beta_gy: float | None) -> OrganEffect:
    """Compute gEUD where Burman's table has the organ, and EQD2 of EQD2_METRICS where alpha_beta_gy is given."""
    n = VOLUME_EXPONENTS.get(dvh.name or "")
    exponent = 1 / n if n is not None else None
    geud = dvh.value(f"gEUD[a={exponent:.4g}]") if exponent is not None else None
    doses = {metric: dvh.value(metric) for metric in EQD2_METRICS} if alpha_beta_gy is not None else {}
    converted = {
        metric: None if value is None or alpha_beta_gy is None else eqd2_gy(value, fractions, alpha_beta_gy)
        for metric, value in doses.items()
    }
    return OrganEffect(geud, exponent, converted, alpha_beta_gy)
