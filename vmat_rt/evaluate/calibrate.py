"""Calibrations made from a cohort, and judged on one: how often the bands hold, and how wide they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from vmat_rt.cohort.store import Cohort
from vmat_rt.evaluate.subjects import Subject
from vmat_rt.metrics.dvh.compute import Dvh
from vmat_rt.metrics.dvh.curve import DoseVolumeCurve
from vmat_rt.metrics.dvh.evaluation import read_metric
from vmat_rt.metrics.grammar import Metric, parse_metric
from vmat_rt.trust.bands import find_structure_bands, leave_out
from vmat_rt.trust.calibration import Calibration, CalibrationCase, ShortCurve, StructureCurves

JUDGED: Final = ("D98%", "D95%", "D50%", "D20%", "D2%", "Dmean", "D0.03cc")
"""The metrics that coverage is counted over."""


@dataclass(frozen=True)
class Coverage:
    """Of one structure: how many bands held the truth, of how many, their mean width in Gy, and that of bands of
    constant width.
    """

    structure: str
    held: int
    judged: int
    width_gy: float
    constant_width_gy: float

    @property
    def percent(self) -> float:
        return 100 * self.held / self.judged


def make_calibration(subject: Subject, cohort: Cohort, cases: Sequence[CalibrationCase], command: str) -> Calibration:
    """The calibration of a model from the curves of cases that it had not seen."""
    provenance, identity = cohort.settings.provenance, subject.identity
    return Calibration(
        model=identity.name,
        model_version=identity.version,
        model_sha256=identity.sha256,
        data=provenance.data,
        simulated=provenance.simulated,
        date=datetime.now(UTC).date().isoformat(),
        command=command,
        cases=tuple(cases),
    )


def judge_bands(calibration: Calibration, cases: Sequence[CalibrationCase]) -> list[Coverage]:
    """Coverage by structure over JUDGED metrics, and of all under the name "all".

    A case that is in the calibration is judged by the others. Structures without bands do not appear.
    """
    counts: dict[str, list[tuple[bool, float, float]]] = {}
    for case in cases:
        others = leave_out(calibration, case)
        for name, curves in case.structures.items():
            counts.setdefault(name, []).extend(_judge_structure(others, case, name, curves))
    found = {name: held for name, held in counts.items() if held}
    rows = [_sum_up(name, held) for name, held in sorted(found.items())]
    return [*rows, _sum_up("all", [one for held in found.values() for one in held])] if rows else []


def _judge_structure(
    calibration: Calibration, case: CalibrationCase, name: str, curves: StructureCurves
) -> Iterator[tuple[bool, float, float]]:
    """For each metric whether its band holds, its width and that of the constant one, Gy."""
    predicted = _restore(name, curves, curves.predicted)
    beside = None if curves.beside is None else _restore(name, curves, curves.beside)
    truth = curves.reference.restore(curves.volume_cc)
    weighted, constant = (
        find_structure_bands(calibration, predicted, beside, {name: case.highest_gy}, weighted=weighted)
        for weighted in (True, False)
    )
    if weighted is None or constant is None:
        return
    for text in JUDGED:
        metric = parse_metric(text)
        band, plain, value = weighted.read(metric).interval, constant.read(metric).interval, _read(metric, truth)
        if band is not None and plain is not None and value is not None:
            yield band.low <= value <= band.high, band.width, plain.width


def _restore(name: str, curves: StructureCurves, short: ShortCurve) -> Dvh:
    return Dvh(name, name, curves.volume_cc, 1.0, short.restore(curves.volume_cc), None)


def _read(metric: Metric, curve: DoseVolumeCurve) -> float | None:
    return read_metric(metric, curve, None, None).value


def _sum_up(name: str, held: Sequence[tuple[bool, float, float]]) -> Coverage:
    inside, width, constant = zip(*held, strict=True)
    return Coverage(name, sum(inside), len(held), float(np.mean(width)), float(np.mean(constant)))
