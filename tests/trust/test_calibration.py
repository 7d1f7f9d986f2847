"""A short curve says what the whole one says; the file is read as it was written, and a damaged one is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.trust.curves import calibration_of, curve_of
from vmat_rt.errors import ConfigError
from vmat_rt.metrics.dvh.evaluation import read_metric
from vmat_rt.metrics.grammar import parse_metric
from vmat_rt.trust.calibration import ShortCurve, read_calibration, write_calibration


@pytest.mark.parametrize("text", ["D98%", "D95%", "D50%", "D2%", "Dmean", "D0.03cc", "Dmax", "V40Gy", "V55Gy", "HI"])
def test_metrics_of_a_short_curve_are_those_of_the_whole_one(text: str) -> None:
    """A curve from 10 to 70 Gy with a bend: within 0.1 Gy or 0.2 % of the volume."""
    whole = curve_of(10 + 60 * np.linspace(0, 1, 2001) ** 0.7, volume_cc=80)
    short = ShortCurve.of(whole).restore(80)
    expected = read_metric(parse_metric(text), whole, None, None).value
    assert read_metric(parse_metric(text), short, None, None).value == pytest.approx(expected, abs=0.15)


def test_a_scaled_curve_has_scaled_doses() -> None:
    short = ShortCurve.of(curve_of(np.linspace(0, 70, 101), volume_cc=10))
    assert short.restore(10, scale=0.5).highest_gy == pytest.approx(35)
    assert short.restore(10, scale=0.5).mean_gy == pytest.approx(17.5)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    calibration = calibration_of(errors_gy=np.arange(3.0))
    write_calibration(tmp_path / "calibration.json", calibration)
    assert read_calibration(tmp_path / "calibration.json") == calibration


def test_a_calibration_without_cases_is_read(tmp_path: Path) -> None:
    calibration = calibration_of(errors_gy=np.arange(0.0))
    write_calibration(tmp_path / "calibration.json", calibration)
    assert read_calibration(tmp_path / "calibration.json").cases == ()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text('{"schema_version": 1}')
    with pytest.raises(ConfigError, match=r"calibration\.json is damaged"):
        read_calibration(tmp_path / "calibration.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_calibration(tmp_path / "calibration.json")
