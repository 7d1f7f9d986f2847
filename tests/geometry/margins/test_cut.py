"""A structure less others that are grown: spheres and cylinders in closed form, drawn as clinics draw them.

Covers vmat_rt.geometry.margins.grow.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.geometry.shapes import FRAME, box, contours, disc
from vmat_rt.case import ContourPlane, Contours, Structure, Volume
from vmat_rt.errors import GeometryError
from vmat_rt.geometry.margins.cut import outside_grown
from vmat_rt.geometry.margins.grow import grow_sections
from vmat_rt.geometry.rasterize import structure_fraction, volume_cc
from vmat_rt.grid import Grid

CENTRE = (31.3, -12.7, 8.9)


def ball(radius: float, slab_mm: float, phase: float = 0.3, inner: float = 0.0) -> Structure:
    """A sphere as drawn: its circle on every plane that cuts it, and the circle of an inner one as a hole."""
    planes = []
    for z in (np.arange(-60, 60) + phase) * slab_mm:
        rings = [disc(float(np.sqrt(r * r - z * z)), CENTRE[1:], 240) for r in (radius, inner) if r > abs(z) + 1e-6]
        if rings:
            planes.append(ContourPlane(CENTRE[0] + float(z), tuple(rings)))
    return Structure(f"ball {radius}", f"ball {radius}", Contours(tuple(planes), slab_mm, FRAME))


def left(structure: Structure, others: list[Structure], margin_mm: float) -> Structure:
    shape = outside_grown(structure, others, margin_mm)
    assert shape is not None
    return Structure("left", None, shape)


def sphere_cc(radius: float) -> float:
    return 4 / 3 * np.pi * radius**3 / 1000


@pytest.mark.parametrize("phase", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("slab_mm", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("margin_mm", [0.0, 3.0, 5.0, 8.0])
def test_a_ball_less_a_grown_ball_is_the_shell_between_them(margin_mm: float, slab_mm: float, phase: float) -> None:
    """To 0.12 mm of the grown ball's surface, whatever the planes."""
    outer, inner = ball(35, slab_mm, phase), ball(20, slab_mm, phase)
    cut_cc = volume_cc(outer) - volume_cc(left(outer, [inner], margin_mm))
    reach = 20 + margin_mm
    allowed_cc = 0.12 * 4 * np.pi * reach**2 / 1000
    assert cut_cc == pytest.approx(sphere_cc(reach), abs=allowed_cc)


@pytest.mark.parametrize("margin_mm", [2.0, 5.0])
def test_it_does_not_matter_whether_the_inner_part_was_left_out_already(margin_mm: float) -> None:
    inner = ball(20, 3.0)
    holding, leaving_out = (left(ball(35, 3.0, inner=hole), [inner], margin_mm) for hole in (0.0, 20.0))
    assert volume_cc(leaving_out) == pytest.approx(volume_cc(holding), rel=1e-9)
    assert len(leaving_out.shape.planes) == len(holding.shape.planes)  # type: ignore[union-attr]


def test_without_a_margin_a_common_edge_leaves_no_sliver() -> None:
    """The ring's own edge and the traced edge of what it surrounds are two lines a hundredth of a millimetre apart."""
    inner = ball(20, 3.0, phase=0.0)
    ring = ball(35, 3.0, phase=0.0, inner=20)
    found = left(ring, [inner], 0.0)
    assert volume_cc(found) == pytest.approx(volume_cc(ring), rel=2e-3)
    assert isinstance(found.shape, Contours)
    assert all(len(plane.polygons) <= 2 for plane in found.shape.planes)


def test_a_margin_reaches_beyond_the_last_plane_of_what_is_grown() -> None:
    """A cylinder of 40 mm grows by 5 mm at its ends as well: there the corner is round."""
    slab, half = 2.5, 20.0
    z = np.arange(-30, 31) * slab
    outer = Structure("o", "o", contours({float(k): [disc(40, vertices=240)] for k in z}, slab))
    held = {float(k): [disc(10, vertices=240)] for k in z if abs(k) < half}
    inner = Structure("i", "i", contours(held, slab))
    top = max(held) + slab / 2
    sections = grow_sections(inner, 5.0, np.array([0.0, top + 3.0, top + 4.9, top + 5.1]))
    radii = [max((np.hypot(*polygon.T).max() for polygon in polygons), default=0.0) for polygons in sections]
    assert radii[:3] == pytest.approx([15.0, 10 + 4.0, 10 + np.sqrt(25 - 4.9**2)], abs=0.1)
    assert radii[3] == 0
    # 2 pi^2 r Rc is the quarter ring round an edge, less its own middle: Pappus.
    grown_mm3 = np.pi * 10**2 * 2 * (top + 5) + np.pi * (15**2 - 10**2) * 2 * top
    grown_mm3 += 2 * 2 * np.pi * (10 + 4 * 5 / (3 * np.pi)) * np.pi * 25 / 4
    cut_cc = volume_cc(outer) - volume_cc(left(outer, [inner], 5.0))
    assert cut_cc == pytest.approx(grown_mm3 / 1000, rel=0.01)


def test_several_others_are_cut_as_their_union() -> None:
    outer = ball(40, 2.0)
    one, other = ball(12, 2.0), ball(18, 2.0)
    both = left(outer, [one, other], 4.0)
    assert volume_cc(both) == pytest.approx(volume_cc(left(outer, [other], 4.0)), rel=1e-6)


def test_what_lies_within_is_nothing() -> None:
    assert outside_grown(ball(22, 2.0), [ball(20, 2.0)], 5.0) is None


def test_what_lies_apart_is_kept_as_drawn() -> None:
    far = replace(ball(10, 2.0), shape=contours({200.0: [box(300, 300, 320, 320)]}, 2.0))
    outer = ball(30, 2.0)
    found = left(outer, [far], 5.0)
    assert found.shape.planes == outer.shape.planes  # type: ignore[union-attr]
    assert volume_cc(found) == volume_cc(outer)


def test_planes_of_which_nothing_is_left_end_the_solid() -> None:
    """A tall lower target round a short higher one: above and below it stays, without what is between."""
    slab = 3.0
    tall = Structure("t", "t", contours({float(k * slab): [disc(20)] for k in range(-20, 21)}, slab))
    short = Structure("s", "s", contours({float(k * slab): [disc(30)] for k in range(-3, 4)}, slab))
    found = left(tall, [short], 4.0)
    assert isinstance(found.shape, Contours)
    gone = 2 * (3 * slab + slab / 2 + 4)
    assert found.shape.connected is not None
    assert found.shape.connected.count(False) == 1
    assert volume_cc(found) == pytest.approx(volume_cc(tall) * (41 * slab - gone) / (41 * slab), rel=0.04)


def test_voxels_are_cut_as_contours_are() -> None:
    grid = Grid((64, 70, 74), (2.0, 1.5, 1.4), (-32.0, -66.0, -44.0), FRAME)
    outer, inner = ball(35, 2.0), ball(20, 2.0)
    voxels = [replace(one, shape=Volume(grid, structure_fraction(one, grid))) for one in (outer, inner)]
    exact = volume_cc(left(outer, [inner], 5.0))
    for held, others in ((voxels[0], [voxels[1]]), (voxels[0], [inner]), (outer, [voxels[1]])):
        assert volume_cc(left(held, others, 5.0)) == pytest.approx(exact, rel=0.015)


@pytest.mark.parametrize("margin_mm", [-1.0, float("nan"), float("inf")])
def test_a_margin_is_a_length(margin_mm: float) -> None:
    with pytest.raises(GeometryError, match="0 mm or more"):
        outside_grown(ball(20, 2.0), [ball(10, 2.0)], margin_mm)


def test_other_frames_are_refused() -> None:
    inner = ball(10, 2.0)
    other = replace(inner, shape=replace(inner.shape, frame_uid="9.9"))  # type: ignore[type-var]
    with pytest.raises(GeometryError, match="frames"):
        outside_grown(ball(20, 2.0), [other], 1.0)


@pytest.mark.parametrize("absent", [0, 1])
def test_what_has_no_shape_has_no_inside(absent: int) -> None:
    pair = [ball(20, 2.0), ball(10, 2.0)]
    pair[absent] = replace(pair[absent], shape=None)
    with pytest.raises(GeometryError, match="no inside"):
        outside_grown(pair[0], [pair[1]], 1.0)
