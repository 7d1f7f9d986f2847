"""The curve is monotonic, D and V are inverse, and doses scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics.solids import (
    SOLIDS,
    SPHERE,
    Solid,
    bumpy_dose,
    contours_of,
    stated_gy,
)
from vmat_rt.case import Volume
from vmat_rt.metrics.dvh.compute import DEFAULT_METRICS, compute_dvh


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(SOLIDS))
def test_curve_is_monotonic_and_d_and_v_are_inverse(seed: int, solid: Solid) -> None:
    dvh = compute_dvh(contours_of(solid, 2.0), bumpy_dose(seed))
    levels = np.linspace(0, 80, 300)
    percent = dvh.curve(levels)
    assert percent[0] == 100
    assert np.all(np.diff(percent) <= 0)
    for x in (0.5, 2, 10, 50, 90, 98, 99.5):
        dose = dvh.value(f"D{x}%")
        assert dvh.value(f"V{dose:.9f}Gy") == pytest.approx(x, abs=0.02)
        assert dvh.value("Dmin") <= dose <= dvh.value("Dmax")


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 50))
def test_dose_scales(seed: int, factor: float) -> None:
    structure, dose = contours_of(SPHERE, 2.0), bumpy_dose(seed)
    scaled = Volume(dose.grid, (dose.array * np.float32(factor)).astype(np.float32))
    a, b = compute_dvh(structure, dose), compute_dvh(structure, scaled)
    for metric in DEFAULT_METRICS:
        assert b.value(metric) == pytest.approx(factor * a.value(metric), abs=factor * stated_gy(a)), metric
