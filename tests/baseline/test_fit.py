"""Organs taken from the samples that trees are fitted on."""

import numpy as np
import pytest

from tests.baseline.patients import SETTINGS, patient, small_grid
from vmat_rt.baseline.features import compute_features, name_organ_columns
from vmat_rt.baseline.fit import VoxelSamples, lose_organs

ROWS = 30_000
ORGANS = (("distance_Rectum",), ("distance_Femur_nearer", "distance_Femur_farther"))


def _samples() -> VoxelSamples:
    names = ("distance_high", "distance_Rectum", "distance_Femur_nearer", "distance_Femur_farther")
    row = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
    return VoxelSamples(names, np.tile(row, (ROWS, 1)), np.zeros(ROWS, np.float32))


def test_a_share_of_the_rows_loses_organs_and_no_target() -> None:
    before = _samples()
    after = lose_organs(before, ORGANS, 0.6, np.random.default_rng(1))
    assert (before.matrix == _samples().matrix).all()
    high, rectum, nearer, _ = after.matrix.T
    assert (high == 1).all()
    # Each of three organs is lost with a rate that is drawn evenly: half of the rows that lose any number.
    assert np.isnan(rectum).mean() == pytest.approx(0.3, abs=0.01)
    assert np.isnan(nearer).mean() == pytest.approx(0.6 / 3, abs=0.01)
    all_kept = ~np.isnan(after.matrix).any(axis=1)
    assert all_kept.mean() == pytest.approx(0.4 + 0.6 / 4, abs=0.01)


def test_of_a_pair_either_side_may_be_left() -> None:
    _, _, nearer, farther = lose_organs(_samples(), ORGANS, 1.0, np.random.default_rng(1)).matrix.T
    alone = np.isnan(farther) & ~np.isnan(nearer)
    assert set(np.unique(nearer[alone])) == {3.0, 4.0}
    assert (nearer[alone] == 3).mean() == pytest.approx(0.5, abs=0.02)
    assert (nearer[~np.isnan(farther)] == 3).all()
    assert np.isnan(farther[np.isnan(nearer)]).all()


def test_organ_columns_are_the_features_of_organs() -> None:
    columns = name_organ_columns(SETTINGS)
    assert len({name for one in columns for name in one}) == sum(map(len, columns))
    assert sum(len(one) for one in columns) == len(SETTINGS.organs)
    grid = small_grid()
    assert {name for one in columns for name in one} <= set(compute_features(patient(grid), grid, SETTINGS).names)
