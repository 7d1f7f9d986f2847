"""Calibration: what a model got wrong on cases that it had not seen, as DVHs of three doses, in one file beside it.

For each case and structure it keeps a short form of the cumulative DVH of the predicted dose, of the dose that stands
beside it (the geometric model's) and of the true one. Any metric can be read off these, so that a clinic's own goals
have bands as well. The file is not part of the bundle's identity: a clinic makes its own without changing the model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import numpy as np
from pydantic import Field, ValidationError

from vmat_rt.errors import ConfigError
from vmat_rt.metrics.dvh.curve import DoseVolumeCurve
from vmat_rt.strict import Strict, reason

FILE: Final = "calibration.json"

SHARES: Final = (
    *(1, 0.998, 0.995, 0.99, 0.98, 0.97, 0.95, 0.925),
    *(0.05 * i for i in range(18, 1, -1)),
    *(0.075, 0.05, 0.04, 0.03, 0.02, 0.015, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0),
)
"""Parts of the volume at which a short curve keeps the dose, from the coldest point to the hottest."""
_STEP_GY: Final = 0.01

Steps = tuple[int, ...]


class ShortCurve(Strict):
    """Doses that the parts SHARES of the volume get at least, and the mean, all in whole steps of 0.01 Gy."""

    mean: int
    doses: Steps = Field(min_length=len(SHARES), max_length=len(SHARES))

    @staticmethod
    def of(curve: DoseVolumeCurve) -> ShortCurve:
        doses = (curve.dose_at_cc(share * curve.volume_cc) for share in SHARES)
        return ShortCurve(mean=round(curve.mean_gy / _STEP_GY), doses=tuple(round(dose / _STEP_GY) for dose in doses))

    def restore(self, volume_cc: float, scale: float = 1.0) -> DoseVolumeCurve:
        """The curve again, every dose times `scale`."""
        step = _STEP_GY * scale
        shares = np.array(SHARES, np.float64)
        return DoseVolumeCurve(np.array(self.doses, np.float64) * step, shares * volume_cc, self.mean * step)


class StructureCurves(Strict):
    """One structure of one case: its volume and its DVH in three doses. beside: None where no dose stood beside."""

    volume_cc: float = Field(gt=0)
    predicted: ShortCurve
    beside: ShortCurve | None
    reference: ShortCurve


class CalibrationCase(Strict):
    """One case that the model had not seen. highest_gy: its highest prescription, to which doses are relative."""

    case: str
    highest_gy: float = Field(gt=0)
    structures: dict[str, StructureCurves]


class Calibration(Strict):
    """The content of calibration.json. simulated: the reference doses are not plans of patients."""

    schema_version: Literal[1] = 1
    model: str
    model_version: str
    model_sha256: str
    data: str
    simulated: bool
    date: str
    command: str
    cases: tuple[CalibrationCase, ...]


def read_calibration(path: Path) -> Calibration:
    """Raises ConfigError that says what is wrong with the file."""
    try:
        return Calibration.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the calibration {path} cannot be read: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"the calibration {path} is damaged: {reason(error)}") from error


def write_calibration(path: Path, calibration: Calibration) -> None:
    """A case a line, so that a person can compare two of them."""
    head = calibration.model_dump_json(exclude={"cases"}, indent=1).rstrip().removesuffix("}").rstrip()
    cases = ",\n".join(case.model_dump_json() for case in calibration.cases)
    path.write_text(f'{head},\n "cases": [\n{cases}\n]}}\n', encoding="utf-8")
