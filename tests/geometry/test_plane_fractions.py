"""Exact coverage of pixels: closed forms, then properties against a truth that works line by line.

Covers vmat_rt.geometry.rasterize and vmat_rt.geometry.scanline.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.geometry.shapes import FRAME, GRID, box, disc, disc_area, line_by_line, rotated, shoelace
from vmat_rt.case import Polygon
from vmat_rt.errors import GeometryError
from vmat_rt.geometry.rasterize import plane_fractions
from vmat_rt.geometry.scanline import areas_mm2
from vmat_rt.grid import Grid

PIXEL_MM2 = GRID.spacing_mm[1] * GRID.spacing_mm[2]
CENTRE = (GRID.centre_mm[1], GRID.centre_mm[2])
CY, CX = CENTRE


def area_mm2(polygons: list[Polygon]) -> float:
    return float(plane_fractions([polygons], GRID).sum(dtype=np.float64)) * PIXEL_MM2


@pytest.mark.parametrize("degrees", [0, 0.001, 7, 45, 90, 133])
def test_rotated_rectangles_have_their_area(degrees: float) -> None:
    polygon = rotated(box(CY - 4.3, CX - 6.1, CY + 4.3, CX + 6.1), degrees, CENTRE)
    assert area_mm2([polygon]) == pytest.approx(8.6 * 12.2, rel=1e-6)


@pytest.mark.parametrize("radius", [0.2, 1.0, 3.0, 9.0])
def test_discs_have_the_area_of_their_polygon(radius: float) -> None:
    assert area_mm2([disc(radius, CENTRE)]) == pytest.approx(disc_area(radius), rel=1e-6)


def test_a_triangle_covers_half_of_each_pixel_on_its_diagonal() -> None:
    grid = Grid((1, 4, 4), (1.0, 2.0, 3.0), (0.0, 1.0, 1.5), FRAME)
    covered = plane_fractions([[np.array([[0.0, 0.0], [8.0, 0.0], [8.0, 12.0]])]], grid)[0]
    np.testing.assert_allclose(covered, np.tril(np.ones((4, 4)), -1) + np.eye(4) / 2, atol=1e-7)


def test_a_box_inside_one_pixel_covers_its_share() -> None:
    covered = plane_fractions([[box(12.1, -7.2, 12.4, -6.9)]], GRID)[0]
    assert covered[0, 0] == pytest.approx(0.3 * 0.3 / PIXEL_MM2, rel=1e-6)
    assert np.count_nonzero(covered) == 1


def test_rings_as_two_contours_and_as_a_keyhole_agree() -> None:
    outer, inner = disc(8.0, CENTRE), disc(3.5, CENTRE)
    keyhole = np.concatenate((outer, outer[:1], inner[::-1][-1:], inner[::-1], outer[:1]))
    expected = disc_area(8.0) - disc_area(3.5)
    two, one = plane_fractions([[outer, inner], [keyhole]], GRID)
    assert two.sum(dtype=np.float64) * PIXEL_MM2 == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_an_island_in_a_hole_counts_again() -> None:
    nested = [disc(r, CENTRE) for r in (9.0, 6.0, 3.0)]
    assert area_mm2(nested) == pytest.approx(disc_area(9.0) - disc_area(6.0) + disc_area(3.0), rel=1e-6)


def test_a_bow_tie_is_its_two_triangles() -> None:
    bow_tie = np.array([[CY - 4, CX - 6], [CY + 4, CX + 6], [CY - 4, CX + 6], [CY + 4, CX - 6]])
    assert area_mm2([bow_tie]) == pytest.approx(4 * 12, rel=1e-6)


def test_overlapping_squares_exclude_what_they_share() -> None:
    squares = [box(CY - 5, CX - 5, CY + 1, CX + 1), box(CY - 2, CX - 2, CY + 4, CX + 4)]
    assert area_mm2(squares) == pytest.approx(36 + 36 - 2 * 9, rel=1e-6)


def test_a_pentagram_leaves_its_middle_out() -> None:
    star = disc(8.0, CENTRE, vertices=5)[[0, 2, 4, 1, 3]]
    # Points of the star: five triangles round a pentagon of radius R cos 72 / cos 36; the pentagon is covered twice.
    inner = 8.0 * np.cos(np.radians(72)) / np.cos(np.radians(36))
    whole = 5 * 8.0 * inner * np.sin(np.radians(36))
    assert area_mm2([star]) == pytest.approx(whole - disc_area(inner, 5), rel=1e-6)


def test_the_same_contour_twice_is_nothing() -> None:
    assert not plane_fractions([[disc(6.0, CENTRE), disc(6.0, CENTRE)[::-1]]], GRID).any()


def test_a_closing_vertex_duplicates_and_direction_do_not_matter() -> None:
    plain = disc(7.0, CENTRE)
    closed = np.concatenate((np.repeat(plain, 2, axis=0), plain[:1]))[::-1]
    one, other = plane_fractions([[plain], [closed]], GRID)
    np.testing.assert_allclose(one, other, atol=1e-7)


def test_points_and_lines_cover_nothing() -> None:
    point, line = np.array([[CY, CX]]), np.array([[CY, CX], [CY + 5.0, CX + 3.0]])
    assert not plane_fractions([[point], [line], [point[:0]], []], GRID).any()


@pytest.mark.parametrize("shift", [(0, -16), (0, 16), (-14, 0), (14, 0), (-12, 13), (-60, 0), (0, -60), (0, 60)])
def test_what_leaves_the_grid_is_clipped_on_every_side(shift: tuple[float, float]) -> None:
    shapes = [disc(9.0, (CY + shift[0], CX + shift[1])), disc(4.0, (CY + shift[0], CX + shift[1]))]
    wide = Grid((1, 23 + 200, 31 + 200), GRID.spacing_mm, (0.0, 12.0 - 110.0, -7.0 - 90.0), FRAME)
    np.testing.assert_allclose(
        plane_fractions([shapes], GRID)[0], plane_fractions([shapes], wide)[0, 100:-100, 100:-100], atol=1e-6
    )


def test_a_polygon_round_the_whole_grid_fills_it() -> None:
    assert np.all(plane_fractions([[disc(1e5, CENTRE)]], GRID) == 1)


def test_planes_of_a_stack_do_not_touch_each_other() -> None:
    tall = box(CY - 500, CX - 3, CY + 500, CX + 3)
    sets: list[list[Polygon]] = [[tall], [], [disc(5.0, CENTRE)], [tall, disc(2.0, CENTRE)]]
    stacked = plane_fractions(sets, GRID)
    for covered, polygons in zip(stacked, sets, strict=True):
        np.testing.assert_array_equal(covered, plane_fractions([polygons], GRID)[0])


def test_many_planes_are_scanned_in_parts_with_one_result() -> None:
    sets = [[disc(4.0 + 0.01 * k, CENTRE)] for k in range(600)]
    fine = Grid((1, 60, 70), (1.0, 0.4, 0.35), (0.0, CY - 12, CX - 12), FRAME)
    areas = plane_fractions(sets, fine).sum(axis=(1, 2), dtype=np.float64) * 0.4 * 0.35
    np.testing.assert_allclose(areas, [disc_area(4.0 + 0.01 * k) for k in range(600)], rtol=1e-6)


def test_edges_within_a_billionth_of_level_stay_bounded() -> None:
    nearly = np.array([[CY, CX - 9], [CY + 1e-13, CX + 9], [CY - 1e-12, CX + 9], [CY + 5, CX], [CY - 1e-11, CX - 9]])
    assert area_mm2([nearly]) == pytest.approx(shoelace(nearly), abs=1e-5)


def test_a_noisy_flat_back_is_scanned_along_the_other_axis_with_one_result() -> None:
    rng = np.random.default_rng(4)
    x = np.linspace(CX - 13, CX + 12, 200)
    back = np.stack((CY + 6 + rng.normal(0, 0.2, 200), x), axis=1)
    polygon = np.concatenate((back, [[CY - 7, CX + 12], [CY - 7, CX - 13]]))
    across, down = plane_fractions([[polygon]], GRID)[0], line_by_line([polygon], GRID, lines=40)
    np.testing.assert_allclose(across, down, atol=0.05)
    assert area_mm2([polygon]) == pytest.approx(shoelace(polygon), rel=1e-6)
    box_area = areas_mm2([[polygon]], (CY - 20, CX - 20), (CY + 20, CX + 20))
    assert box_area[0] == pytest.approx(shoelace(polygon), rel=1e-9)


def test_coordinates_that_are_not_numbers_are_refused() -> None:
    broken = disc(5.0, CENTRE)
    broken[3, 1] = np.nan
    with pytest.raises(GeometryError, match="not a number"):
        plane_fractions([[broken]], GRID)


def test_areas_need_no_pixels() -> None:
    sets = [[disc(8.0, CENTRE), disc(3.0, CENTRE)], [box(CY - 3, CX - 3, CY + 3, CX + 3)]]
    whole = areas_mm2(sets, (CY - 20, CX - 20), (CY + 20, CX + 20))
    np.testing.assert_allclose(whole, [disc_area(8.0) - disc_area(3.0), 36.0], rtol=1e-9)
    half = areas_mm2(sets, (CY - 20, CX - 20), (CY + 20, CX + 1))
    assert half[1] == pytest.approx(24.0, rel=1e-9)


# Halves of pixels make vertices on vertices, on edges and on pixel faces; free numbers make everything else.
SMALL = Grid((1, 5, 6), (1.0, 1.0, 1.0), (0.0, 0.5, 0.5), FRAME)
COORDINATE = st.one_of(
    st.integers(-2, 14).map(lambda i: i / 2), st.floats(-2, 8, allow_nan=False, allow_infinity=False, width=32)
)
POLYGON = st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=7).map(lambda p: np.array(p, np.float64))
POLYGONS = st.lists(POLYGON, min_size=1, max_size=3)


@settings(max_examples=120, deadline=None)
@given(POLYGONS)
def test_any_polygons_agree_with_the_line_by_line_truth(polygons: list[NDArray[np.float64]]) -> None:
    covered = plane_fractions([polygons], SMALL)[0]
    truth = line_by_line(polygons, SMALL)
    assert covered.min() >= 0
    assert covered.max() <= 1
    # A line stands for 1/64 of a row: each vertex or crossing in a row may misplace that much of it.
    np.testing.assert_allclose(covered, truth, atol=0.1)
    assert covered.sum() == pytest.approx(truth.sum(), abs=0.35)


@settings(max_examples=60, deadline=None)
@given(POLYGONS, st.integers(-3, 3), st.integers(-3, 3))
def test_moving_by_whole_pixels_moves_the_result(polygons: list[NDArray[np.float64]], down: int, right: int) -> None:
    wide = Grid((1, 20, 20), (1.0, 1.0, 1.0), (0.0, -5.5, -5.5), FRAME)
    moved = [polygon + np.array([down, right]) for polygon in polygons]
    here, there = plane_fractions([polygons, moved], wide)
    np.testing.assert_allclose(np.roll(here, (down, right), (0, 1)), there, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(POLYGONS)
def test_swapping_axes_swaps_the_result(polygons: list[NDArray[np.float64]]) -> None:
    square = Grid((1, 14, 14), (1.0, 1.0, 1.0), (0.0, -3.5, -3.5), FRAME)
    here, there = plane_fractions([polygons, [polygon[:, ::-1] for polygon in polygons]], square)
    np.testing.assert_allclose(here.T, there, atol=1e-5)
