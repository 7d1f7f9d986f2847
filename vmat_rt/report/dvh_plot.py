"""DVH curves: the interactive figure's JSON, built by hand (importing plotly is not needed), and the tidy dvh.csv."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Structure
from vmat_rt.metrics.dvh.compute import Dvh
from vmat_rt.report.result import CaseResult, DoseResult
from vmat_rt.report.schema import NOTICE, DoseLabel

DASHES: Mapping[DoseLabel, str] = {"predicted": "solid", "geometric baseline": "dot", "clinical": "dash"}
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


def build_dvh_figure(result: CaseResult, structures: Sequence[Structure], colours: Mapping[str, str]) -> dict[str, Any]:
    """Plotly figure: a trace per structure and dose; those of a structure share a legend entry and toggle together."""
    highest = find_highest_dose_gy(result)
    traces = [
        _build_trace(dose, structure, dose.dvhs[structure.roi_name], colours[structure.roi_name], highest)
        for dose in list_doses(result)
        for structure in structures
        if structure.roi_name in dose.dvhs and dose.dvhs[structure.roi_name].cumulative is not None
    ]
    return {"data": traces, "layout": _build_layout(result.case.prescription.dose_gy, highest)}


def _build_trace(dose: DoseResult, structure: Structure, dvh: Dvh, colour: str, highest_gy: float) -> dict[str, Any]:
    doses, volume = decimate(sample_curve(dvh, highest_gy))
    # Plotly reads a subset of HTML in its texts, so names from a file are escaped for it as for the page.
    name = html.escape(structure.name or structure.roi_name)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "legendgroup": html.escape(structure.roi_name),
        "showlegend": dose.label == "predicted",
        "meta": dose.label,
        "x": [round(float(value), 2) for value in doses],
        "y": [round(float(value), 3) for value in volume],
        "line": {"color": colour, "width": 2.2 if dose.label == "predicted" else 1.6, "dash": DASHES[dose.label]},
        "hovertemplate": f"<b>{name}</b> {dose.label}<br>%{{y:.1f}} % receive %{{x:.1f}} Gy or more<extra></extra>",
    }


def _build_layout(prescription_gy: Mapping[str, float], highest_gy: float) -> dict[str, Any]:
    grid = {"gridcolor": "#e3e8ed", "zeroline": False, "linecolor": "#5b6875", "showline": True, "ticks": "outside"}
    levels = sorted(set(prescription_gy.values()))
    return {
        "margin": {"l": 58, "r": 12, "t": 44, "b": 48},
        "height": 470,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "#ffffff",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#1c2733"},
        "hovermode": "closest",
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#8b97a3", "activecolor": "#17212b"},
        "legend": {"groupclick": "togglegroup", "tracegroupgap": 2, "font": {"size": 12}},
        "xaxis": {**grid, "title": {"text": "Dose, Gy"}, "range": [0, round(1.02 * highest_gy + 0.5, 2)]},
        "yaxis": {**grid, "title": {"text": "Volume, %"}, "range": [0, 102]},
        "shapes": [
            {
                "type": "line",
                "x0": level,
                "x1": level,
                "y0": 0,
                "y1": 1,
                "yref": "paper",
                "line": {"color": "#5b6875", "width": 1, "dash": "dashdot"},
            }
            for level in levels
        ],
        "annotations": [
            {
                "x": level,
                "y": 1,
                "yref": "paper",
                "yanchor": "bottom",
                "showarrow": False,
                "text": f"{level:g} Gy",
                "font": {"size": 11, "color": "#5b6875"},
            }
            for level in levels
        ],
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
