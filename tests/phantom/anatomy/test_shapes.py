"""Shapes in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from vmat_rt.phantom.anatomy.shapes import FAR, Points, common, cone, ellipsoid, slab, sphere, tube, union, without


def test_a_rod_without_length_is_a_ball() -> None:
    axis = np.linspace(-9, 9, 7, dtype=np.float32)
    points = Points(*np.meshgrid(axis, axis, axis, indexing="ij"))
    rod = cone(points, (1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 3.0, 4.0))
    np.testing.assert_allclose(rod, sphere(points, (1.0, 2.0, 3.0), 4.0), atol=1e-5)


def along(values: list[float]) -> Points:
    """Points on the x axis."""
    x = np.array(values, np.float32).reshape(1, 1, -1)
    return Points(np.zeros_like(x), np.zeros_like(x), x)


@pytest.mark.parametrize(("x", "distance"), [(0, -4), (4, 0), (-4, 0), (7, 3), (-10, 6)])
def test_a_sphere_is_its_signed_distance(x: float, distance: float) -> None:
    assert float(sphere(along([x]), (0.0, 0.0, 0.0), 4.0)[0, 0, 0]) == distance


@pytest.mark.parametrize("radii", [(5.0, 5.0, 5.0), (3.0, 8.0, 6.0)])
def test_an_ellipsoid_is_zero_on_its_surface_with_slope_one(radii: tuple[float, float, float]) -> None:
    at = along([-radii[2], radii[2], radii[2] - 0.05, radii[2] + 0.05])
    found = ellipsoid(at, (0.0, 0.0, 0.0), radii)[0, 0]
    np.testing.assert_allclose(found, [0, 0, -0.05, 0.05], atol=2e-3)


@pytest.mark.parametrize(("x", "radius"), [(0.0, 2.0), (5.0, 3.0), (10.0, 4.0)])
def test_a_cones_radius_goes_from_one_end_to_the_other(x: float, radius: float) -> None:
    y = np.array([[[radius]]], np.float32)
    points = Points(np.zeros_like(y), y, np.full_like(y, x))
    found = cone(points, (0.0, 0.0, 0.0, 2.0), (0.0, 0.0, 10.0, 4.0))
    assert float(found[0, 0, 0]) == pytest.approx(0, abs=1e-6)


def test_solids_combine_as_sets_and_a_blend_rounds_the_crease() -> None:
    a, b = (np.array(values, np.float32) for values in ([-3, -1, 2, 4], [1, -2, -1, 5]))
    assert union(a, b).tolist() == [-3, -2, -1, 4]
    assert common(a, b).tolist() == [1, -1, 2, 5]
    assert without(a, b).tolist() == [-1, 2, 2, 4]
    assert without(a, b, gap_mm=1.5).tolist() == [0.5, 3.5, 2.5, 4]
    # At equal distances a blend of d takes off d / 4; where they differ by d or more, nothing.
    level = np.array([1.0, 1.0], np.float32)
    assert union(level, np.array([1.0, 9.0], np.float32), 4.0).tolist() == [0.0, 1.0]
    assert common(level, np.array([1.0, -9.0], np.float32), 4.0).tolist() == [2.0, 1.0]


def test_a_tube_is_its_rods_near_them_and_far_elsewhere() -> None:
    axis = np.linspace(-60, 60, 49, dtype=np.float32)
    points = Points(*np.meshgrid(axis, axis, axis, indexing="ij"))
    knots = [(0.0, 0.0, -30.0, 6.0), (0.0, 0.0, 0.0, 5.0), (0.0, 20.0, 0.0, 4.0)]
    found = tube(points, knots)
    truth = np.minimum(cone(points, knots[0], knots[1]), cone(points, knots[1], knots[2]))
    np.testing.assert_array_equal(found[truth < 16], truth[truth < 16])
    assert (found[truth >= 16] >= 16).all()
    assert found.max() == FAR


def test_a_slab_lies_between_its_faces_and_mirrored_points_are_on_both_sides() -> None:
    assert slab(np.array([0.0, 2, 5, 9], np.float32), 4.0, 2.0).tolist() == [2, 0, -1, 3]
    assert along([-3.0, 2.0]).mirror().x.ravel().tolist() == [3.0, 2.0]
