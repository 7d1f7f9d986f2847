"""Bands of single fields against closed forms in water, and against the sums over fields that they add up to."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.geometry.test_beams import CENTRE, RADIUS_MM, at, grid_of, maps_of, offsets, sphere, water_box
from vmat_rt.case import Volume
from vmat_rt.geometry.bands import sector_bands, sector_shares
from vmat_rt.geometry.ray_kernels import ATTENUATION_PER_MM, SAD_MM
from vmat_rt.geometry.rays import place_beams
from vmat_rt.grid import Grid

NINE = tuple(40.0 * k for k in range(9))


def bands_of(
    grid: Grid,
    angles: tuple[float, ...],
    sectors: int,
    targets: dict[str, NDArray[np.float32]] | None = None,
    levels: dict[str, float] | None = None,
) -> NDArray[np.float32]:
    body = water_box(grid)
    targets = targets or {"high": sphere(grid, RADIUS_MM)}
    union = np.max(list(targets.values()), axis=0)
    beams = place_beams(Volume(grid, body.astype(np.float32)), body, union > 0, angles, CENTRE)
    return sector_bands(beams, targets, levels or {"high": 1.0}, sectors)


@pytest.mark.parametrize("sector", range(9))
@pytest.mark.parametrize("along", [-50.0, 40.0])
def test_a_band_is_the_strip_that_the_target_is_seen_in(sector: int, along: float) -> None:
    """At `along` mm past the isocentre a ball of radius R is seen R SAD / sqrt(SAD^2 - R^2), scaled, to either side."""
    grid = grid_of(spacing=(2.0, 2.0, 2.0), shape=(41, 111, 121))
    band = bands_of(grid, NINE, 9)[sector]
    a = np.deg2rad(40.0 * sector)
    away, across = np.array([np.cos(a), -np.sin(a)]), np.array([np.sin(a), np.cos(a)])  # (y, x)
    edge = RADIUS_MM * SAD_MM / np.sqrt(SAD_MM**2 - RADIUS_MM**2) * (SAD_MM + along) / SAD_MM
    steps = np.arange(0.0, edge + 12, 0.25)
    for side in (-1, 1):
        profile = np.array([at(grid, band, 0.0, *(along * away + side * step * across)) for step in steps])
        half = np.interp(-profile[0] / 2, -profile, steps)
        assert half == pytest.approx(edge, abs=1.5)
        assert profile[-1] < 0.02 * profile[0]


@pytest.mark.parametrize("y", [-60.0, -20.0, 40.0])
def test_a_band_has_the_depth_dose_of_its_own_field(y: float) -> None:
    grid = grid_of()
    band = bands_of(grid, NINE, 9)[0]
    depth = y + 80.0 + 1.0  # the slab's skin lies half a voxel before its first centre
    expected = (SAD_MM / (SAD_MM + y)) ** 2 * np.exp(-ATTENUATION_PER_MM * depth)
    assert at(grid, band, 0, y, 0) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("angles", [NINE, tuple(10.0 * k for k in range(36)), tuple(10.0 * k for k in range(19))])
@pytest.mark.parametrize("sectors", [1, 4, 9])
def test_the_mean_over_the_sectors_is_the_mean_over_the_fields(angles: tuple[float, ...], sectors: int) -> None:
    grid = grid_of(spacing=(5.0, 4.0, 4.0), shape=(33, 51, 61))
    mean = bands_of(grid, angles, sectors).mean(axis=0)
    np.testing.assert_allclose(mean, maps_of(grid, list(angles))["beam_any"], atol=2e-5)


def test_where_targets_lie_behind_each_other_the_higher_level_counts() -> None:
    """From the front the lower target stands before the higher one in part; beside it rays meet the lower one alone."""
    grid = grid_of(spacing=(2.5, 2.5, 2.5), shape=(41, 81, 91))
    _, _, x = offsets(grid)
    low = sphere(grid, 40.0) * (np.abs(x) < 1e3).astype(np.float32)
    targets, levels = {"high": sphere(grid, 15.0), "low": low}, {"high": 1.0, "low": 0.8}
    both = bands_of(grid, (0.0,), 1, targets, levels)[0]
    alone = bands_of(grid, (0.0,), 1, {"high": low})[0]
    assert at(grid, both, 0, 30, 0) == pytest.approx(at(grid, alone, 0, 30, 0), rel=1e-4)
    assert at(grid, both, 0, 0, 30) == pytest.approx(0.8 * at(grid, alone, 0, 0, 30), rel=1e-3)


@pytest.mark.parametrize(
    ("angles", "sectors", "expected"),
    [
        ((0.0, 120.0, 240.0), 3, np.eye(3)),
        ((359.9, 119.9), 3, [[1, 0], [0, 1], [0, 0]]),
        ((60.0,), 3, [[0.5], [0.5], [0]]),
        ((300.0,), 3, [[0.5], [0], [0.5]]),
        ((45.0, 100.0, 260.0), 4, [[0.5, 0, 0], [0.5, 1, 0], [0, 0, 0], [0, 0, 1]]),
    ],
)
def test_directions_belong_to_the_nearest_sector(
    angles: tuple[float, ...], sectors: int, expected: list[list[float]]
) -> None:
    np.testing.assert_allclose(sector_shares(angles, sectors), expected)


@pytest.mark.parametrize("sectors", [2, 5, 9, 36])
def test_shares_are_symmetrical_and_complete(sectors: int) -> None:
    angles = tuple(10.0 * k for k in range(36))
    shares = sector_shares(angles, sectors)
    np.testing.assert_allclose(shares.sum(axis=0), 1)
    if 36 % sectors == 0:
        np.testing.assert_allclose(shares.sum(axis=1), 36 / sectors)
    mirrored = sector_shares(tuple(-a % 360 for a in angles), sectors)
    np.testing.assert_allclose(mirrored, shares[-np.arange(sectors) % sectors])
