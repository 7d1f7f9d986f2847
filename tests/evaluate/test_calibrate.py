"""Bands are judged by cases that did not make them: errors like those of the calibration are held, others are not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trust.curves import calibration_of
from vmat_rt.evaluate.calibrate import JUDGED, judge_bands


def normal_errors(seed: int, count: int, sd_gy: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.5, sd_gy, count)


def test_like_cases_are_held_in_nine_of_ten() -> None:
    """One error shifts all metrics of a case together, so 400 cases are 400 draws: SD 1.5 points."""
    calibration = calibration_of(normal_errors(1, 200, 2.0))
    new = calibration_of(normal_errors(2, 400, 2.0))
    renamed = [case.model_copy(update={"case": f"new-{case.case}"}) for case in new.cases]
    rows = judge_bands(calibration, renamed)
    assert [row.structure for row in rows] == ["Rectum", "all"]
    assert rows[0].percent == pytest.approx(90, abs=5)
    assert rows[0].judged == 400 * len(JUDGED)


def test_errors_twice_as_large_are_not_held() -> None:
    calibration = calibration_of(normal_errors(1, 100, 2.0))
    new = [
        case.model_copy(update={"case": f"new-{case.case}"})
        for case in calibration_of(normal_errors(2, 100, 6.0)).cases
    ]
    assert judge_bands(calibration, new)[-1].percent < 60


def test_a_case_is_judged_by_the_others() -> None:
    """One error of 10 Gy among 25 of none: the others do not know it."""
    calibration = calibration_of(np.array([0.0] * 25 + [10.0]))
    assert judge_bands(calibration, calibration.cases)[-1].held == 25 * len(JUDGED)


def test_widths_that_follow_the_case_are_narrower_on_average() -> None:
    """Where the error is as large as the spread says, the constant band must be as wide as the most doubtful case."""
    spreads = np.geomspace(0.2, 8, 60)
    errors = spreads * np.random.default_rng(3).choice([-1.0, 1.0], 60)
    calibration = calibration_of(errors, spreads)
    row = judge_bands(calibration, calibration.cases)[-1]
    assert row.width_gy < 0.8 * row.constant_width_gy


def test_too_few_cases_are_not_judged() -> None:
    calibration = calibration_of(np.zeros(10))
    assert judge_bands(calibration, calibration.cases) == []
