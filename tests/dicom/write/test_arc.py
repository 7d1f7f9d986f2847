"""Equally spaced angles are written as one arc and come back; other directions stay static beams.

Covers vmat_rt.dicom.write.beams.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.dicom import written
from tests.dicom.write.exports import ARCS_DEG, options
from vmat_rt.dicom.gantry import seen_supine
from vmat_rt.dicom.study import read_study
from vmat_rt.dicom.write.export import export_case


@pytest.mark.parametrize("name", ARCS_DEG)
@pytest.mark.parametrize("position", ["HFS", "FFP"])
def test_an_arc_comes_back_with_its_angles(tmp_path: Path, name: str, position: str) -> None:
    angles = tuple(ARCS_DEG[name])
    export_case(replace(written.case(), gantry_angles_deg=angles), tmp_path, options(position))
    (beam,) = pydicom.dcmread(tmp_path / "RTPLAN.dcm").BeamSequence
    assert (beam.BeamType, beam.NumberOfControlPoints) == ("DYNAMIC", len(angles))
    plan = read_study(tmp_path).plan
    assert plan is not None
    seen = sorted(seen_supine(angle, position) for angle in plan.gantry_angles_deg)
    assert seen == pytest.approx(sorted(angles), abs=1e-8)


@pytest.mark.parametrize("name", ARCS_DEG)
def test_control_points_follow_each_other_as_a_machine_turns(tmp_path: Path, name: str) -> None:
    """PS3.3 C.8.8.14: meterset from 0 to the final weight, direction at the first and last point, one way round."""
    export_case(replace(written.case(), gantry_angles_deg=tuple(ARCS_DEG[name])), tmp_path, options("HFS"))
    (beam,) = pydicom.dcmread(tmp_path / "RTPLAN.dcm").BeamSequence
    points = beam.ControlPointSequence
    angles = np.array([float(point.GantryAngle) for point in points])
    turning = points[0].GantryRotationDirection
    assert turning == ("CC" if "downwards" in name else "CW")
    steps = np.diff(angles) % 360 if turning == "CW" else -np.diff(angles) % 360
    step = np.median(steps)
    rest = 360 - steps.sum()
    assert rest >= step - 1e-6
    if rest < 2.5 * step:  # a full turn keeps off the stop at 180
        assert angles[0] > 180
        assert angles[-1] <= 180
    weights = [float(point.CumulativeMetersetWeight) for point in points]
    assert weights == pytest.approx(np.linspace(0, float(beam.FinalCumulativeMetersetWeight), len(points)))
    assert [point.ControlPointIndex for point in points] == list(range(len(points)))
    assert points[-1].GantryRotationDirection == "NONE"
    assert not any("GantryRotationDirection" in point for point in points[1:-1])


@pytest.mark.parametrize(
    "angles",
    [
        [40.0 * k for k in range(9)],  # OpenKBP's fields
        [0.0, 5.0, 10.0, 15.0, 20.0],  # too few
        [20.0 * k for k in range(18)],  # too coarse
        [5.0 * k for k in range(20)] + [200.0 + 5.0 * k for k in range(20)],  # two gaps
        [5.0 * k + 0.3 * (k % 2) for k in range(40)],  # unequal
    ],
)
def test_other_directions_stay_static_beams(tmp_path: Path, angles: list[float]) -> None:
    export_case(replace(written.case(), gantry_angles_deg=tuple(angles)), tmp_path, options("HFS"))
    dataset = pydicom.dcmread(tmp_path / "RTPLAN.dcm")
    assert {beam.BeamType for beam in dataset.BeamSequence} == {"STATIC"}
    assert [float(beam.ControlPointSequence[0].GantryAngle) for beam in dataset.BeamSequence] == angles
    plan = read_study(tmp_path).plan
    assert plan is not None
    assert plan.gantry_angles_deg == tuple(sorted(angles))
