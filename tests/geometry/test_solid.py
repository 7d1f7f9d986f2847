"""Structures along z: interpolation, end caps, gaps, volumes and bounds, by closed forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.geometry.shapes import FRAME, GRID, box, contours, disc, disc_area, sphere, structure
from vmat_rt.case import ContourPlane, Contours, Structure, Volume
from vmat_rt.errors import GeometryError
from vmat_rt.geometry.rasterize import (
    bounds_mm,
    even_odd_mask,
    fraction,
    structure_fraction,
    volume_cc,
    volume_inside_cc,
)
from vmat_rt.geometry.solid import plane_stack, plane_weights_mm, slice_blend
from vmat_rt.grid import Grid

CY, CX = GRID.centre_mm[1:]
SQUARE = box(CY - 5, CX - 6, CY + 5, CX + 6)


def square_tower(z_mm: list[float], slab_mm: float) -> Contours:
    return contours({z: [SQUARE] for z in z_mm}, slab_mm)


def tall_grid(spacing_mm: float, first_mm: float, count: int) -> Grid:
    return Grid((count, 23, 31), (spacing_mm, *GRID.spacing_mm[1:]), (first_mm, *GRID.origin_mm[1:]), FRAME)


def covered_cc(shape: Contours, grid: Grid) -> float:
    return float(fraction(shape, grid).sum(dtype=np.float64)) * grid.voxel_cc


def test_a_slice_on_a_plane_is_that_plane_and_one_between_is_the_mean() -> None:
    shape = contours({0.0: [SQUARE], 3.0: [disc(4.0, (CY, CX))]}, 3.0)
    low, middle, high = fraction(shape, tall_grid(1.5, 0.0, 3))
    np.testing.assert_allclose(middle, (low + high) / 2, atol=1e-6)
    pixel = GRID.spacing_mm[1] * GRID.spacing_mm[2]
    assert low.sum() * pixel == pytest.approx(120, rel=1e-5)
    assert high.sum() * pixel == pytest.approx(disc_area(4.0), rel=1e-5)


@given(st.floats(-7, 7))
def test_a_run_meets_as_many_slices_as_it_has_planes_wherever_they_lie(offset_mm: float) -> None:
    stack = plane_stack(square_tower([0.0, 3.0, 6.0, 9.0], 3.0))
    blend = slice_blend(stack, np.arange(-30, 40, 3.0) + offset_mm)
    assert blend.inside.sum() == 4


@pytest.mark.parametrize("offset_mm", [0.0, 1.5, 1.4999, 1.50001])
def test_slices_half_a_slab_off_count_the_solid_once(offset_mm: float) -> None:
    shape = square_tower([0.0, 3.0, 6.0], 3.0)
    assert covered_cc(shape, tall_grid(3.0, -12 + offset_mm, 12)) == pytest.approx(120 * 9 / 1000, rel=1e-5)


def test_finer_slices_than_planes_are_a_linear_blend_and_leave_out_what_bulges() -> None:
    radii, height = (4.0, 6.0, 4.0), 3.0
    areas = [disc_area(radius) for radius in radii]
    shape = contours({height * k: [disc(radius, (CY, CX))] for k, radius in enumerate(radii)}, height)
    bend = (areas[0] - 2 * areas[1] + areas[2]) / height**2
    whole_mm3 = volume_cc(Structure("a", None, shape)) * 1000
    assert whole_mm3 + 2 * bend * height**3 / 12 == pytest.approx(
        covered_cc(shape, tall_grid(0.1, -2.97, 140)) * 1000, rel=2e-3
    )


def test_planes_apart_are_separate_runs_with_their_own_caps() -> None:
    shape = square_tower([0.0, 3.0, 9.0, 12.0], 3.0)
    stack = plane_stack(shape)
    assert stack.connected.tolist() == [True, False, True]
    blend = slice_blend(stack, np.array([-1.6, -1.5, 4.4, 4.5, 6.0, 7.4, 7.5, 13.4, 13.5]))
    assert blend.inside.tolist() == [False, True, True, False, False, False, True, True, False]
    assert volume_cc(Structure("a", None, shape)) == pytest.approx(120 * 12 / 1000)


@pytest.mark.parametrize(
    ("z_mm", "slab_mm", "connected", "length_mm"),
    [
        ([0.0, 3.0, 6.0, 12.0, 18.0], 3.0, (True, True, True, True), 1.5 + 18 + 3.0),
        ([0.0, 6.0, 12.0, 18.0, 21.0, 24.0], 6.0, None, 3.0 + 24 + 1.5),
        ([0.0, 3.0, 6.0, 12.0], 3.0, (True, True, True), 1.5 + 12 + 3.0),
        ([0.0, 3.0, 6.0, 9.0], 3.0, (True, False, True), 12.0),
        ([0.0, 3.0, 6.0, 7.0], 3.0, None, 1.5 + 7 + 1.5),
    ],
    ids=["3 then 6", "6 then 3", "one wide gap", "said to be apart", "one plane more"],
)
def test_planes_stand_for_half_the_way_to_each_neighbour(
    z_mm: list[float], slab_mm: float, connected: tuple[bool, ...] | None, length_mm: float
) -> None:
    shape = replace(square_tower(z_mm, slab_mm), connected=connected)
    assert plane_weights_mm(plane_stack(shape)).sum() == pytest.approx(length_mm)
    assert covered_cc(shape, tall_grid(0.5, -9.75, 90)) == pytest.approx(120 * length_mm / 1000, rel=1e-5)
    low, high = bounds_mm(Structure("a", None, shape))
    if connected is None or all(connected):
        assert high[0] - low[0] == pytest.approx(length_mm)


def test_connections_must_be_those_of_the_planes() -> None:
    with pytest.raises(GeometryError, match="1 connections do not belong to 3 planes"):
        plane_stack(replace(square_tower([0.0, 3.0, 6.0], 3.0), connected=(True,)))


def test_one_plane_is_a_slab() -> None:
    shape = square_tower([4.0], 2.5)
    assert volume_cc(Structure("a", None, shape)) == pytest.approx(120 * 2.5 / 1000)
    assert covered_cc(shape, tall_grid(2.5, -3.5, 9)) == pytest.approx(120 * 2.5 / 1000, rel=1e-5)


def test_planes_at_one_z_combine_by_xor() -> None:
    hole = disc(3.0, (CY, CX))
    planes = (ContourPlane(3.0, (hole,)), ContourPlane(0.0, (SQUARE,)), ContourPlane(3.0004, (SQUARE,)))
    shape = Contours(planes, 3.0, FRAME)
    assert volume_cc(Structure("a", None, shape)) == pytest.approx((240 - disc_area(3.0)) * 3 / 1000)


@given(st.floats(-4, 20), st.floats(0, 20))
def test_thickness_adds_up_over_adjoining_ranges(cut_mm: float, width_mm: float) -> None:
    stack = plane_stack(square_tower([0.0, 2.0, 5.0, 11.0, 14.0], 3.0))
    parts = [(-np.inf, cut_mm), (cut_mm, cut_mm + width_mm), (cut_mm + width_mm, np.inf)]
    together = sum(plane_weights_mm(stack, low, high) for low, high in parts)
    np.testing.assert_allclose(together, plane_weights_mm(stack), atol=1e-9)
    assert plane_weights_mm(stack).sum() == pytest.approx(5 + 3 + 3 + 3)


def test_a_frustum_counts_exactly_between_its_planes_and_goes_on_for_half_a_spacing() -> None:
    planes = {float(z): [disc(3.0 + z / 2, (CY, CX))] for z in range(0, 9, 2)}
    first, second, *_, last_but_one, last = (disc_area(3.0 + z / 2) for z in range(0, 9, 2))
    between = disc_area(1.0) * 8 / 3 * (3**2 + 3 * 7 + 7**2)
    ends = first + last + (first - second) / 4 + (last - last_but_one) / 4
    assert volume_cc(structure(planes, 2.0)) == pytest.approx((between + ends) / 1000, rel=1e-9)


@pytest.mark.parametrize("radius", [3.0, 6.0, 12.0, 30.0])
def test_a_sphere_keeps_its_volume_within_two_per_mille(radius: float) -> None:
    grid = Grid((41, 161, 173), (3.0, 0.97, 0.91), (-60.0, -77.0, -80.0), FRAME)
    shape = sphere(radius, (0.0, 1.3, -0.7), 3.0)
    assert covered_cc(shape, grid) == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=2e-3)


def test_the_part_inside_a_grid() -> None:
    shape = structure({float(z): [SQUARE] for z in range(-60, 1, 3)}, 3.0)
    # The grid begins at -41.5 mm; the tower ends at 1.5; its left edge lies inside, its right third beyond x = CX + 2.
    narrow = Grid((20, 23, 10), (3.0, 1.1, 1.0), (-40.0, 12.0, CX - 7.5), FRAME)
    assert volume_inside_cc(shape, narrow) == pytest.approx(10 * 8 * 43 / 1000, rel=1e-9)
    voxels = Structure("a", None, Volume(GRID, np.ones(GRID.shape, np.float32)))
    assert volume_inside_cc(voxels, GRID.crop((1, 2, 3), (5, 20, 30))) == pytest.approx(4 * 18 * 27 * GRID.voxel_cc)


def test_bounds_of_contours_and_of_voxels() -> None:
    low, high = bounds_mm(structure({0.0: [SQUARE], 3.0: [SQUARE]}, 3.0))
    np.testing.assert_allclose(low, (-1.5, CY - 5, CX - 6))
    np.testing.assert_allclose(high, (4.5, CY + 5, CX + 6))
    array = np.zeros(GRID.shape, np.float32)
    array[2:4, 5:9, 11:12] = 0.3
    part = Structure("a", None, Volume(GRID, array))
    np.testing.assert_allclose(bounds_mm(part), GRID.crop((2, 5, 11), (4, 9, 12)).bounds_mm)
    assert volume_cc(part) == pytest.approx(0.3 * 8 * GRID.voxel_cc, rel=1e-6)


def test_voxels_of_a_structure_are_resampled_and_averaged() -> None:
    array = np.zeros(GRID.shape, np.float32)
    array[:, 4:12, 6:20] = 1
    part = Structure("a", None, Volume(GRID, array))
    np.testing.assert_array_equal(structure_fraction(part, GRID), array)
    blocks = Grid((7, 11, 15), (3.0, 2.2, 1.8), (-40.0, 12.55, -6.55), FRAME)
    coarse = structure_fraction(part, blocks)
    assert coarse.sum() * blocks.voxel_cc == pytest.approx(volume_cc(part), rel=1e-6)
    assert structure_fraction(structure({-34.0: [SQUARE]}, 3.0), GRID).sum() > 0


def test_the_mask_tests_voxel_centres_half_open() -> None:
    # Pixel centres of rows 2 and 5 and columns 3 and 7 are the edges: the lower ones in, the upper ones out.
    y, x = GRID.axis_mm(1), GRID.axis_mm(2)
    mask = even_odd_mask(contours({-34.0: [box(y[2], x[3], y[5], x[7])]}, 3.0), GRID)
    expected = np.zeros(GRID.shape, bool)
    expected[2, 2:5, 3:7] = True
    np.testing.assert_array_equal(mask, expected)


def test_masks_of_neighbours_never_share_or_miss_a_voxel() -> None:
    y, x = GRID.axis_mm(1), GRID.axis_mm(2)
    left = np.array([[y[0], x[0]], [y[-1], x[0]], [y[-1], x[20]], [y[0], x[10]]])
    right = np.array([[y[0], x[10]], [y[-1], x[20]], [y[-1], x[-1]], [y[0], x[-1]]])
    one, other = (even_odd_mask(contours({-40.0: [p]}, 3.0), GRID)[0] for p in (left, right))
    assert not (one & other).any()
    np.testing.assert_array_equal(
        one | other, even_odd_mask(contours({-40.0: [box(*y[[0]], *x[[0]], *y[[-1]], *x[[-1]])]}, 3.0), GRID)[0]
    )


def test_the_mask_takes_the_nearest_plane() -> None:
    shape = contours({0.0: [SQUARE], 4.0: [disc(5.0, (CY, CX))]}, 3.0)
    mask = even_odd_mask(shape, tall_grid(1.0, -2.0, 9))
    counts = mask.sum(axis=(1, 2))
    assert counts[[0, 8]].tolist() == [0, 0]
    assert len(set(counts[1:4])) == 1
    assert len(set(counts[4:8])) == 1
    assert counts[3] > counts[4] > 0


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (fraction, "frames"),
        (even_odd_mask, "frames"),
        (lambda shape, grid: volume_inside_cc(Structure("a", None, shape), grid), "frame"),
    ],
    ids=["fraction", "mask", "volume"],
)
def test_two_frames_never_meet(use: Callable[[Contours, Grid], object], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        use(contours({0.0: [SQUARE]}, 3.0, frame="another"), GRID)


@pytest.mark.parametrize("slab_mm", [0.0, -3.0, float("nan"), float("inf")])
def test_a_slab_must_be_a_thickness(slab_mm: float) -> None:
    with pytest.raises(GeometryError, match="thickness"):
        volume_cc(structure({0.0: [SQUARE]}, slab_mm))


def test_nothing_has_neither_volume_nor_bounds() -> None:
    with pytest.raises(GeometryError, match="neither contours nor voxels"):
        volume_cc(Structure("a", "Rectum", None))
    with pytest.raises(GeometryError, match="without contours"):
        volume_cc(Structure("a", None, Contours((), 3.0, FRAME)))
    with pytest.raises(GeometryError, match="all empty"):
        bounds_mm(Structure("a", None, Volume(GRID, np.zeros(GRID.shape, np.float32))))
