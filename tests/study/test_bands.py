"""The bands of a real study: of its metrics, goals and DVHs, where a calibration of this very model lies beside it.

Covers vmat_rt.report.band_entries.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from vmat_rt.bundle import find_bundle, load_bundle
from vmat_rt.errors import ConfigError
from vmat_rt.metrics.dvh.curve import DoseVolumeCurve
from vmat_rt.report.band_entries import BandsEntry
from vmat_rt.study.bands import find_calibration
from vmat_rt.study.predict import predict_study
from vmat_rt.study.prediction import Prediction
from vmat_rt.trust.calibration import (
    FILE,
    Calibration,
    CalibrationCase,
    ShortCurve,
    StructureCurves,
    write_calibration,
)

STUDY = Path(__file__).resolve().parents[2] / "sample_data" / "head_neck_openkbp"


def case_of(index: int, error_gy: float) -> CalibrationCase:
    """Predicted evenly from 0 to 60 Gy, planned so much higher."""

    def short(shift: float) -> ShortCurve:
        doses = np.linspace(0, 60, 101) + shift
        return ShortCurve.of(DoseVolumeCurve(doses, np.linspace(20, 0, 101), float(doses.mean())))

    curves = StructureCurves(volume_cc=20, predicted=short(1), beside=None, reference=short(1 + error_gy))
    return CalibrationCase(case=f"case-{index}", highest_gy=70, structures={"Parotid_L": curves, "PTV_7000": curves})


def calibration_of(sha256: str) -> Calibration:
    return Calibration(
        model="head_neck_geometric",
        model_version="1.0.0",
        model_sha256=sha256,
        data="made for a test",
        simulated=True,
        date="2026-11-28",
        command="none",
        cases=tuple(case_of(index, error) for index, error in enumerate(np.linspace(-1, 1, 25))),
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trees that ship, with a calibration beside them."""
    folder = tmp_path_factory.mktemp("model") / "trees"
    shutil.copytree(find_bundle("head_neck_70", "head_neck_geometric").folder, folder)
    (folder / FILE).unlink(missing_ok=True)
    write_calibration(folder / FILE, calibration_of(load_bundle(folder).identity.sha256))
    return folder


@pytest.fixture(scope="module")
def predicted(model: Path) -> Prediction:
    return predict_study(STUDY, None, model=str(model))


@pytest.fixture(scope="module")
def bands(predicted: Prediction) -> BandsEntry:
    assert predicted.report.bands is not None
    return predicted.report.bands


def test_a_mean_dose_has_the_calibrated_width(predicted: Prediction, bands: BandsEntry) -> None:
    """Rank 24 of 25: an end of the errors, 1 Gy from 0, and 1/24 Gy more from the median of the others."""
    (band,) = (b for b in bands.metrics if (b.structure, b.metric) == ("Parotid_L", "Dmean"))
    value = predicted.dvhs["Parotid_L"].value("Dmean")
    assert value is not None
    assert band.low is not None
    assert band.high is not None
    assert (band.low + band.high) / 2 == pytest.approx(value, abs=0.01)
    assert band.high - band.low == pytest.approx(2 * (1 + 1 / 24), abs=0.03)


def test_every_goal_of_a_calibrated_structure_has_its_metric(predicted: Prediction, bands: BandsEntry) -> None:
    known = {(band.structure, band.metric) for band in bands.metrics}
    goals = [goal for goal in predicted.report.predicted.goals if goal.structure in {"Parotid_L", "PTV_7000"}]
    assert goals
    assert {(goal.structure, goal.metric_evaluated) for goal in goals} <= known


def test_the_curve_lies_within_its_band(predicted: Prediction, bands: BandsEntry) -> None:
    (curve,) = (c for c in bands.curves if c.structure == "Parotid_L")
    dvh = predicted.dvhs["Parotid_L"]
    values = [dvh.value(f"D{percent:.10g}%") for percent in curve.volume_percent]
    for low, value, high in zip(curve.low_gy, values, curve.high_gy, strict=True):
        assert value is not None
        assert low <= value <= high
    assert curve.low_gy == sorted(curve.low_gy)
    assert curve.high_gy == sorted(curve.high_gy)


def test_structures_that_were_not_calibrated_have_none(bands: BandsEntry) -> None:
    assert {band.structure for band in bands.metrics} == {"Parotid_L", "PTV_7000"}


def test_a_calibration_of_another_model_is_not_used(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(model, other)
    write_calibration(other / FILE, calibration_of("f" * 64))
    calibration, (problem,) = find_calibration(load_bundle(other))
    assert calibration is None
    assert problem.code == "CALIBRATION_OF_ANOTHER_MODEL"


def test_a_damaged_calibration_is_an_error(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "damaged"
    shutil.copytree(model, other)
    (other / FILE).write_text("{")
    with pytest.raises(ConfigError, match="is damaged"):
        find_calibration(load_bundle(other))
