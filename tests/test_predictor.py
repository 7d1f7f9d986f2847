"""What every model returns: a dose that can be one, and the prior beside it."""

from __future__ import annotations

import numpy as np
import pytest

from vmat_rt.case import FloatArray, Volume
from vmat_rt.errors import ModelError
from vmat_rt.grid import Grid
from vmat_rt.predictor import PredictedDose, require_dose

GRID = Grid((2, 3, 4), (3.0, 2.0, 1.0), (0.0, 0.0, 0.0), "f")


def filled(**values: float) -> FloatArray:
    """Ones, with the last voxels as given."""
    array = np.ones(GRID.shape, np.float32)
    array.ravel()[-len(values) or array.size :] = list(values.values())
    return array


@pytest.mark.parametrize("value", [0.0, 1e-30, 90.0])
def test_what_is_finite_and_not_negative_is_a_dose(value: float) -> None:
    require_dose(filled(last=value))


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ({"a": np.nan}, "of 24 voxels, 1 have no finite dose and 0 a negative one"),
        ({"a": np.inf, "b": -np.inf}, "of 24 voxels, 2 have no finite dose and 1 a negative one"),
        ({"a": -0.5, "b": -1e-6, "c": np.nan}, "of 24 voxels, 1 have no finite dose and 2 a negative one"),
    ],
)
def test_what_is_no_dose_is_refused_with_its_counts(values: dict[str, float], counts: str) -> None:
    with pytest.raises(ModelError, match=counts):
        require_dose(filled(**values))


def test_no_prior_is_none() -> None:
    assert PredictedDose(Volume(GRID, filled())).prior is None


@pytest.mark.parametrize("spoiled", ["dose", "prior"])
def test_neither_dose_nor_prior_can_hold_what_is_no_dose(spoiled: str) -> None:
    volumes = {name: Volume(GRID, filled(last=-1.0 if name == spoiled else 1.0)) for name in ("dose", "prior")}
    with pytest.raises(ModelError, match="1 a negative one"):
        PredictedDose(**volumes)
