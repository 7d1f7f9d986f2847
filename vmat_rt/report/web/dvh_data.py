"""DVH curves: what the page's chart is drawn from, and the tidy dvh.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Structure
from vmat_rt.metrics.dvh.compute import Dvh
from vmat_rt.metrics.grammar import parse_metric
from vmat_rt.report.colours import list_evaluated_structures
from vmat_rt.report.margins import describe_limit, name_judged
from vmat_rt.report.result import CaseResult, DoseResult
from vmat_rt.report.schema import NOTICE, GoalEntry, ReportDocument

CSV_STEP_GY = 0.1
_FLAT_PERCENT = 0.02

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def list_doses(result: CaseResult) -> tuple[DoseResult, ...]:
    """The predicted dose and those beside it, in the order of the report."""
    return (result.predicted, *result.others)


def sample_curve(dvh: Dvh, highest_gy: float) -> Curve:
    """Dose (Gy, every 0.1) and the volume that receives at least it (%), up to the first dose that nothing receives."""
    doses = np.arange(0, highest_gy + 2 * CSV_STEP_GY, CSV_STEP_GY)
    volume = np.asarray(dvh.curve(doses), np.float64)
    empty = np.flatnonzero(volume <= 0)
    end = int(empty[0]) + 1 if len(empty) else len(doses)
    return doses[:end], volume[:end]


def decimate(curve: Curve, tolerance_percent: float = _FLAT_PERCENT) -> Curve:
    """Keep the points needed to draw the curve with straight lines to within a tolerance (Douglas and Peucker 1973)."""
    doses, volume = curve
    kept = {0, len(doses) - 1}
    spans = [(0, len(doses) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        inner = slice(first + 1, last)
        off = np.abs(np.interp(doses[inner], doses[[first, last]], volume[[first, last]]) - volume[inner])
        worst = first + 1 + int(np.argmax(off))
        if off[worst - first - 1] > tolerance_percent:
            kept.add(worst)
            spans += [(first, worst), (worst, last)]
    chosen = sorted(kept)
    return doses[chosen], volume[chosen]


def find_highest_dose_gy(result: CaseResult) -> float:
    """Largest voxel of all the doses, Gy."""
    return max(float(np.max(dose.dose.array)) for dose in list_doses(result))


def build_dvh_data(
    result: CaseResult, document: ReportDocument, colours: Mapping[str, str], titles: Mapping[str, str]
) -> dict[str, Any]:
    """What the page's DVH is drawn from: curves by structure and dose, prescriptions, and goals as marks.

    colours are by ROI name, titles by dose label. A structure without any curve is left out.
    """
    highest = find_highest_dose_gy(result)
    bands = _list_bands(document)
    structures: list[dict[str, Any]] = [
        {
            "roi": structure.roi_name,
            "name": structure.name or structure.roi_name,
            "colour": colours[structure.roi_name],
            "volume": round(volume, 4),
            "curves": curves,
            "band": bands.get(structure.name or ""),
        }
        for structure in list_evaluated_structures(result.case, result.protocol)
        if (curves := _list_curves(result, structure, highest))
        if (volume := result.predicted.dvhs[structure.roi_name].volume_cc) is not None
    ]
    return {
        "notice": NOTICE,
        "reference": result.case.prescription.highest_gy,
        "highest": round(highest, 2),
        "prescription": [{"name": name, "gy": gy} for name, gy in document.prescription.dose_gy.items()],
        "doses": [{"label": dose.label, "title": titles[dose.label]} for dose in list_doses(result)],
        "structures": structures,
        "goals": list(_list_marks(document.predicted.goals, {s["name"]: s["roi"] for s in structures})),
    }


def _list_bands(document: ReportDocument) -> dict[str, dict[str, list[float]]]:
    """By structure: volumes in percent, and the lowest and highest dose of each, Gy."""
    curves = () if document.bands is None else document.bands.curves
    return {
        curve.structure: {
            "y": curve.volume_percent,
            "low": [round(gy, 2) for gy in curve.low_gy],
            "high": [round(gy, 2) for gy in curve.high_gy],
        }
        for curve in curves
    }


def _list_curves(result: CaseResult, structure: Structure, highest_gy: float) -> dict[str, Any]:
    curves: dict[str, Any] = {}
    for dose in list_doses(result):
        dvh = dose.dvhs.get(structure.roi_name)
        if dvh is not None and dvh.cumulative is not None:
            doses, volume = decimate(sample_curve(dvh, highest_gy))
            curves[dose.label] = {
                "x": [round(float(value), 2) for value in doses],
                "y": [round(float(value), 3) for value in volume],
                "covered": 100 * dvh.covered_fraction,
                "openBelow": find_open_below_gy(dvh),
            }
    return curves


def find_open_below_gy(dvh: Dvh) -> float:
    """Up to which dose the part of a structure outside the dose grid may add to its curve, Gy; 0 without such a part.

    By the rule of vmat_rt.metrics.dvh.coverage; all of the curve where too little of the structure is covered.
    """
    if dvh.outside is not None:
        return dvh.outside.at_most_gy
    return float(dvh.doses_gy[-1]) if dvh.reason and dvh.doses_gy.size else 0.0


def _list_marks(goals: Iterable[GoalEntry], rois: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Goals that are a point of the plane of dose and volume: V at a dose, and D at a part of the volume."""
    seen = set()
    for goal in goals:
        metric, limit = parse_metric(goal.metric_evaluated), goal.limit_evaluated
        # The chart has no curve of a shell, and none of two structures of which one suffices.
        if limit is None or name_judged(goal) not in rois or goal.status == "not evaluable":
            continue
        if metric.kind == "volume_at_gy" and goal.unit_evaluated == "%":
            gy, percent = metric.number or 0.0, limit
        elif metric.kind == "dose_at_percent" and goal.unit_evaluated == "Gy":
            gy, percent = limit, metric.number or 0.0
        else:
            continue
        mark = (goal.structure, gy, percent, goal.comparison)
        if mark not in seen:
            seen.add(mark)
            yield {
                "roi": rois[goal.structure],
                "gy": gy,
                "percent": percent,
                "up": goal.comparison in {">", ">="},
                "met": goal.status != "missed",
                "title": f"{goal.structure} {describe_limit(goal)}: {goal.status}",
            }


def write_dvh_csv(result: CaseResult, structures: Iterable[Structure]) -> str:
    """Tidy table, one row per structure, dose source and dose level; every row carries the notice.

    volume_percent and volume_cc are the part of the structure within the dose grid that receives at least dose_gy.
    structure is the TG-263 name, empty for an ROI that the protocol does not know.
    """
    highest = find_highest_dose_gy(result)
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    header = ("structure", "roi_name", "dose_source", "dose_gy", "volume_percent", "volume_cc", "notice")
    table.writerow(header)
    for structure in structures:
        for dose in list_doses(result):
            dvh = dose.dvhs.get(structure.roi_name)
            if dvh is not None and dvh.cumulative is not None:
                table.writerows(_write_csv_rows(structure, dose.label, dvh, highest))
    return buffer.getvalue()


def _write_csv_rows(structure: Structure, label: str, dvh: Dvh, highest_gy: float) -> Iterable[tuple[str, ...]]:
    doses, volume = sample_curve(dvh, highest_gy)
    name = structure.name or ""
    covered_cc = dvh.covered_fraction * dvh.volume_cc
    for level, percent in zip(doses.tolist(), volume.tolist(), strict=True):
        cc = percent / 100 * covered_cc
        yield name, structure.roi_name, label, f"{level:.1f}", f"{percent:.3f}", f"{cc:.4f}", NOTICE
