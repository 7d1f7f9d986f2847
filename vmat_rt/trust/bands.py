"""Bands: for any DVH metric of a predicted dose the interval in which the planned one lies in nine of ten cases.

How unsure the model is of a case is told by how far it is from the dose that stands beside it, the geometric model's:
where that has told the errors of the calibration cases, the band is narrow where the two differ little. Elsewhere all
cases have one width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from scipy.stats import rankdata

from vmat_rt.metrics.dvh.compute import Dvh
from vmat_rt.metrics.dvh.curve import DoseVolumeCurve
from vmat_rt.metrics.dvh.evaluation import read_metric
from vmat_rt.metrics.grammar import Metric
from vmat_rt.trust.calibration import Calibration, CalibrationCase, StructureCurves
from vmat_rt.trust.conformal import LEVEL, FloatArray, Interval, count_needed, find_interval

LEAST_CASES: Final = 20
"""Below it there is no band: with so few cases the level itself is uncertain by more than 7 points."""
LEAST_CORRELATION: Final = 0.4
"""Of spread and error over the calibration cases. Below it a width that follows the spread is wider, and no better."""
LEAST_SPREAD: Final[dict[str, float]] = {"Gy": 0.01, "%": 0.01, "cc": 0.01, "": 0.001}
"""By unit of the metric: no model is surer than that."""


@dataclass(frozen=True)
class BandReading:
    """The band of one metric, or None and why there is none."""

    interval: Interval | None
    reason: str = ""


class _Restored(NamedTuple):
    """The curves of one calibration case, at the scale of this case's prescription."""

    predicted: DoseVolumeCurve
    beside: DoseVolumeCurve | None
    reference: DoseVolumeCurve


@dataclass(frozen=True)
class StructureBands:
    """The bands of one structure of a case. entries: the curves of each calibration case that has it; prescription_gy:
    of the structure, for metrics in percent of it.
    """

    name: str
    highest_gy: float
    prescription_gy: float | None
    predicted: DoseVolumeCurve
    beside: DoseVolumeCurve | None
    entries: tuple[_Restored, ...]
    level: float = LEVEL
    weighted: bool = True

    def read(self, metric: Metric) -> BandReading:
        """The band of a metric, cut to what the metric can be (no dose below 0, no more than all of the volume)."""
        if metric.kind == "conformity":
            return BandReading(None, "CI needs the dose outside the structure")
        value = self._read(metric, self.predicted)
        if value is None:
            return BandReading(None, f"{metric} cannot be given")
        errors, spreads = self._collect(metric)
        if len(errors) < max(LEAST_CASES, count_needed(self.level)):
            return BandReading(None, f"{len(errors)} calibration cases have it; {LEAST_CASES} are needed")
        units, own = np.ones(len(errors)), 1.0
        if self.weighted and _tells_errors(spreads, errors):
            usual = max(float(np.median(spreads)), LEAST_SPREAD[metric.unit])
            units = np.hypot(spreads, usual)
            own = float(np.hypot(self._spread(metric, value, self.beside), usual))
        interval = find_interval(value, own, errors, units, self.level)
        assert interval is not None  # there are enough cases, as was just seen
        return BandReading(_cut(interval, metric, self.predicted.volume_cc))

    def _collect(self, metric: Metric) -> tuple[FloatArray, FloatArray]:
        """Truth minus prediction, and distance of prediction from the dose beside, of each case that has both."""
        errors, spreads = [], []
        for curves in self.entries:
            value, truth = self._read(metric, curves.predicted), self._read(metric, curves.reference)
            if value is None or truth is None:
                continue
            errors.append(truth - value)
            spreads.append(self._spread(metric, value, curves.beside))
        return np.array(errors), np.array(spreads)

    def _read(self, metric: Metric, curve: DoseVolumeCurve) -> float | None:
        return read_metric(metric, curve, self.prescription_gy, None).value

    def _spread(self, metric: Metric, value: float, beside: DoseVolumeCurve | None) -> float:
        other = None if beside is None else self._read(metric, beside)
        return 0.0 if other is None else abs(value - other)


def find_structure_bands(
    calibration: Calibration,
    predicted: Dvh,
    beside: Dvh | None,
    prescription_gy: dict[str, float],
    *,
    weighted: bool = True,
) -> StructureBands | None:
    """The bands of a structure with a TG-263 name; None where its DVH is empty or incomplete, or it has no name.

    A structure that leaves the dose grid has none: what is missing of it is not known to either dose. weighted: widths
    that depend on the case; False gives every case the same.
    """
    curve = predicted.cumulative
    if predicted.name is None or curve is None or predicted.reason or predicted.outside is not None:
        return None
    name = predicted.name
    highest_gy = max(prescription_gy.values())
    entries = tuple(
        _restore(case.structures[name], highest_gy / case.highest_gy)
        for case in calibration.cases
        if name in case.structures
    )
    return StructureBands(
        name=name,
        highest_gy=highest_gy,
        prescription_gy=prescription_gy.get(name),
        predicted=curve,
        beside=None if beside is None else beside.cumulative,
        entries=entries,
        weighted=weighted,
    )


def _restore(curves: StructureCurves, scale: float) -> _Restored:
    whole = curves.volume_cc
    beside = None if curves.beside is None else curves.beside.restore(whole, scale)
    return _Restored(curves.predicted.restore(whole, scale), beside, curves.reference.restore(whole, scale))


def leave_out(calibration: Calibration, case: CalibrationCase) -> Calibration:
    """The calibration without one case, by which that case can be judged."""
    return calibration.model_copy(update={"cases": tuple(c for c in calibration.cases if c.case != case.case)})


def _tells_errors(spreads: FloatArray, errors: FloatArray) -> bool:
    """Whether the cases of large spread are, by rank, those of large errors (Spearman)."""
    if np.ptp(spreads) == 0 or np.ptp(errors) == 0:
        return False
    distance = np.abs(errors - np.median(errors))
    return float(np.corrcoef(rankdata(spreads), rankdata(distance))[0, 1]) >= LEAST_CORRELATION


def _cut(interval: Interval, metric: Metric, volume_cc: float) -> Interval:
    highest = np.inf
    if metric.is_volume:
        highest = volume_cc if metric.unit == "cc" else 100.0
    return Interval(
        float(np.clip(interval.low, 0.0, highest)), float(np.clip(interval.high, 0.0, highest)), interval.cases
    )
