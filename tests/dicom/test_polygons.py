"""One contour item: a polygon without repeats, or the one fault that is noted for it."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

from tests.dicom_phantom import contour, disc
from vmat_rt.dicom.attributes import Attributes
from vmat_rt.dicom.polygons import PlanarContour, RoiFaults, planar_contour

SQUARE = np.array([[0.0, 0.0], [0.0, 4.0], [3.0, 4.0], [3.0, 0.0]])


def read(item: Dataset) -> tuple[PlanarContour | None, RoiFaults]:
    faults = RoiFaults("a")
    return planar_contour(Attributes(item, "the RTSTRUCT"), 7, faults), faults


def codes(faults: RoiFaults) -> list[str]:
    return [problem.code for problem in faults.problems()]


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_a_closed_polygon_comes_back_as_rows_and_columns(kind: str) -> None:
    found, faults = read(contour(SQUARE, -12.5, kind))
    assert found is not None
    assert (found.number, found.z_mm) == (7, -12.5)
    np.testing.assert_array_equal(found.polygon, SQUARE)
    assert codes(faults) == []


def test_repeated_vertices_count_once_also_at_the_end() -> None:
    found, _ = read(contour(SQUARE[[0, 0, 1, 2, 2, 2, 3, 0]], 1.0))
    assert found is not None
    assert sorted(map(tuple, found.polygon)) == sorted(map(tuple, SQUARE))
    assert len(found.polygon) == 4


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR", "OPEN_NONPLANAR"])
def test_what_is_not_closed_is_left_out_with_a_warning(kind: str) -> None:
    found, faults = read(contour(SQUARE, 1.0, kind))
    assert found is None
    assert faults.not_closed == {kind: 1}
    assert codes(faults) == ["CONTOUR_NOT_CLOSED"]


@pytest.mark.parametrize(
    "polygon",
    [SQUARE[:1], SQUARE[:2], SQUARE[[0, 1, 0, 1]], np.array([[0.0, 0], [1, 1], [2, 2], [5, 5]]), SQUARE * 1e-5],
    ids=["point", "edge", "there and back", "line", "tiny"],
)
def test_a_polygon_without_area_is_left_out(polygon: np.ndarray) -> None:
    found, faults = read(contour(polygon, 1.0))
    assert found is None
    assert codes(faults) == ["CONTOUR_DEGENERATE"]


def test_a_thin_polygon_with_area_is_kept() -> None:
    found, _ = read(contour(np.array([[0.0, 0], [0, 50], [0.01, 25]]), 1.0))
    assert found is not None


@pytest.mark.parametrize("tilt_mm", [0.1, 0.25, 40.0])
def test_what_is_not_axial_is_an_error_with_its_extent(tilt_mm: float) -> None:
    item = contour(disc(3.0, 4.0, 9.0), 5.0)
    values = np.array(item.ContourData, float)
    values[5] += 1.01 * tilt_mm
    item.ContourData = [f"{value:.6g}" for value in values]
    found, faults = read(item)
    assert found is None
    assert faults.not_axial == [(7, pytest.approx(1.01 * tilt_mm, abs=1e-3))]
    assert codes(faults) == ["CONTOUR_NOT_AXIAL"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ContourData": [1, 2, 3, 4]}, "4 coordinates, not three a point"),
        ({"NumberOfContourPoints": 6}, "says that it has 6 points but holds 4"),
        ({"NumberOfContourPoints": 2}, "says that it has 2 points but holds 4"),
        ({"ContourData": [0, 0, 0, 0, 10_001, 0, 3, 3, 0, 1, 1, 0]}, "reaches 1e+04 mm"),
        ({"ContourGeometricType": ""}, "does not say whether it is closed"),
    ],
)
def test_a_damaged_contour_is_an_error_that_names_it(change: dict[str, object], said: str) -> None:
    item = contour(SQUARE, 1.0)
    for keyword, value in change.items():
        setattr(item, keyword, value)
    found, faults = read(item)
    assert found is None
    (problem,) = faults.problems()
    assert problem.code == "CONTOUR_INVALID"
    assert "contour 7" in problem.message
    assert said in problem.message


def test_a_tangle_is_an_error() -> None:
    found, faults = read(contour(np.random.default_rng(2).normal(0, 40, (2000, 2)), 1.0))
    assert found is None
    (problem,) = faults.problems()
    assert problem.code == "CONTOUR_INVALID"
    assert "contour 7 crosses itself thousands of times" in problem.message


@pytest.mark.parametrize("stated", [3, 5])
def test_a_count_that_is_one_off_is_told_and_the_points_are_used(stated: int) -> None:
    item = contour(SQUARE, 1.0)
    item.NumberOfContourPoints = stated
    found, faults = read(item)
    assert found is not None
    np.testing.assert_array_equal(found.polygon, SQUARE)
    (problem,) = faults.problems()
    assert (problem.code, problem.severity) == ("CONTOUR_POINT_COUNT", "warning")
    assert f"'a': contour 7 says {stated} points and holds 4" in problem.message


def test_messages_stay_short_however_many_contours_are_at_fault() -> None:
    many = list(range(100_000, 100_400))
    faults = RoiFaults("a" * 64, repeated=many, wound=many, united_mm=[-1000.0 - k for k in many])
    faults.miscounted = [(k, k, k + 1) for k in many]
    faults.cancelled = [(-1000.0 - k, k * 1e-3, k * 1e3) for k in many]
    problems = faults.problems()
    assert len(problems) == 5
    assert all("400" in problem.message or "395 more" in problem.message for problem in problems)
    assert max(len(problem.message) for problem in problems) < 600


def test_an_roi_of_which_nothing_is_left_is_empty() -> None:
    faults = RoiFaults("a", nothing_left=True, degenerate=[1, 2])
    assert [problem.code for problem in faults.errors()] == ["STRUCTURE_EMPTY"]
