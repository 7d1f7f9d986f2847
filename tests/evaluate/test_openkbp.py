"""OpenKBP's scores of an evaluation against an independent scorer, on published patients."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cohort.test_openkbp import compact
from tests.external import shared_folder
from vmat_rt.cohort.openkbp import to_openkbp_axes
from vmat_rt.curation.intake.openkbp import add_openkbp_cases, open_openkbp_cohort
from vmat_rt.errors import ConfigError
from vmat_rt.evaluate.run import Means, Question, evaluate
from vmat_rt.report.evaluation_schema import MetricSummary

NUMBERS = (201, 203)


@pytest.mark.slow
def test_scores_are_those_of_an_independent_scorer(tmp_path: Path) -> None:
    root = shared_folder("openkbp")
    cohort = open_openkbp_cohort(tmp_path / "cohort")
    add_openkbp_cases([(f"pt_{number}", compact("validation", number)) for number in NUMBERS], cohort)
    question = Question(("head_neck_geometric",), split="all", save_dose=True, gamma=False)
    document = evaluate(cohort, question, tmp_path / "out", Means(workers=1, progress=False))
    metrics = document.models["head_neck_geometric"].metrics
    (tmp_path / "doses").mkdir()
    for saved in (tmp_path / "out" / "cases").rglob("*.npz"):
        with np.load(saved) as arrays:
            np.save(tmp_path / "doses" / f"{saved.stem}.npy", to_openkbp_axes(arrays["dose"]))
    program = [sys.executable, str(root / "score_openkbp.py"), str(root / "validation"), str(tmp_path / "doses")]
    said = subprocess.run(program, check=True, capture_output=True, text=True).stdout
    assert said.startswith("2 patients scored")
    for line, name in (("dose score", "openkbp_dose_score"), ("DVH score", "openkbp_dvh_score")):
        wanted = float(said.partition(line)[2].split()[0])
        found = metrics[name]
        assert isinstance(found, MetricSummary)
        assert found.mean == pytest.approx(wanted, abs=6e-5), name
    assert document.subjects[0].notes == [], "they were not trained on these patients"


@pytest.mark.parametrize("model", ["head_neck", "head_neck_geometric"])
def test_the_shipped_models_know_their_patients_under_any_name(model: str, tmp_path: Path) -> None:
    cohort = open_openkbp_cohort(tmp_path / "cohort")
    add_openkbp_cases([("somebody", compact("train", 1)), ("else", compact("validation", 201))], cohort)
    with pytest.raises(ConfigError, match=r"trained on 1 of the 2 cases .*somebody"):
        evaluate(cohort, Question((model,), split="all"), tmp_path / "out", Means(progress=False))
