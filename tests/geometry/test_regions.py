"""One outline by non-zero winding: closed forms."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.geometry.shapes import box, disc, disc_area, shoelace
from vmat_rt.case import Polygon
from vmat_rt.geometry.regions import is_tangled, region_of, shared_mm2, united
from vmat_rt.geometry.regions import paths_area_mm2 as area_of
from vmat_rt.geometry.scanline import areas_mm2

OUTER, INNER = disc(8.0, (31.0, -12.0)), disc(3.5, (31.0, -12.0))


def keyhole(outer: Polygon, inner: Polygon) -> Polygon:
    return np.concatenate((outer, outer[:1], inner[-1:], inner))


def spiral(turns: float) -> Polygon:
    """Inwards round the middle by so many turns, and straight back to its start."""
    angle = np.linspace(0, 2 * np.pi * turns, int(90 * turns))
    radius = 20.0 - 4.0 * angle / (2 * np.pi)
    return np.stack((radius * np.sin(angle), radius * np.cos(angle)), axis=1)


def even_odd_mm2(polygons: tuple[Polygon, ...]) -> float:
    return float(areas_mm2([polygons], (-60.0, -60.0), (60.0, 60.0))[0])


# Name: outline, area of the region, whether even-odd would see another.
OUTLINES = {
    "disc": (OUTER, disc_area(8.0), False),
    "keyhole": (keyhole(OUTER, INNER[::-1]), disc_area(8.0) - disc_area(3.5), False),
    "figure eight": (np.array([[0.0, 0.0], [10.0, 10.0], [0.0, 10.0], [10.0, 0.0]]), 50.0, False),
    "twice round": (np.tile(OUTER, (2, 1)), disc_area(8.0), True),
    "three times round": (np.tile(OUTER, (3, 1)), disc_area(8.0), False),
    "round and back": (np.concatenate((OUTER, OUTER[:1], OUTER[:0:-1])), disc_area(8.0), True),
    "twice, second moved": (np.concatenate((OUTER, OUTER + 1e-4)), disc_area(8.0), True),
    "overlapping end": (np.concatenate((OUTER, OUTER[:30], OUTER[29:0:-1] * 1.0)), disc_area(8.0), False),
    "pentagram": (disc(8.0, vertices=5)[[0, 2, 4, 1, 3]], None, True),
}


@pytest.mark.parametrize("name", OUTLINES)
def test_an_outline_encloses_every_part_once(name: str) -> None:
    outline, area, rewritten = OUTLINES[name]
    for drawn in (outline, outline[::-1], np.roll(outline, 17, axis=0)):
        region = region_of(drawn)
        assert region.rewritten == rewritten
        if area is not None:
            assert region.area_mm2 == pytest.approx(area, rel=1e-4)
        assert even_odd_mm2(region.polygons) == pytest.approx(region.area_mm2, rel=1e-3)
        if not rewritten:
            assert region.polygons[0] is drawn


def test_a_pentagram_has_its_middle() -> None:
    inner = 8.0 * np.cos(np.radians(72)) / np.cos(np.radians(36))
    whole = 5 * 8.0 * inner * np.sin(np.radians(36))
    assert region_of(OUTLINES["pentagram"][0]).area_mm2 == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("turns", [1.5, 2.0, 2.75])
def test_a_spiral_is_all_that_its_outermost_turn_encloses(turns: float) -> None:
    outline = spiral(turns)
    region = region_of(outline)
    assert region.rewritten
    outermost = outline[:90]
    assert region.area_mm2 == pytest.approx(shoelace(outermost), rel=0.06)
    assert region.area_mm2 > 1.2 * even_odd_mm2((outline,))


@pytest.mark.parametrize("vertices", [3, 5, 4000, 60_000])
def test_an_outline_of_any_length_is_judged_quickly_and_kept(vertices: int) -> None:
    angle = 2 * np.pi * np.arange(vertices) / vertices
    radius = 30 + 10 * np.sin(5 * angle) * (vertices > 5)
    outline = np.stack((20 + radius * np.sin(angle), radius * np.cos(angle) ** 3), axis=1)
    start = time.process_time()
    region = region_of(outline)
    assert time.process_time() - start < 1.0
    assert region.polygons[0] is outline
    assert region.area_mm2 == pytest.approx(shoelace(outline), rel=1e-3)


def test_union_and_intersection_do_not_ask_for_a_direction() -> None:
    one, other = box(0, 0, 10, 10), box(5, 5, 15, 15)
    for second in (other, other[::-1]):
        regions = region_of(one), region_of(second)
        assert shared_mm2(*regions) == pytest.approx(25.0, rel=1e-6)
        assert area_of(united(regions)) == pytest.approx(175.0, rel=1e-6)


def test_a_tangle_is_known_before_it_is_resolved() -> None:
    rng = np.random.default_rng(1)
    assert is_tangled(rng.normal(0, 30, (2000, 2)))
    angle = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    radius = 40 + rng.normal(0, 0.3, 20_000)
    noisy = np.stack((radius * np.sin(angle), radius * np.cos(angle)), axis=1)
    for outline in (noisy, spiral(2.75), np.tile(OUTER, (3, 1)), rng.normal(0, 30, (100, 2))):
        assert not is_tangled(outline)
        start = time.process_time()
        region_of(outline)
        assert time.process_time() - start < 3.0
