"""Gamma against an independent program and its published values."""

from __future__ import annotations

import warnings

import numpy as np
import pymedphys
import pytest

from tests.metrics.doses import GRID, smooth_pair, volume
from vmat_rt.case import Volume
from vmat_rt.grid import Grid
from vmat_rt.metrics.gamma.index import GammaResult, gamma


def blob(grid: Grid, shift_mm: float, height_gy: float) -> Volume:
    """A Gaussian about the middle of GRID, moved along every axis."""
    along = [(grid.axis_mm(a) - GRID.centre_mm[a] - shift_mm) / (9.0 + a) for a in range(3)]
    squared = along[0][:, None, None] ** 2 + along[1][:, None] ** 2 + along[2] ** 2
    return volume(height_gy * np.exp(-squared / 2), grid)


def pymedphys_gamma(reference: Volume, evaluation: Volume, **options: float) -> np.ndarray:
    axes = [tuple(dose.grid.axis_mm(a) for a in range(3)) for dose in (reference, evaluation)]
    settings_ = {"lower_percent_dose_cutoff": 10, "interp_fraction": 10, "max_gamma": 2, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pymedphys.gamma(
            axes[0],
            reference.array.astype(np.float64),
            axes[1],
            evaluation.array.astype(np.float64),
            3,
            3,
            **settings_,
        )


@pytest.mark.slow
def test_agrees_with_pymedphys_on_30_smooth_pairs() -> None:
    for seed in range(30):
        spacing = (3.0, 2.0, 2.5) if seed % 2 else (2.5, 2.5, 2.5)
        reference, evaluation = smooth_pair(seed, Grid((20, 22, 24), spacing, (-7.0, 3.5, 11.0), "1.2.3"))
        assert_agrees_with_pymedphys(gamma(reference, evaluation), pymedphys_gamma(reference, evaluation))


def test_agrees_with_pymedphys_on_local_gamma() -> None:
    """Local criteria are steep in low dose: more points stand at the edge of passing, where the samples decide."""
    reference, evaluation = smooth_pair(0, Grid((18, 20, 22), (3.0, 2.0, 2.5), (-7.0, 3.5, 11.0), "1.2.3"))
    theirs = pymedphys_gamma(reference, evaluation, local_gamma=True)
    assert_agrees_with_pymedphys(gamma(reference, evaluation, local=True), theirs, percent=0.2)


def assert_agrees_with_pymedphys(ours: GammaResult, theirs: np.ndarray, percent: float = 0.1) -> None:
    np.testing.assert_array_equal(np.isfinite(ours.map.array), np.isfinite(theirs))
    known = theirs[np.isfinite(theirs)]
    assert ours.pass_rate_percent == pytest.approx(100 * np.mean(known <= 1), abs=percent)
    assert ours.mean == pytest.approx(known.mean(), abs=0.005)


def test_agrees_with_pymedphys_on_two_grids() -> None:
    """On a second grid, past the first on all sides, the same smooth dose stands 2 % higher and 1 mm further on."""
    wider = Grid((17, 15, 22), (2.8, 2.6, 2.5), (-43.0, 13.1, 3.9), GRID.frame_uid)
    reference, evaluation = blob(GRID, 0.0, 60.0), blob(wider, 1.0, 61.2)
    assert_agrees_with_pymedphys(gamma(reference, evaluation), pymedphys_gamma(reference, evaluation))


def test_published_box_in_box() -> None:
    """Values to one decimal that pymedphys documents: a box of 1.015 in a larger box of 1, 3 % / 0.3 mm, 0.1 mm voxels.

    Two layers in from the larger box's border gamma rises to 0.4, 0.7, 1 with the way back to dose 0, and is 0.5 where
    1.015 meets 1.
    """
    grid = Grid((10, 12, 14), (0.1, 0.1, 0.1), (0.0, 0.0, 0.0), "1")
    reference, evaluation, expected = np.zeros((3, *grid.shape))
    small = (slice(3, -2), slice(4, -2), slice(5, -2))
    reference[small] = 1.015
    for inset, value in ((2, 0.4), (3, 0.7), (4, 1.0)):
        layer = (slice(inset, -inset),) * 3
        evaluation[layer] = 1.0
        expected[layer] = value
    expected[small] = 0.5
    result = gamma(volume(reference, grid), volume(evaluation, grid), 3, 0.3, lower_cutoff_percent=0)
    np.testing.assert_array_equal(np.round(result.map.array, 1), expected.astype(np.float32))
