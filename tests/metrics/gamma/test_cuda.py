"""Gamma through torch gives the answer of the processor's kernel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.metrics.doses import GRID, PAIR, smooth_pair, volume
from vmat_rt.grid import Grid
from vmat_rt.metrics.gamma.index import gamma


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize(
    "grid",
    [
        GRID,
        replace(GRID, origin_mm=(-40.2, 16.1, 6.4)),
        Grid((9, 18, 15), (3.7, 1.9, 3.3), (-38.0, 15.0, 4.0), GRID.frame_uid),
    ],
    ids=["same grid", "shifted", "other spacing"],
)
def test_torch_gives_the_same_answer(grid: Grid, local: bool) -> None:
    reference, (_, evaluation) = (
        volume(PAIR[0].array[:7, :9, :8], GRID.crop((0, 0, 0), (7, 9, 8))),
        smooth_pair(5, grid),
    )
    by_numba = gamma(reference, evaluation, local=local)
    by_torch = gamma(reference, evaluation, local=local, device="torch")
    np.testing.assert_allclose(by_torch.map.array, by_numba.map.array, atol=2e-5)
