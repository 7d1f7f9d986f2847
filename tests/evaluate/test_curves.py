"""Curves of the cases that a run has not seen, what a calibration is made of, and the commands that make and judge it.

Covers vmat_rt.commands.bands.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from vmat_rt.cli import main
from vmat_rt.cohort.split import Splits
from vmat_rt.cohort.store import Cohort
from vmat_rt.errors import ConfigError
from vmat_rt.evaluate.curves import measure_curves
from vmat_rt.evaluate.subjects import CaseChoice, Subject
from vmat_rt.metrics.dvh.compute import compute_dvhs
from vmat_rt.trust.calibration import CalibrationCase, read_calibration


@pytest.fixture(scope="module")
def measured(cohort: Cohort, run: Path) -> tuple[Subject, list[CalibrationCase]]:
    return measure_curves(str(run), CaseChoice(cohort, "unseen", None), workers=2, device="cpu")


def test_unseen_is_every_case_but_those_of_training(
    measured: tuple[Subject, list[CalibrationCase]], cohort: Cohort
) -> None:
    subject, cases = measured
    trained = Splits.read(cohort).cases("train", 42)
    assert {case.case for case in cases} == set(cohort.keys()) - set(trained)
    assert tuple(case.case for case in cases) == subject.cases


def test_the_true_curve_is_that_of_the_reference_dose(
    measured: tuple[Subject, list[CalibrationCase]], cohort: Cohort
) -> None:
    for short in measured[1]:
        case = cohort.read(short.case)
        assert case.reference_dose is not None
        for name, curves in short.structures.items():
            dvh = next(iter(compute_dvhs([case.structures[name]], case.reference_dose).values()))
            restored = curves.reference.restore(curves.volume_cc)
            assert restored.mean_gy == pytest.approx(dvh.value("Dmean"), abs=0.01)
            assert restored.dose_at_cc(0.5 * curves.volume_cc) == pytest.approx(dvh.value("D50%"), abs=0.01)


def test_the_dose_beside_is_the_prior_of_the_run(measured: tuple[Subject, list[CalibrationCase]]) -> None:
    assert all(curves.beside is not None for case in measured[1] for curves in case.structures.values())


def test_training_cases_make_no_calibration(cohort: Cohort, run: Path) -> None:
    with pytest.raises(ConfigError, match="say nothing of new ones"):
        measure_curves(str(run), CaseChoice(cohort, "train", None), workers=1, device="cpu")


def test_make_writes_the_file_and_check_reads_it_beside_the_model(cohort: Cohort, run: Path, tmp_path: Path) -> None:
    arguments = ["bands", "make", str(run), "--cohort", cohort.place.root, "--split", "unseen", "--workers", "1"]
    made = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "calibration.json")])
    assert made.exit_code == 0, made.output
    assert "no structure has the 20 cases that a band needs" in made.stdout
    assert len(read_calibration(tmp_path / "calibration.json").cases) == 4


def test_check_says_that_there_is_no_calibration(cohort: Cohort, run: Path) -> None:
    result = CliRunner().invoke(main, ["bands", "check", str(run), "--cohort", cohort.place.root, "--json"])
    assert result.exit_code == 2
    assert "has no calibration; make one with vmat-rt bands make" in json.loads(result.stdout)["problems"][0]["message"]
