"""The machine: depth doses, output factors and kernels.

Covers vmat_rt.phantom.delivery.kernels.
"""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pytest

from tests.phantom.water import rectangle_dose
from vmat_rt.case import Volume
from vmat_rt.grid import Grid
from vmat_rt.phantom.delivery.kernels import KernelLattice, compute_delta_shares, interpolate_kernels
from vmat_rt.phantom.delivery.machine import load_machine

MACHINE = load_machine()


def test_source_and_licence_travel_with_the_data() -> None:
    facts = json.loads(files("vmat_rt.phantom.delivery").joinpath("photons_6mv.json").read_text("utf-8"))
    assert "pyRadPlan" in facts["source"]
    text = "\n".join(facts["licence"])
    assert "BSD 3-Clause" in text
    assert "Copyright (c) 2024, DKFZ" in text
    assert "DISCLAIMED" in text


def test_depth_dose_peaks_where_its_derivative_is_zero() -> None:
    """d/dd (exp(-m d) - exp(-b d)) = 0 at ln(b / m) / (b - m)."""
    depth = np.arange(0, 500, 0.01)
    peak = depth[MACHINE.depth_dose(depth).argmax(axis=1)]
    m, b = MACHINE.attenuation_per_mm, MACHINE.build_up_per_mm
    np.testing.assert_allclose(peak, np.log(b / m) / (b - m), atol=0.01)
    assert not MACHINE.depth_dose(np.zeros(1)).any()


def test_reference_field_is_about_one_gray() -> None:
    """100 x 100 mm at 50 mm, SSD 950 mm: the kernels are scaled to 1 Gy a unit; without the linac's horns 0.988."""
    dose = rectangle_dose(MACHINE, np.zeros((1, 2)), (50, 50), np.array([50.0]), 950.0)
    assert dose[0] == pytest.approx(0.988, abs=0.001)


def test_percentage_depth_dose_of_6_mv() -> None:
    """TPR 20/10 of a 6 MV beam lies between 0.63 and 0.70 (IAEA TRS-398), its maximum at 13 to 17 mm."""
    depth = np.arange(1.0, 201.0)
    dose = rectangle_dose(MACHINE, np.zeros((200, 2)), (50, 50), depth, 900.0)
    assert 13 <= depth[dose.argmax()] <= 17
    assert 0.63 < dose[199] / dose[99] < 0.70


def test_kernels_rebuild_the_table() -> None:
    """Both lattices together give back each component: sums over the plane of share * near + rest."""
    lattice = KernelLattice(7.0, 3)
    kernels = interpolate_kernels(MACHINE, lattice, 900.0)
    table = MACHINE.kernels[2]
    count, step = table.shape[1], MACHINE.radius_step_mm
    pixel = np.arange(1 - count, count) * step
    radius = np.hypot(pixel[:, None], pixel)
    for share, rest, row in zip(compute_delta_shares(MACHINE), kernels.rest, table, strict=True):
        fluence = np.interp(radius, np.arange(count) * step, row, right=0).sum() * step**2 * lattice.bixel_mm**2
        near = share * kernels.near.sum() * lattice.fine_mm**2
        assert near + rest.sum() * lattice.bixel_mm**2 == pytest.approx(fluence, rel=2e-3, abs=0.05)


def test_kernels_between_tables() -> None:
    lattice = KernelLattice(5.0, 2)
    low, middle, high = (interpolate_kernels(MACHINE, lattice, ssd).near for ssd in (800.0, 825.0, 900.0))
    np.testing.assert_allclose(middle, 0.75 * low + 0.25 * high)
    np.testing.assert_array_equal(
        interpolate_kernels(MACHINE, lattice, 300.0).rest, interpolate_kernels(MACHINE, lattice, 700.0).rest
    )


def test_electron_density() -> None:
    grid = Grid((1, 2, 4), (3.0, 1.0, 2.0), (5.0, 6.0, 7.0), "f")
    hu = np.array([[[-1000, 0, 100, 9000], [-90, 350, 3000, 0]]], np.float32)
    outline = np.ones(grid.shape, bool)
    outline[0, 1, 3] = False
    density = MACHINE.electron_density(Volume(grid, hu), outline)
    np.testing.assert_allclose(density.array, [[[0.001, 1, 1.095, 2.505], [0.95, 1.199, 2.505, 0]]], atol=1e-4)
    assert density.grid is grid
    curve = MACHINE.density_curve
    assert (np.diff(curve, axis=0) >= 0).all()
