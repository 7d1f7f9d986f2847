"""Structures that leave the dose grid: the hot end is known, the cold end is not. A box in a linear gradient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.metrics.solids import BASE_GY, CENTRE, FRAME, SLOPE_GY_MM, linear_dose
from vmat_rt.case import ContourPlane, Contours, Structure, Volume
from vmat_rt.metrics.dvh.compute import Dvh, check_coverage, compute_dvh
from vmat_rt.metrics.dvh.curve import DoseVolumeCurve

INSIDE_MM, OUTSIDE_MM = 45.0, 15.0
DOSE = linear_dose("across", 2.0)
FACES = DOSE.grid.bounds_mm[0][2], DOSE.grid.bounds_mm[1][2]


def bar(x0: float, x1: float) -> Structure:
    """A bar of 12 x 10 mm along x, from x0 to x1."""
    z, y, _ = CENTRE
    ring = np.array([[y - 5, x0], [y - 5, x1], [y + 5, x1], [y + 5, x0]])
    return Structure("bar", None, Contours(tuple(ContourPlane(z + 2.0 * k, (ring,)) for k in range(6)), 2.0, FRAME))


def gy(x_mm: float) -> float:
    return BASE_GY + SLOPE_GY_MM * (x_mm - CENTRE[2])


@pytest.fixture(scope="module")
def cold_out() -> Dvh:
    """A quarter of the bar lies beyond the face where dose is lowest."""
    return compute_dvh(bar(FACES[0] - OUTSIDE_MM, FACES[0] + INSIDE_MM), DOSE)


def test_the_hot_end_is_that_of_the_whole_volume(cold_out: Dvh) -> None:
    """D_x%, D_x cc and V_x lie where the bar's own far end puts them, x being of all its 60 mm."""
    length, end = INSIDE_MM + OUTSIDE_MM, FACES[0] + INSIDE_MM
    assert cold_out.covered_fraction == pytest.approx(INSIDE_MM / length, abs=1e-6)
    for percent in (2, 5, 50, 70):
        expected = gy(end - percent / 100 * length)
        assert cold_out.value(f"D{percent}%") == pytest.approx(expected, abs=0.15)
    assert cold_out.value("Dmax") == pytest.approx(gy(end), abs=0.1)
    assert cold_out.value("D1.2cc") == pytest.approx(gy(end - 10), abs=0.15)
    assert cold_out.value(f"V{gy(end - 15):.3f}Gy") == pytest.approx(100 * 15 / length, abs=0.3)
    assert cold_out.value(f"V{gy(end - 15):.3f}Gy[cc]") == pytest.approx(1.8, abs=0.03)


@pytest.mark.parametrize("metric", ["Dmin", "Dmean", "D95%", "D76%", "HI", "V10Gy"])
def test_the_cold_end_is_not_known(cold_out: Dvh, metric: str) -> None:
    assert gy(FACES[0]) > 10
    reading = cold_out.read(metric)
    assert reading.value is None
    assert "1.8 cc that lie outside the dose grid" in reading.reason


def test_what_lies_beyond_the_hottest_face_leaves_little_to_know() -> None:
    dvh = compute_dvh(bar(FACES[1] - INSIDE_MM, FACES[1] + OUTSIDE_MM), DOSE)
    assert dvh.values(["D2%", "D1cc", "Dmean", "V60Gy", "Dmin"]) == dict.fromkeys(
        ["D2%", "D1cc", "Dmean", "V60Gy", "Dmin"]
    )
    assert dvh.value("V90Gy") == 0


def test_where_no_dose_reaches_the_face_everything_is_known() -> None:
    """Outside gets no more than the face, which is nothing: mean and minimum follow."""
    x = DOSE.grid.axis_mm(2)
    line = np.maximum(0, 2.0 * (x - (FACES[0] + 20)))
    dose = Volume(DOSE.grid, np.broadcast_to(line, DOSE.grid.shape).astype(np.float32))
    dvh = compute_dvh(bar(FACES[0] - OUTSIDE_MM, FACES[0] + INSIDE_MM), dose)
    assert dvh.value("Dmin") == 0
    assert dvh.value("Dmean") == pytest.approx(25 * 25 / 60, abs=0.1)
    assert dvh.value("V10Gy") == pytest.approx(100 * 20 / 60, abs=0.3)
    assert dvh.value("D95%") == 0


def test_the_problem_says_how_much_is_missing(cold_out: Dvh) -> None:
    whole = compute_dvh(bar(FACES[0] + 5, FACES[0] + 30), DOSE)
    (problem,) = check_coverage({"whole": whole, "bar": cold_out})
    assert (problem.code, problem.severity) == ("STRUCTURE_NOT_COVERED", "warning")
    assert "'bar' 25.0 % (1.8 of 7.2 cc)" in problem.message


@given(
    st.lists(st.floats(0, 80), min_size=2, max_size=6).map(sorted),
    st.floats(0.01, 30),
    st.floats(0, 90),
    st.floats(0, 90),
)
def test_a_volume_at_one_dose_adds_to_every_level_up_to_it(
    doses: list[float], volume_cc: float, at_gy: float, level_gy: float
) -> None:
    curve = DoseVolumeCurve(np.array(doses), np.linspace(10, 0, len(doses)), float(np.mean(doses)))
    more = curve.with_volume(volume_cc, at_gy)
    assert np.all(np.diff(more.doses_gy) >= 0)
    assert np.all(np.diff(more.at_least_cc) <= 1e-9)
    assert more.volume_cc == pytest.approx(10 + volume_cc)
    if abs(level_gy - at_gy) > 1e-3:
        added = volume_cc if level_gy < at_gy else 0
        assert more.volume_at_gy(level_gy) == pytest.approx(curve.volume_at_gy(level_gy) + added, abs=1e-3)
