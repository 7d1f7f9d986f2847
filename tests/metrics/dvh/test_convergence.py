"""Refining the samples changes no more than is stated, and hot spots between samples are found."""

from __future__ import annotations

import numpy as np
import pytest

from tests.metrics.solids import (
    CONE,
    CYLINDER,
    FRAME,
    SPHERE,
    Solid,
    box_structure,
    bumpy_dose,
    contours_of,
    stated_gy,
)
from vmat_rt.case import Volume
from vmat_rt.grid import Grid
from vmat_rt.metrics.dvh.compute import DEFAULT_METRICS, compute_dvh
from vmat_rt.metrics.dvh.convergence import Accuracy


def test_hot_spot_between_samples_is_found_in_a_large_structure() -> None:
    """A single hot dose voxel in a 4 litre box: Dmax is the voxel, D0.03cc what the trilinear tent says."""
    grid = Grid((62, 83, 71), (3.0, 2.5, 2.7), (-90.1, -103.3, -95.7), FRAME)
    array = np.full(grid.shape, 20.0, np.float32)
    array[31, 40, 33] = 80.0
    box = box_structure((-70.0, -90.0, -80.0), (70.0, 90.0, 80.0), 5.0)
    dvh = compute_dvh(box, Volume(grid, array))
    assert dvh.value("Dmax") == pytest.approx(80, abs=1e-3)
    side = (np.arange(400) + 0.5) / 200 - 1
    weight = (1 - abs(side))[:, None, None] * (1 - abs(side))[None, :, None] * (1 - abs(side))[None, None, ::4]
    tent = np.sort((20 + 60 * weight).ravel())[::-1]
    share = 30 / (8 * grid.voxel_cc * 1000)
    assert dvh.value("D0.03cc") == pytest.approx(tent[int(share * len(tent))], abs=0.2)


@pytest.mark.parametrize(("seed", "solid", "spacing"), [(5, SPHERE, 2.0), (0, CYLINDER, 1.0), (9, CONE, 3.0)])
def test_refinement_changes_no_more_than_stated(seed: int, solid: Solid, spacing: float) -> None:
    structure, dose = contours_of(solid, spacing), bumpy_dose(seed)
    dvh = compute_dvh(structure, dose)
    assert dvh.grid_invariance is not None
    assert dvh.grid_invariance.within_tolerance
    fine = compute_dvh(
        structure, dose, accuracy=Accuracy(dose_percent=1e-6, volume_percent=1e-6, most_cells=12_000_000)
    )
    assert fine.grid_invariance is not None
    assert fine.grid_invariance.step_mm < dvh.grid_invariance.step_mm
    for metric in DEFAULT_METRICS:
        assert fine.value(metric) == pytest.approx(dvh.value(metric), abs=stated_gy(dvh)), metric
