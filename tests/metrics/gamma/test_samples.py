"""Samples of the search: shells round the point whose neighbours are close enough, and limits said beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from vmat_rt.errors import ConfigError
from vmat_rt.metrics.gamma.samples import place_shell_offsets


@pytest.mark.parametrize(("step_mm", "reach_mm"), [(0.3, 3.0), (0.5, 4.0), (1.0, 6.0)])
def test_no_place_within_reach_is_further_than_a_step_from_a_sample(step_mm: float, reach_mm: float) -> None:
    offsets = place_shell_offsets(step_mm, reach_mm)
    radius = np.linalg.norm(offsets, axis=1)
    assert radius.min() == 0
    assert radius.max() == pytest.approx(reach_mm)
    places = np.random.default_rng(0).uniform(-reach_mm, reach_mm, (20_000, 3))
    places = places[np.linalg.norm(places, axis=1) <= reach_mm]
    far, _ = cKDTree(offsets).query(places)
    assert far.max() <= step_mm


def test_too_many_samples_are_refused_before_they_are_made() -> None:
    with pytest.raises(ConfigError, match="too fine"):
        place_shell_offsets(0.001, 9.0)
