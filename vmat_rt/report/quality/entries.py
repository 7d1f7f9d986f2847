"""The JSON of plan quality: indices of targets, gEUD and EQD2 of organs, gamma against the reference."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field

from vmat_rt.strict import Strict


def _drop_non_finite(value: object) -> object:
    """None for NaN and the infinities, which JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_drop_non_finite)]


class _Entry(Strict):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class TargetIndices(_Entry):
    """Indices of one target against its own prescription; vmat_rt.metrics.plan_quality has their formulas."""

    name: str
    prescription_gy: float
    paddick_ci: Number
    rtog_ci: Number
    gradient_index: Number = Field(description="volume that gets half the prescription, per volume that gets all of it")
    r50: Number = Field(description="volume that gets half the prescription, per volume of the target")
    homogeneity: Number = Field(description="(D2% - D98%) / D50%")
    reason: str = Field(description="why some are null; empty where none is")


class OrganEffects(_Entry):
    """gEUD of one organ with its exponent, and EQD2 by metric with its alpha/beta, in Gy."""

    name: str
    geud_gy: Number
    geud_exponent: Number
    eqd2_gy: dict[str, Number]
    alpha_beta_gy: Number


class DoseQuality(_Entry):
    """Plan quality of one dose, by its label."""

    label: str
    targets: list[TargetIndices]
    organs: list[OrganEffects]


class GammaRate(_Entry):
    """Gamma of the predicted dose against the reference: criteria in words, and what passes."""

    criteria: str
    pass_rate_percent: Number
    mean: Number
    points: int
    reason: str
