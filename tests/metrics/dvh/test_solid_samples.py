"""Contoured solids and voxels sampled: end caps, holes, boxes, tiny structures, the order of axes.

Covers vmat_rt.metrics.dvh.sampling.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics.solids import (
    BASE_GY,
    CENTRE,
    CONE,
    FRAME,
    GRADIENTS,
    SLOPE_GY_MM,
    SPHERE,
    Solid,
    box_structure,
    bumpy_dose,
    contours_of,
    dose_grid,
    linear_dose,
    stated_gy,
)
from vmat_rt.case import ContourPlane, Contours, Structure, Volume
from vmat_rt.grid import Grid
from vmat_rt.metrics.dvh.compute import DEFAULT_METRICS, compute_dvh


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_structure_of_0_3_cc(gradient: str) -> None:
    radius = (300 * 3 / 4 / np.pi) ** (1 / 3)
    cochlea = Solid("sphere", radius, 2 * radius)
    dvh = compute_dvh(contours_of(cochlea, 1.0), linear_dose(gradient, 2.5))
    assert dvh.volume_cc == pytest.approx(0.3, rel=0.02)
    truths = cochlea.dose_at(gradient, (0.95, 0.5, 0.03 / 0.3))
    for metric, truth in zip(("D95%", "Dmedian", "D0.03cc"), truths, strict=True):
        assert dvh.value(metric) == pytest.approx(truth, rel=0.01)


def test_end_caps_are_half_a_slab() -> None:
    z, y, x = CENTRE
    ring = np.array([[y - 5, x - 5], [y - 5, x + 5], [y + 5, x + 5], [y + 5, x - 5]])
    single = Structure("one", None, Contours((ContourPlane(z, (ring,)),), 3.0, FRAME))
    dvh = compute_dvh(single, linear_dose("along", 2.0))
    assert dvh.volume_cc == pytest.approx(0.3)
    assert dvh.value("Dmax") == pytest.approx(BASE_GY + 1.5 * SLOPE_GY_MM, abs=1e-3)
    assert dvh.value("D25%") == pytest.approx(BASE_GY + 0.75 * SLOPE_GY_MM, abs=0.05)


def test_a_hole_is_not_counted() -> None:
    z, y, x = CENTRE
    outer = np.array([[y - 10, x - 10], [y - 10, x + 10], [y + 10, x + 10], [y + 10, x - 10]])
    inner = (outer - (y, x)) / 2 + (y, x)
    planes = tuple(ContourPlane(z + k * 2.0, (outer, inner)) for k in range(-4, 5))
    dvh = compute_dvh(Structure("ring", None, Contours(planes, 2.0, FRAME)), linear_dose("across", 2.0))
    assert dvh.volume_cc == pytest.approx((400 - 100) * 18 / 1000)
    # Between -5 and 5 mm only half of the rows count: 50 of 300 mm2 lie between the axis and 5 mm.
    assert dvh.value("V50Gy") == pytest.approx(50, abs=0.3)
    assert dvh.value(f"V{BASE_GY + 5 * SLOPE_GY_MM:g}Gy") == pytest.approx(100 * 100 / 300, abs=0.3)


def test_voxel_structure_agrees_with_contours() -> None:
    structure = contours_of(SPHERE, 1.0, offset=0.0)
    grid = dose_grid(1.0, 30.0)
    z, y, x = (grid.axis_mm(a) - CENTRE[a] for a in range(3))
    fraction = np.clip(
        22.0 + 0.5 - np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2), 0, 1
    )
    voxels = Structure("voxels", None, Volume(grid, fraction.astype(np.float32)))
    dose = bumpy_dose(3)
    a, b = compute_dvh(structure, dose), compute_dvh(voxels, dose)
    assert b.volume_cc == pytest.approx(a.volume_cc, rel=5e-3)
    for metric in ("D95%", "D50%", "D5%", "D0.03cc", "Dmean"):
        assert b.value(metric) == pytest.approx(a.value(metric), rel=0.01), metric


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.tuples(*[st.floats(-300, 300)] * 3))
def test_translation_does_not_matter(seed: int, shift: tuple[float, float, float]) -> None:
    structure, dose = contours_of(CONE, 2.0), bumpy_dose(seed)
    moved_grid = replace(dose.grid, origin_mm=tuple(o + s for o, s in zip(dose.grid.origin_mm, shift, strict=True)))
    shape = structure.shape
    assert isinstance(shape, Contours)
    planes = tuple(ContourPlane(p.z_mm + shift[0], tuple(q + shift[1:] for q in p.polygons)) for p in shape.planes)
    moved = replace(structure, shape=replace(shape, planes=planes))
    a, b = compute_dvh(structure, dose), compute_dvh(moved, Volume(moved_grid, dose.array))
    for metric in DEFAULT_METRICS:
        assert b.value(metric) == pytest.approx(a.value(metric), abs=stated_gy(a)), metric


def test_axis_order_does_not_matter() -> None:
    """Rows and columns exchanged for contours, all three axes for voxels."""
    structure, dose = contours_of(CONE, 2.0), bumpy_dose(7)
    shape = structure.shape
    assert isinstance(shape, Contours)
    planes = tuple(ContourPlane(p.z_mm, tuple(q[:, ::-1].copy() for q in p.polygons)) for p in shape.planes)
    flipped = replace(structure, shape=replace(shape, planes=planes))
    a = compute_dvh(structure, dose)
    b = compute_dvh(flipped, _reordered(dose, (0, 2, 1)))
    for metric in DEFAULT_METRICS:
        assert b.value(metric) == pytest.approx(a.value(metric), abs=stated_gy(a)), metric
    mask = Volume(dose.grid, (dose.array > 40).astype(np.float32))
    c = compute_dvh(Structure("m", None, mask), dose)
    d = compute_dvh(Structure("m", None, _reordered(mask, (2, 0, 1))), _reordered(dose, (2, 0, 1)))
    for metric in DEFAULT_METRICS:
        assert d.value(metric) == pytest.approx(c.value(metric), abs=stated_gy(c)), metric


def _reordered(volume: Volume, order: tuple[int, int, int]) -> Volume:
    grid = volume.grid
    shape, spacing, origin = (
        tuple(values[axis] for axis in order) for values in (grid.shape, grid.spacing_mm, grid.origin_mm)
    )
    return Volume(Grid(shape, spacing, origin, grid.frame_uid), np.ascontiguousarray(volume.array.transpose(order)))


def test_near_maximum_of_a_tiny_structure_is_its_maximum() -> None:
    tiny = Solid("sphere", 1.5, 3.0)
    dvh = compute_dvh(contours_of(tiny, 0.5), linear_dose("across", 1.0))
    assert dvh.volume_cc < 0.03
    assert dvh.value("D0.03cc") == dvh.value("Dmax")
    reading = dvh.read("D1cc")
    assert reading.value is None
    assert "less than 1 cc" in reading.reason


def test_single_voxel_layers_of_dose_are_allowed() -> None:
    z, y, x = CENTRE
    grid = Grid((1, 40, 40), (30.0, 2.0, 2.1), (z, y - 39, x - 41), FRAME)
    dose = Volume(grid, np.full(grid.shape, 5.0, np.float32))
    assert compute_dvh(box_structure((z - 10, y - 5, x - 5), (z + 10, y + 5, x + 5)), dose).value("D50%") == 5
