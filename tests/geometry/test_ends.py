"""Where structures end beyond their last contours, by closed forms: what closes, closes where the true solid does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.geometry.shapes import FRAME, box, contours, disc, disc_area
from tests.metrics.benchmark_solids import HALF, RADIUS, BenchmarkSolid
from vmat_rt.case import Contours, Structure
from vmat_rt.geometry.rasterize import bounds_mm, fraction, volume_cc
from vmat_rt.geometry.solid import plane_stack, plane_weights_mm, slice_blend
from vmat_rt.grid import Grid

SLAB_MM = 3.0


def tower(radii_mm: list[float], slab_mm: float = SLAB_MM) -> Contours:
    return contours({slab_mm * k: [disc(radius)] for k, radius in enumerate(radii_mm)}, slab_mm)


def reaches_mm(shape: Contours) -> tuple[float, float]:
    stack = plane_stack(shape)
    return float(stack.below.reach_mm[0]), float(stack.above.reach_mm[-1])


@given(st.floats(0, 0.999))
@settings(max_examples=30)
def test_a_sphere_has_its_volume_and_its_poles_wherever_the_planes_lie(phase: float) -> None:
    sphere = BenchmarkSolid("sphere")
    structure = sphere.contoured(SLAB_MM, phase)
    low, high = bounds_mm(structure)
    # A plane that hardly touches the pole is not drawn.
    assert (low[0], high[0]) == pytest.approx((-RADIUS, RADIUS), abs=0.02)
    assert volume_cc(structure) == pytest.approx(sphere.volume_cc, rel=1e-3)


@pytest.mark.parametrize("height_mm", [22.8, 24.0, 25.4])
def test_a_cone_ends_at_its_tip_and_its_base_is_cut_off_half_a_slab_further(height_mm: float) -> None:
    cone = BenchmarkSolid("cone", height_mm)
    structure = cone.contoured(SLAB_MM, 0.5)
    low, high = bounds_mm(structure)
    assert low[0] == pytest.approx(HALF - height_mm, abs=0.01)
    assert high[0] == pytest.approx(HALF)
    assert volume_cc(structure) == pytest.approx(cone.volume_cc, rel=2e-3)


@pytest.mark.parametrize("phase", [0.0, 0.25, 0.5, 0.8])
def test_a_lying_cylinder_ends_where_it_does(phase: float) -> None:
    cylinder = BenchmarkSolid("lying cylinder")
    structure = cylinder.contoured(SLAB_MM, phase)
    low, high = bounds_mm(structure)
    assert (low[0], high[0]) == pytest.approx((-RADIUS, RADIUS), abs=0.02)
    assert volume_cc(structure) == pytest.approx(cylinder.volume_cc, rel=5e-3)


@pytest.mark.parametrize(
    "radii_mm",
    [[5, 5, 5, 5], [5, 5.1, 4.9, 5], [8, 8, 8, 7.6], [6, 5, 5, 6], [5]],
    ids=["equal", "uneven", "a little narrower", "wider", "one plane"],
)
def test_what_does_not_close_is_cut_off_half_a_slab_further(radii_mm: list[float]) -> None:
    assert reaches_mm(tower(radii_mm)) == (SLAB_MM / 2, SLAB_MM / 2)


def test_two_planes_close_along_a_straight_line() -> None:
    """Areas 4 and 1 at 0 and 3 mm: nothing is left 1 mm further; the wide end is cut off."""
    shape = tower([6.0, 3.0])
    assert reaches_mm(shape) == pytest.approx((1.5, 1.0))
    assert slice_blend(plane_stack(shape), np.array([3.5])).share == pytest.approx([0.5])


def test_an_end_never_reaches_the_next_plane() -> None:
    radii = [10 * np.sqrt(1 - (k / 5.4) ** 2) for k in range(6)]
    _, reach = reaches_mm(tower(radii))
    assert reach == pytest.approx(0.4 * SLAB_MM, rel=1e-6)
    # The same with the last plane left out would end 1.4 spacings further: that slice would have been contoured.
    assert reaches_mm(tower(radii[:-1]))[1] == SLAB_MM / 2


def test_slices_through_an_end_add_up_to_its_thickness() -> None:
    structure = BenchmarkSolid("lying cylinder").contoured(SLAB_MM, 0.3)
    assert isinstance(structure.shape, Contours)
    stack = plane_stack(structure.shape)
    fine = np.arange(-14, 14, 0.001)
    blend = slice_blend(stack, fine)
    top = blend.lower == len(stack.z_mm) - 1
    sampled = blend.share[top & (fine > stack.z_mm[-1])].sum() * 0.001
    exact = stack.above.thickness_mm(np.zeros(len(stack.z_mm)), stack.above.reach_mm)[-1]
    assert exact == pytest.approx(sampled, rel=2e-3)


@given(st.floats(-14, 14), st.floats(0, 20))
def test_volumes_of_adjoining_ranges_add_up(cut_mm: float, width_mm: float) -> None:
    shape = BenchmarkSolid("lying cone").contoured(SLAB_MM, 0.2).shape
    assert isinstance(shape, Contours)
    stack = plane_stack(shape)
    parts = [(-np.inf, cut_mm), (cut_mm, cut_mm + width_mm), (cut_mm + width_mm, np.inf)]
    together = sum(plane_weights_mm(stack, *part) for part in parts)
    np.testing.assert_allclose(together, plane_weights_mm(stack), atol=1e-6)


def test_every_piece_has_its_own_ends_and_they_do_not_overlap() -> None:
    """Two spheres above each other, a slice between them left out: each closes within its half of the gap."""
    radius = 7.0
    heights = [-6.0, -3.0, 0.0, 3.0, 6.0]
    planes = {z + shift: [disc(float(np.sqrt(radius**2 - z**2)))] for shift in (0.0, 18.0) for z in heights}
    shape = contours(planes, SLAB_MM)
    stack = plane_stack(shape)
    assert stack.connected.tolist() == [True] * 4 + [False] + [True] * 4
    assert stack.above.reach_mm[4] == pytest.approx(1.0, rel=1e-6)
    assert stack.below.reach_mm[5] == pytest.approx(1.0, rel=1e-6)
    spheres_cc = 2 * disc_area(1.0) * 4 / 3 * radius**3 / 1000
    assert volume_cc(Structure("two", None, shape)) == pytest.approx(spheres_cc, rel=1e-6)


def test_a_hole_counts_in_the_area_that_closes() -> None:
    """A shell between two spheres: beyond the inner one its sections are discs, and it closes as the outer does."""
    planes = {}
    for z in np.arange(-9.0, 9.1, 3.0):
        rings = [disc(float(np.sqrt(10.0**2 - z**2)))]
        if abs(z) < 2:
            rings.append(disc(float(np.sqrt(2.0**2 - z**2))))
        planes[float(z)] = rings
    assert reaches_mm(contours(planes, SLAB_MM)) == pytest.approx((1.0, 1.0), rel=1e-6)


def test_voxels_of_a_closing_end_fade() -> None:
    ring = box(-6.0, -6.0, 6.0, 6.0)
    planes = {0.0: [ring], 3.0: [ring * np.sqrt(0.75)], 6.0: [ring * np.sqrt(0.5)], 9.0: [ring * np.sqrt(0.25)]}
    shape = contours(planes, SLAB_MM)
    grid = Grid((4, 1, 1), (1.0, 1.0, 1.0), (9.0, 0.0, 0.0), FRAME)
    np.testing.assert_allclose(fraction(shape, grid)[:, 0, 0], [1, 2 / 3, 1 / 3, 0], atol=1e-6)
