"""Contours of one plane: copies, unions, holes and exclusive or, by closed forms."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.geometry.shapes import box, disc, disc_area
from vmat_rt.case import Polygon
from vmat_rt.geometry.plane_regions import ResolvedPlane, resolve_plane
from vmat_rt.geometry.scanline import areas_mm2

DISC = disc(20.0, (7.0, -3.0), 120)
AREA = disc_area(20.0, 120)


def area_mm2(plane: ResolvedPlane) -> float:
    return float(areas_mm2([plane.polygons], (-90.0, -90.0), (90.0, 90.0))[0])


@pytest.mark.parametrize(
    "copy",
    [
        DISC,
        np.round(DISC, 1),
        np.roll(DISC, 41, axis=0),
        DISC[::-1],
        np.add(DISC, (0.15, -0.1)),
        DISC[::3],
        (DISC - [7.0, -3.0]) * 1.005 + [7.0, -3.0],
        np.concatenate((DISC, DISC)),
    ],
    ids=["same", "rounded", "other start", "other way", "moved", "fewer points", "0.1 mm larger", "traced twice"],
)
def test_a_copy_counts_once(copy: Polygon) -> None:
    island = box(60, 60, 70, 70)
    plane = resolve_plane([DISC, island, copy])
    assert plane.repeated == (2,)
    assert plane.polygons[0] is DISC
    assert plane.polygons[1] is island
    assert len(plane.polygons) == 2
    assert plane.cancelled is None
    assert resolve_plane([DISC, copy], exclusive=True).repeated == (1,)


@pytest.mark.parametrize("wall_mm", [0.5, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("radius_mm", [20.0, 150.0])
def test_a_wall_is_not_a_pair_of_copies(wall_mm: float, radius_mm: float) -> None:
    pair = [disc(radius_mm, vertices=720), disc(radius_mm - wall_mm, vertices=720)]
    plane = resolve_plane(pair)
    assert plane.repeated == ()
    assert [a is b for a, b in zip(plane.polygons, pair, strict=True)] == [True, True]


@pytest.mark.parametrize("moved_mm", [0.3, 0.5, 0.7, 1.5])
def test_a_copy_moved_by_more_leaves_no_ring(moved_mm: float) -> None:
    """Up to 0.6 mm it counts as a copy, beyond the two are united; twice radius by distance is what a move adds."""
    plane = resolve_plane([DISC, np.add(DISC, (moved_mm, 0.0))])
    assert area_mm2(plane) == pytest.approx(AREA, rel=0.06)
    assert area_mm2(plane) >= AREA * (1 - 1e-9)
    assert bool(plane.repeated) != plane.united
    assert plane.cancelled is None


def test_a_wall_whose_inner_outline_crosses_a_little_stays_a_wall() -> None:
    plane = resolve_plane([DISC, np.add((DISC - [7.0, -3.0]) * 0.98 + [7.0, -3.0], (0.45, 0.0))])
    assert plane.repeated == ()


def test_a_film_that_two_copies_leave_is_told() -> None:
    plane = resolve_plane([DISC, (DISC - [7.0, -3.0]) * 0.985 + [7.0, -3.0]])
    assert plane.cancelled == pytest.approx((AREA * (1 - 0.985**2), AREA), rel=1e-4)


def test_small_neighbours_are_not_copies() -> None:
    plane = resolve_plane([disc(1.0), disc(1.0, (0.0, 0.9)), disc(1.0, (0.0, 5.0))])
    assert plane.repeated == ()
    lens = 2 * np.arccos(0.45) - 0.45 * np.sqrt(4 - 0.81)
    assert area_mm2(plane) == pytest.approx(3 * np.pi - lens, rel=0.01)


def test_partial_overlaps_are_united_in_any_direction() -> None:
    squares = [box(0, 0, 6, 6), box(3, 3, 9, 9)[::-1], box(20, 20, 22, 22)]
    plane = resolve_plane(squares)
    assert plane.united
    assert area_mm2(plane) == pytest.approx(36 + 36 - 9 + 4, rel=1e-6)
    assert any(polygon is squares[2] for polygon in plane.polygons)


def test_exclusive_contours_exclude_what_they_share() -> None:
    plane = resolve_plane([box(0, 0, 6, 6), box(3, 3, 9, 9)], exclusive=True)
    assert not plane.united
    assert area_mm2(plane) == pytest.approx(36 + 36 - 2 * 9, rel=1e-6)


def test_nested_contours_are_holes_and_islands_as_drawn() -> None:
    nested = [disc(9.0), disc(6.0), disc(3.0), disc(2.0, (0.0, 30.0))]
    plane = resolve_plane(nested)
    assert all(a is b for a, b in zip(plane.polygons, nested, strict=True))
    assert area_mm2(plane) == pytest.approx(disc_area(9.0) - disc_area(6.0) + disc_area(3.0) + disc_area(2.0), rel=1e-6)


def test_overlapping_holes_are_one_hole_and_bars_may_enclose_one() -> None:
    holes = resolve_plane([box(0, 0, 30, 30), box(5, 5, 15, 15), box(10, 10, 20, 20)])
    assert area_mm2(holes) == pytest.approx(900 - 175, rel=1e-6)
    frame = [box(0, 0, 4, 20), box(16, 0, 20, 20), box(0, 0, 20, 4), box(0, 16, 20, 20)]
    island = box(8, 8, 12, 12)
    assert area_mm2(resolve_plane([*frame, island])) == pytest.approx(400 - 144 + 16, rel=1e-6)


def test_contours_that_touch_stay_as_drawn() -> None:
    pair = [box(0, 0, 5, 5), box(0, 5, 5, 9)]
    plane = resolve_plane(pair)
    assert not plane.united
    assert plane.polygons[1] is pair[1]


def test_what_cancels_is_told() -> None:
    exclusive = resolve_plane([box(0, 0, 20, 20), box(0, 1, 20, 21)], exclusive=True)
    assert exclusive.cancelled == pytest.approx((40.0, 400.0), rel=1e-5)
    assert resolve_plane([box(0, 0, 20, 20), box(1, 1, 18, 18)]).cancelled is None


def test_a_round_and_back_that_was_rounded_counts_once() -> None:
    plane = resolve_plane([np.concatenate((DISC, DISC[:1], DISC[::-1] + 0.01))])
    assert plane.wound == (0,)
    assert area_mm2(plane) == pytest.approx(AREA, rel=2e-3)


def test_round_and_back_that_never_closes_is_told() -> None:
    plane = resolve_plane([np.concatenate((DISC, DISC[::-1] + 0.01))])
    assert plane.cancelled is not None
    assert resolve_plane([np.concatenate((DISC, DISC[::-1]))]).cancelled is not None


def test_a_line_drawn_there_and_back_is_told() -> None:
    line = np.stack((np.linspace(0, 30, 31), np.linspace(0, 10, 31)), axis=1)
    assert resolve_plane([np.concatenate((line, line[::-1] + 0.02))]).cancelled is not None


def test_many_islands_in_an_outline_are_resolved_quickly() -> None:
    islands = [disc(1.0, (4.0 * i - 60, 4.0 * j - 60)) for i in range(20) for j in range(20)]
    start = time.process_time()
    plane = resolve_plane([disc(150.0, vertices=700), *islands])
    assert time.process_time() - start < 3.0
    assert len(plane.polygons) == 401
