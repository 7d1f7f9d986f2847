"""The page of a real evaluation: doses that were not saved are predicted again, clinical plans are ranked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vmat_rt.bundle import load_bundle
from vmat_rt.cohort.store import Cohort
from vmat_rt.evaluate.report import Asked, gather, report_evaluations
from vmat_rt.evaluate.run import Means, Question, evaluate
from vmat_rt.prediction import predict_dose
from vmat_rt.report.evaluation_schema import AgainstClinicalDocument, PlanFinding

ONE = Means(workers=1, progress=False, device="cpu")


@pytest.fixture(scope="module")
def bare(cohort: Cohort, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation without doses, against the clinical plans."""
    out = tmp_path_factory.mktemp("bare")
    evaluate(cohort, Question((str(run),), gamma=False, clinical=True, baseline=False), out, ONE)
    return out


def test_doses_that_were_not_saved_are_predicted_again(bare: Path, cohort: Cohort, run: Path) -> None:
    asked = Asked((bare,), runs=(run,), cohort=str(cohort.place.root), device="cpu")
    shown = gather(asked).exemplars
    assert shown
    for exemplar in shown:
        dose = predict_dose(exemplar.case, load_bundle(run), "cpu").dose
        assert np.allclose(exemplar.predicted.array, dose.array, rtol=0, atol=1e-4)
    without = gather(Asked((bare,), cohort=str(cohort.place.root)))
    assert without.exemplars == ()
    assert "--save-dose" in without.no_pictures


def test_plans_that_are_worse_than_predicted_are_ranked(bare: Path, tmp_path: Path) -> None:
    path = bare / "against_clinical.json"
    found = AgainstClinicalDocument.model_validate_json(path.read_text(encoding="utf-8"))
    finding = PlanFinding(
        rank=1, model="tiny_network", seed="42", case="tiny-3", structure="Rectum", metric="Dmean", unit="Gy",
        worse="higher", clinical=31.25, predicted=20.5, excess=10.75, expected=0.5, spread=1.5, n_spread=9, z=6.4,
    )  # fmt: skip
    path.write_text(found.model_copy(update={"findings": [finding]}).model_dump_json(), encoding="utf-8")
    try:
        (page, *_) = report_evaluations(Asked((bare,)), tmp_path / "page")
    finally:
        path.write_text(found.model_dump_json(), encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    section = text[text.index('id="clinical"') :]
    assert "Plans worse than predicted" in section
    for said in ("Rectum", "Dmean, Gy", "31.2", "20.5", "10.7", "6.4"):
        assert said in section[: section.index("</table>")], said
