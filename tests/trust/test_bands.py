"""Bands of metrics: the errors of the calibration cases, as wide as the case is uncertain, within what is possible."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trust.curves import calibration_of, dvh_of, shifted
from vmat_rt.metrics.dvh.compute import Dvh
from vmat_rt.metrics.dvh.coverage import Outside
from vmat_rt.metrics.grammar import parse_metric
from vmat_rt.trust.bands import StructureBands, find_structure_bands, leave_out
from vmat_rt.trust.conformal import Interval

ERRORS = np.linspace(-2, 2, 21)
MEAN = parse_metric("Dmean")


def bands_of(
    dose_gy: float = 30.0, beside_gy: float = 31.0, highest_gy: float = 70.0, errors_gy: np.ndarray = ERRORS
) -> StructureBands:
    found = find_structure_bands(
        calibration_of(errors_gy), dvh_of(shifted(dose_gy)), dvh_of(shifted(beside_gy)), {"PTV_7000": highest_gy}
    )
    assert found is not None
    return found


def interval_of(bands: StructureBands, metric: str) -> Interval:
    found = bands.read(parse_metric(metric))
    assert found.interval is not None, found.reason
    return found.interval


@pytest.mark.parametrize(("metric", "value"), [("Dmean", 30.0), ("D50%", 30.0), ("Dmax", 40.0)])
def test_a_dose_lies_between_the_errors(metric: str, value: float) -> None:
    """Rank 20 of 21 distances from the median error, which is 0: 2 Gy."""
    found = interval_of(bands_of(), metric)
    assert (found.low, found.high) == pytest.approx((value - 2, value + 2), abs=0.15)
    assert found.cases == 21


def test_a_volume_at_a_dose_has_a_band() -> None:
    """20 Gy across: a shift of 2 Gy is 10 % of the volume, where the level crosses the curve in every case."""
    bands = bands_of(dose_gy=40.0, beside_gy=41.0)
    found = interval_of(bands, "V40Gy")
    assert (found.low, found.high) == pytest.approx((40, 60), abs=1)


def width_of(beside_gy: float, spreads_gy: np.ndarray) -> float:
    calibration = calibration_of(ERRORS, spreads_gy)
    found = find_structure_bands(calibration, dvh_of(shifted(30)), dvh_of(shifted(beside_gy)), {"PTV_7000": 70})
    assert found is not None
    return interval_of(found, "Dmean").width


def test_a_doubtful_case_has_a_wider_band_where_doubt_told_the_errors() -> None:
    """The spread of each calibration case is as large as its error."""
    assert width_of(36.0, np.abs(ERRORS)) > 3 * width_of(31.0, np.abs(ERRORS))


def test_all_cases_have_one_width_where_doubt_told_nothing() -> None:
    """The smallest errors have the largest spreads."""
    assert width_of(36.0, 3 - np.abs(ERRORS)) == width_of(31.0, 3 - np.abs(ERRORS))


def test_doses_are_relative_to_the_highest_prescription() -> None:
    half = bands_of(dose_gy=15.0, beside_gy=15.5, highest_gy=35.0)
    assert interval_of(half, "Dmean").width == pytest.approx(interval_of(bands_of(), "Dmean").width / 2, rel=0.02)


def test_no_volume_beyond_the_whole_one() -> None:
    found = interval_of(bands_of(dose_gy=30.0), "V1Gy")
    assert (found.low, found.high) == (100.0, 100.0)


def test_no_dose_below_zero() -> None:
    assert interval_of(bands_of(dose_gy=10.5, beside_gy=12.0), "Dmin").low == 0.0


def test_too_few_cases_give_no_band() -> None:
    found = bands_of(errors_gy=ERRORS[:19]).read(MEAN)
    assert found.interval is None
    assert found.reason == "19 calibration cases have it; 20 are needed"


def test_what_needs_the_dose_elsewhere_has_none() -> None:
    assert "outside the structure" in bands_of().read(parse_metric("CI")).reason


def test_a_structure_that_leaves_the_dose_has_none() -> None:
    curve = shifted(30)
    partly = Dvh("Rectum", "Rectum", 60.0, 0.8, curve, None, outside=Outside(12.0, 40.0))
    assert find_structure_bands(calibration_of(ERRORS), partly, None, {"PTV_7000": 70}) is None


def test_a_structure_without_a_standard_name_has_none() -> None:
    unnamed = Dvh("bubble", None, 60.0, 1.0, shifted(30), None)
    assert find_structure_bands(calibration_of(ERRORS), unnamed, None, {"PTV_7000": 70}) is None


def test_a_case_is_left_out_by_its_name() -> None:
    calibration = calibration_of(ERRORS)
    assert [case.case for case in leave_out(calibration, calibration.cases[3]).cases] == [
        f"case-{index}" for index in range(21) if index != 3
    ]
