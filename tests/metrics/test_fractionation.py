"""Biologically equivalent doses by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmat_rt.errors import ConfigError
from vmat_rt.metrics.fractionation import bed_gy, convert_level_gy, eqd2_gy, fractionates_otherwise, physical_gy


@pytest.mark.parametrize(("level", "physical"), [(50, 51.6), (60, 58.8), (65, 62.2), (70, 65.5), (75, 68.7)])
def test_quantec_levels_in_28_fractions(level: float, physical: float) -> None:
    assert convert_level_gy(level, 2, 28, 3) == pytest.approx(physical, abs=0.05)


@pytest.mark.parametrize(("level", "physical"), [(50, 51.2), (60, 59.1), (65, 62.8), (70, 66.5), (75, 70.0)])
def test_levels_at_alpha_beta_5(level: float, physical: float) -> None:
    assert convert_level_gy(level, 2, 28, 5) == pytest.approx(physical, abs=0.05)


def test_70_gy_in_28_fractions_is_77_gy() -> None:
    assert eqd2_gy(70, 28, 3) == pytest.approx(77.0, abs=1e-9)
    assert bed_gy(70, 28, 3) == pytest.approx(70 * (1 + 2.5 / 3))


@given(st.floats(0, 120), st.integers(1, 45), st.floats(0.5, 20))
def test_bed_and_physical_dose_are_inverse(total: float, fractions: int, alpha_beta: float) -> None:
    assert physical_gy(bed_gy(total, fractions, alpha_beta), fractions, alpha_beta) == pytest.approx(total, abs=1e-6)


@given(st.integers(1, 45), st.floats(0.5, 20))
def test_two_gray_a_fraction_is_the_fixed_point(fractions: int, alpha_beta: float) -> None:
    assert eqd2_gy(2.0 * fractions, fractions, alpha_beta) == pytest.approx(2.0 * fractions)
    assert convert_level_gy(2.0 * fractions, 2, fractions, alpha_beta) == pytest.approx(2.0 * fractions)


@pytest.mark.parametrize(("plan", "converted"), [(1.8, False), (2.0, False), (1.75, True), (2.12, True), (2.5, True)])
def test_when_limits_for_two_gray_are_converted(plan: float, converted: bool) -> None:
    assert fractionates_otherwise(plan, 2.0) is converted


@pytest.mark.parametrize("arguments", [(-1, 28, 3), (70, 0, 3), (70, 28, 0), (float("nan"), 28, 3)])
def test_nonsense_is_refused(arguments: tuple[float, int, float]) -> None:
    with pytest.raises(ConfigError):
        bed_gy(*arguments)
