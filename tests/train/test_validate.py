"""Scores of a validation: a dose that is too high by one gray."""

from __future__ import annotations

import numpy as np
import pytest

from tests.train.cohorts import SETTINGS, patient
from vmat_rt.geometry.gridded import gridded
from vmat_rt.geometry.model_grid import model_grid
from vmat_rt.protocol import load_protocol
from vmat_rt.train.batch import structure_table
from vmat_rt.train.validate import CaseScore, case_score, openkbp_score, summarise

PROTOCOL = load_protocol("prostate_sib_70_56")
TABLE = structure_table(PROTOCOL)


def test_scores_of_a_dose_that_is_too_high_by_one_gray() -> None:
    from dataclasses import replace

    case = gridded(patient(3), model_grid(SETTINGS.grid, patient(3)))
    assert case.reference_dose is not None
    dose = replace(case.reference_dose, array=case.reference_dose.array + np.float32(1))
    score = case_score(case, dose, TABLE)
    assert score["mae_gy"] == pytest.approx(1, abs=1e-4)
    assert score["d95_gap_gy:PTV_7000"] == pytest.approx(1, abs=0.02)
    inside = np.where(case.body.shape.array >= 0.5, dose.array, case.reference_dose.array)  # type: ignore[union-attr]
    challenge = openkbp_score(case, inside, TABLE)
    assert challenge.dose_error_gy == pytest.approx(1, abs=1e-4)
    assert set(challenge.dvh_errors_gy) >= {("D_95", "PTV_7000"), ("mean", "Rectum")}
    assert all(value == pytest.approx(1, abs=1e-3) for value in challenge.dvh_errors_gy.values())
    other = CaseScore({"mae_gy": 3.0, "d95_gap_gy:PTV_7000": -3.0})
    score.key, other.key, score.openkbp = "a", "b", challenge
    means = summarise([other, score])
    assert means["mae_gy"] == pytest.approx(2, abs=1e-4)
    assert means["d95_gap_gy:PTV_7000"] == pytest.approx(-1, abs=0.02)
    assert means["d95_abs_gap_gy"] > 1
    assert means["openkbp_dose_score"] == pytest.approx(1, abs=1e-4)
