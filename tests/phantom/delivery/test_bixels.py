"""Which bixels a beam opens: by the projection of points from a source at 1000 mm, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vmat_rt.geometry.rays import Fan
from vmat_rt.phantom.delivery.bixels import Bixels, find_open_bixels

CENTRE = (10.0, 20.0, 30.0)


def fan(*angles_deg: float) -> Fan:
    return Fan(angles_deg, CENTRE, (4, 4), (-1.0, -1.0), (1.0, 1.0), (2, 2, 2), (0.0, 0.0, 0.0))


def opened(place: tuple[float, float, float], angle: float, bixel_mm: float = 5.0, margin_mm: float = 0.0) -> Bixels:
    points = np.array([np.add(CENTRE, place)], np.float32)
    return find_open_bixels(fan(angle), points, bixel_mm, margin_mm)


@pytest.mark.parametrize(
    ("place", "angle", "bixel"),
    [
        ((0, 0, 0), 33.0, (0, 0)),
        ((10, 0, 0), 33.0, (2, 0)),  # along the couch: v
        ((0, 0, 10), 0.0, (0, 2)),  # from above: left is u
        ((0, 0, 10), 180.0, (0, -2)),
        ((0, 10, 0), 90.0, (0, 2)),  # from the left: back is u
        ((30, -500, 0), 0.0, (12, 0)),  # half way to the source everything is twice as large
        ((30, 500, 0), 0.0, (4, 0)),
    ],
)
def test_a_point_opens_the_bixel_it_projects_into(
    place: tuple[float, float, float], angle: float, bixel: tuple[int, int]
) -> None:
    found = opened(place, angle)
    assert (found.row.tolist(), found.column.tolist()) == ([bixel[0]], [bixel[1]])


def test_a_margin_opens_the_bixels_whose_centres_lie_within_it() -> None:
    found = opened((0, 0, 0), 0.0, margin_mm=7.1)  # 5 sqrt(2) = 7.07
    assert sorted(zip(found.row.tolist(), found.column.tolist(), strict=True)) == [
        (v, u) for v in (-1, 0, 1) for u in (-1, 0, 1)
    ]
    assert opened((0, 0, 0), 0.0, margin_mm=7.0).count == 5


def test_beams_stand_one_after_the_other() -> None:
    points = np.array([np.add(CENTRE, (0, 0, x)) for x in (-20, 20)], np.float32)
    found = find_open_bixels(fan(0.0, 90.0), points, 5.0, 0.0)
    assert found.start.tolist() == [0, 2, found.count]
    assert found.beam.tolist() == [0, 0, *[1] * (found.count - 2)]
    row, column, index = found.of_beam(0)
    assert (row.tolist(), column.tolist(), index.tolist()) == ([0, 0], [0, 8], [0, 1])
