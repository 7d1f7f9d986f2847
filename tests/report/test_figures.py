"""Where things appear in the pictures: sides, shape and position are checked on the pixels themselves.

Covers vmat_rt.report.planes and vmat_rt.report.sampling.
"""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.report import synthetic
from vmat_rt.case import Case, Structure, Volume
from vmat_rt.grid import Grid
from vmat_rt.report.figures import Wash, draw_row, make_difference_wash, make_dose_wash
from vmat_rt.report.planes import Plane, cut_planes
from vmat_rt.report.sampling import compute_fraction, find_covered, is_empty, sample_volume

CT_GRID = Grid((40, 70, 104), (4.0, 3.0, 3.3), (-66.0, -84.0, -178.0), synthetic.FRAME)
RED = Wash("autumn_r", (0.0, 1.0), 0.5, {})


@pytest.fixture(scope="module")
def case() -> Case:
    return synthetic.case(CT_GRID)


@pytest.fixture(scope="module")
def planes(case: Case) -> tuple[Plane, ...]:
    return cut_planes(case, CT_GRID)


def ball(centre: tuple[float, float, float], radius_mm: float) -> Volume:
    """A ball of value 1, on a grid unlike the CT's."""
    grid = Grid((80, 110, 170), (2.0, 1.9, 2.1), (-66.0, -84.0, -178.0), synthetic.FRAME)
    z, y, x = (grid.axis_mm(a) - centre[a] for a in range(3))
    distance = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    return Volume(grid, (distance <= radius_mm).astype(np.float32))


def coloured_box(plane: Plane, dose: Volume) -> tuple[float, float, float, float]:
    """(left, right, top, bottom) of the coloured pixels, as parts of the panel."""
    png, _ = draw_row((plane,), [plane.sample(dose)], RED, {})
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    low, high = plane.ct.grid.bounds_mm
    down, across = plane.axes
    height = pixels.shape[0]
    width = height * (high[across] - low[across]) / (high[down] - low[down])
    assert width < pixels.shape[1], "the colour bar stands beside the panel"
    panel = pixels[:, : round(width)]
    rows, columns = np.nonzero(panel[..., 0] - panel[..., 2] > 40)
    return columns.min() / width, columns.max() / width, rows.min() / height, rows.max() / height


def test_planes_pass_through_the_target(planes: tuple[Plane, ...]) -> None:
    for plane, axis in zip(planes, range(3), strict=True):
        assert plane.position_mm == pytest.approx(synthetic.CENTRE[axis], abs=CT_GRID.spacing_mm[axis])
        assert plane.outlines["PTV 70"]


def test_planes_pass_through_a_target_that_is_hollow(case: Case) -> None:
    grid = Grid((60, 60, 60), (2.0, 2.0, 2.0), (-40.0, -30.0, -60.0), synthetic.FRAME)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, 60),) * 3, indexing="ij")
    shell = (np.hypot(y, x) > 0.7) & (np.hypot(y, x) < 0.9) & (np.abs(z) < 0.5) & (x < 0.3)
    target = Structure("PTV 70", "PTV_7000", Volume(grid, shell.astype(np.float32)))
    hollow = replace(case, structures={"PTV_7000": target})
    for plane in cut_planes(hollow, CT_GRID):
        assert compute_fraction(target, plane.grid).any(), plane.view


def test_without_a_target_the_planes_pass_through_the_dose(case: Case) -> None:
    empty = Structure("PTV 70", "PTV_7000", None)
    bare = replace(case, structures={"PTV_7000": empty})
    for plane, axis in zip(cut_planes(bare, CT_GRID), range(3), strict=True):
        assert abs(plane.position_mm - CT_GRID.centre_mm[axis]) <= CT_GRID.spacing_mm[axis]
        assert "PTV 70" not in plane.outlines


def test_left_front_and_head_are_where_the_letters_say(planes: tuple[Plane, ...]) -> None:
    axial, coronal, sagittal = planes
    z, y, x = (plane.position_mm for plane in planes)
    left, front, head = ball((z, y, x + 60), 20), ball((z, y - 50, x), 20), ball((z + 50, y, x), 20)
    assert min(coloured_box(axial, left)[:2]) > 0.5, "the patient's left is on the right of an axial picture"
    assert min(coloured_box(coronal, left)[:2]) > 0.5, "and of a coronal one"
    assert max(coloured_box(axial, front)[2:]) < 0.5, "the front is at the top of an axial picture"
    assert max(coloured_box(sagittal, front)[:2]) < 0.5, "and on the left of a sagittal one"
    assert max(coloured_box(coronal, head)[2:]) < 0.5, "the head is at the top"
    assert max(coloured_box(sagittal, head)[2:]) < 0.5


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_ball_is_round_and_in_its_place(planes: tuple[Plane, ...], index: int) -> None:
    plane = planes[index]
    centre = tuple(p.position_mm for p in planes)
    left, right, top, bottom = coloured_box(plane, ball(centre, 30))  # type: ignore[arg-type]
    low, high = plane.ct.grid.bounds_mm
    down, across = plane.axes
    height, width = high[down] - low[down], high[across] - low[across]
    assert (right - left) * width == pytest.approx(60, abs=4)
    assert (bottom - top) * height == pytest.approx(60, abs=4)
    assert low[across] + (left + right) / 2 * width == pytest.approx(centre[across], abs=2.5)
    middle = (top + bottom) / 2 * height
    vertical = low[down] + middle if plane.view == "axial" else high[down] - middle
    assert vertical == pytest.approx(centre[down], abs=2.5)


def test_outlines_have_the_size_of_the_structure(planes: tuple[Plane, ...]) -> None:
    radii = synthetic.ELLIPSOIDS["PTV_7000"][1]
    for plane in planes:
        curve = np.concatenate(plane.outlines["PTV 70"])
        down, across = plane.axes
        size = curve.max(axis=0) - curve.min(axis=0)
        assert size[0] == pytest.approx(2 * radii[across], abs=3)
        assert size[1] == pytest.approx(2 * radii[down], abs=5)


def test_what_a_dose_does_not_cover_is_not_a_number() -> None:
    dose = Volume(Grid((4, 4, 4), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), "f"), np.full((4, 4, 4), 5, np.float32))
    coarse = Grid((3, 1, 1), (4.0, 4.0, 4.0), (1.0, 1.0, 1.0), "f")
    values = sample_volume(dose, coarse)[:, 0, 0]
    assert values[:2] == pytest.approx([5, 5])
    assert np.isnan(values[2])
    assert find_covered(dose.grid, dose.grid).all()


def test_dose_bar_reaches_hot_spots_and_difference_bar_is_symmetric() -> None:
    prescription = {"PTV_7000": 70.0, "PTV_5600": 56.0}
    assert make_dose_wash(prescription, 60.0).range_gy == (0.0, pytest.approx(74.9))
    assert make_dose_wash(prescription, 81.0).range_gy == (0.0, 81.0)
    assert make_dose_wash(prescription, 81.0).marks == {70.0: "70 PTV_7000", 56.0: "56 PTV_5600"}
    low, high = make_difference_wash(prescription).range_gy
    assert low == -high


def test_empty_structures_are_known() -> None:
    assert is_empty(Structure("a", None, None))
    grid = Grid((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), "f")
    assert is_empty(Structure("a", None, Volume(grid, np.zeros(grid.shape, np.float32))))
