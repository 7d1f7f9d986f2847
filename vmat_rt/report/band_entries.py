"""The bands of a case in report.json; vmat_rt.trust says what they are."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from vmat_rt.strict import Strict


class _Entry(Strict):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True, allow_inf_nan=False)


class BandEntry(_Entry):
    """The interval of one metric of one structure, in the metric's unit; null with a reason where there is none."""

    structure: str
    metric: str
    low: float | None
    high: float | None
    cases: int = Field(description="calibration cases behind it")
    reason: str


class CurveBandEntry(_Entry):
    """The same along a DVH: doses that each part of the volume gets at least, Gy. It holds point by point."""

    structure: str
    volume_percent: list[float]
    low_gy: list[float]
    high_gy: list[float]


class BandsEntry(_Entry):
    """Where the planned dose lies in level_percent of cases like those that the model was calibrated on."""

    level_percent: float
    cases: int
    data: str
    simulated: bool
    metrics: list[BandEntry]
    curves: list[CurveBandEntry]
