"""Trees are evaluated as LightGBM evaluates them, to the last bit.

Covers vmat_rt.baseline.tree_kernels.
"""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from numpy.typing import NDArray

from vmat_rt.baseline.tree_kernels import BLOCK
from vmat_rt.baseline.trees import Trees

ROWS = 2 * BLOCK + 77


def rows(seed: int = 0) -> NDArray[np.float32]:
    """Five features: plain, often missing, whole numbers, missing in new rows only, and one of no use."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(ROWS, 5)).astype(np.float32)
    matrix[generator.random(ROWS) < 0.3, 1] = np.nan
    matrix[:, 2] = np.rint(matrix[:, 2] * 3)
    matrix[:, 4] = 1.0
    return matrix


def dose(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Missing values lie low for some rows and high for others, so that both ways occur."""
    known = np.nan_to_num(matrix, nan=0.0)
    missing = np.isnan(matrix[:, 1])
    found: NDArray[np.float32] = (
        np.sin(known[:, 0]) + known[:, 2] * 0.2 + np.where(missing, known[:, 0] * 2, known[:, 1])
    )
    return found + known[:, 3]


def grown(leaves: int = 31, rounds: int = 40, bins: int = 63, objective: str = "regression_l1") -> lightgbm.Booster:
    settings = {"objective": objective, "num_leaves": leaves, "max_bin": bins, "min_data_in_leaf": 5, "verbose": -1}
    data = lightgbm.Dataset(rows(), dose(rows()), feature_name=list("abcde"), params=settings)
    return lightgbm.train({**settings, "num_threads": 1, "seed": 1}, data, rounds)


@pytest.mark.parametrize(
    ("leaves", "bins", "objective"), [(31, 63, "regression_l1"), (2, 63, "regression"), (300, 1000, "regression_l1")]
)
def test_the_same_to_the_last_bit(leaves: int, bins: int, objective: str) -> None:
    booster = grown(leaves=leaves, bins=bins, objective=objective)
    new = rows(1)
    new[::7, 3] = np.nan
    trees = Trees.parse(booster.model_to_string())
    new[:3, 0] = np.nextafter(np.float32(trees.edges[0][0]), np.array([-9, 0, 9], np.float32))
    assert trees.names == tuple("abcde")
    assert np.array_equal(trees.predict(new), booster.predict(new))
    assert np.array_equal(trees.predict(new, threads=2), trees.predict(new))
    assert trees.predict(new[:0]).shape == (0,)
    assert {column.missing for column in trees.columns} >= ({"left", "right", "zero"} if leaves > 2 else set())


def test_trees_without_nodes() -> None:
    settings = {"verbose": -1, "min_data_in_leaf": 10**6, "num_threads": 1}
    flat = lightgbm.train(settings, lightgbm.Dataset(rows(), dose(rows()), feature_name=list("abcde")), 3)
    assert np.array_equal(Trees.parse(flat.model_to_string()).predict(rows()), flat.predict(rows()))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("left_child=1 ", "left_child=0 "),
        ("objective=regression_l1", "objective=poisson"),
        ("num_cat=0", "num_cat=1"),
        ("split_feature=", "split_feature=9"),
        ("leaf_value=", "leaf_value=1 "),
        ("num_class=1", "num_class=3"),
    ],
)
def test_what_is_no_such_model_is_refused(before: str, after: str) -> None:
    text = grown(leaves=4, rounds=2).model_to_string()
    if before not in text:
        before, after = "left_child=", "left_child=7 "
    with pytest.raises((ValueError, KeyError)):
        Trees.parse(text.replace(before, after, 1))
