"""The DVH: its curves, names, colours and marks."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.report import synthetic
from vmat_rt.case import Structure, Volume
from vmat_rt.grid import Grid
from vmat_rt.metrics.dvh.compute import compute_dvh
from vmat_rt.report.band_entries import BandsEntry, CurveBandEntry
from vmat_rt.report.colours import assign_colours, list_evaluated_structures
from vmat_rt.report.document import build_report_document
from vmat_rt.report.result import CaseResult
from vmat_rt.report.schema import NOTICE
from vmat_rt.report.web.dvh_data import build_dvh_data, decimate, find_open_below_gy, sample_curve, write_dvh_csv
from vmat_rt.report.web.titles import title_doses


def test_curve_of_a_linear_dose_is_a_straight_line() -> None:
    grid = Grid((4, 4, 101), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), "f")
    dose = Volume(grid, np.broadcast_to(np.linspace(0, 50, 101, dtype=np.float32), grid.shape).copy())
    slab = Grid((2, 2, 40), (2.0, 2.0, 2.0), (2.0, 2.0, 41.0), "f")
    dvh = compute_dvh(Structure("s", None, Volume(slab, np.ones(slab.shape, np.float32))), dose)
    doses, volume = sample_curve(dvh, 50.0)
    exact = np.interp(doses, [10, 30], [100, 0])
    assert volume == pytest.approx(exact, abs=0.6)
    assert doses[-1] == pytest.approx(30.0, abs=0.2), "the curve ends where nothing is left"
    few_doses, few_volumes = decimate((doses, volume), 0.6)
    assert len(few_doses) <= 6
    assert np.interp(doses, few_doses, few_volumes) == pytest.approx(volume, abs=0.6)


def test_decimation_keeps_to_its_tolerance(result: CaseResult) -> None:
    for dvh in result.predicted.dvhs.values():
        if dvh.cumulative is not None:
            doses, volume = sample_curve(dvh, 75.0)
            few_doses, few_volumes = decimate((doses, volume), 0.05)
            assert len(few_doses) < len(doses)
            assert np.max(np.abs(np.interp(doses, few_doses, few_volumes) - volume)) <= 0.05 + 1e-9


def data_of(result: CaseResult) -> dict[str, Any]:
    structures = list_evaluated_structures(result.case, result.protocol)
    colours = assign_colours(structures, result.protocol)
    return build_dvh_data(result, build_report_document(result, {}), colours, title_doses(result))


def test_every_structure_has_a_curve_of_each_dose(result: CaseResult) -> None:
    data = data_of(result)
    json.dumps(data, allow_nan=False)
    assert [s["roi"] for s in data["structures"]] == [
        s.roi_name for s in list_evaluated_structures(result.case, result.protocol)
    ]
    for structure in data["structures"]:
        assert list(structure["curves"]) == ["predicted", "geometric baseline", "clinical"]
    assert data["doses"][2] == {"label": "clinical", "title": "Clinical"}
    assert data["prescription"] == [{"name": "PTV_7000", "gy": 70.0}, {"name": "PTV_5600", "gy": 56.0}]
    assert data["notice"] == NOTICE


def test_goals_at_a_point_of_the_chart_are_marked_as_evaluated(result: CaseResult) -> None:
    marks = {(m["roi"], m["percent"]): m for m in data_of(result)["goals"]}
    rectum = marks[synthetic.EVIL, 50]
    assert rectum["gy"] == pytest.approx(51.62, abs=0.01), "50 Gy at 2 Gy per fraction, in 28 fractions"
    assert not rectum["up"]
    assert rectum["title"].startswith("Rectum V51.62Gy < 50 %: ")
    assert all(mark["roi"] != "PenileBulb" for mark in marks.values()), "it is not contoured"


def test_a_calibrated_structure_has_its_band(result: CaseResult) -> None:
    curve = CurveBandEntry(structure="Rectum", volume_percent=[98.0, 2.0], low_gy=[1.234, 50.0], high_gy=[3.0, 60.0])
    bands = BandsEntry(level_percent=90, cases=33, data="none", simulated=False, metrics=[], curves=[curve])
    of = {s["name"]: s["band"] for s in data_of(replace(result, bands=bands))["structures"]}
    assert of["Rectum"] == {"y": [98.0, 2.0], "low": [1.23, 50.0], "high": [3.0, 60.0]}
    assert of["Bladder"] is None
    assert all(structure["band"] is None for structure in data_of(result)["structures"])


def test_a_structure_that_leaves_the_grid_is_open_up_to_what_lies_on_the_crossed_face(result: CaseResult) -> None:
    crossing = result.predicted.dvhs["External"]
    assert crossing.outside is not None
    assert find_open_below_gy(crossing) == crossing.outside.at_most_gy > 0
    assert find_open_below_gy(result.predicted.dvhs["PTV 70"]) == 0
    assert find_open_below_gy(replace(crossing, outside=None, reason="too little")) == crossing.doses_gy[-1]


def test_colours_are_distinct_and_follow_the_role(result: CaseResult) -> None:
    structures = list_evaluated_structures(result.case, result.protocol)
    assert [s.name for s in structures][:2] == ["PTV_7000", "PTV_5600"]
    assert structures[-1].name == "External"
    colours = assign_colours(structures, result.protocol)
    assert len(set(colours.values())) == len(structures)


def test_csv_is_tidy_and_agrees_with_the_metrics(result: CaseResult) -> None:
    structures = list_evaluated_structures(result.case, result.protocol)
    rows = list(csv.DictReader(io.StringIO(write_dvh_csv(result, structures))))
    assert {row["notice"] for row in rows} == {NOTICE}
    assert {row["dose_source"] for row in rows} == {"predicted", "geometric baseline", "clinical"}
    assert {row["roi_name"] for row in rows} == {s.roi_name for s in structures}
    target = [row for row in rows if row["structure"] == "PTV_7000" and row["dose_source"] == "predicted"]
    doses, percent, cc = (
        np.array([float(row[k]) for row in target]) for k in ("dose_gy", "volume_percent", "volume_cc")
    )
    dvh = result.predicted.dvhs["PTV 70"]
    assert percent[0] == 100
    assert percent[-1] == 0
    assert np.all(np.diff(percent) <= 0)
    assert cc[0] == pytest.approx(dvh.volume_cc, abs=1e-3)
    assert np.interp(-95, -percent, doses) == pytest.approx(dvh.value("D95%"), abs=0.1)
    assert np.interp(60, doses, percent) == pytest.approx(dvh.value("V60Gy"), abs=0.1)


def test_structure_without_a_curve_is_left_out() -> None:
    of = synthetic.case()
    of = replace(of, structures={**of.structures, "PenileBulb": Structure("Bulb", "PenileBulb", None)})
    result = synthetic.result(of)
    structures = list_evaluated_structures(result.case, result.protocol)
    colours = assign_colours(structures, result.protocol)
    assert "Bulb" in colours
    assert all(structure["roi"] != "Bulb" for structure in data_of(result)["structures"])
    assert "Bulb" not in write_dvh_csv(result, structures)
