"""What a result and a refusal say at a glance; and files in the outbox that are not ours, or damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.service.pages import configured
from vmat_rt_service.web.results import Glance, Reason, Results


def goal(status: str, metric: str = "D95%") -> dict[str, Any]:
    return {"structure": "PTV_7000", "metric_stated": metric, "status": status}


def test_goals_are_counted_among_those_that_could_be_evaluated(tmp_path: Path) -> None:
    config = configured(tmp_path)
    (config.outbox / "case-1").mkdir(parents=True)
    goals = [goal("met"), goal("missed", "Dmax"), goal("not evaluable"), goal("vacuous")]
    document = {"protocol": {"title": "Prostate 70/28"}, "predicted": {"goals": goals}}
    (config.outbox / "case-1" / "report.json").write_text(json.dumps(document))
    results = Results(config)
    assert results.glance("case-1") == Glance("Prostate 70/28", 1, 2, ("PTV_7000 Dmax",))
    assert results.glance("case-2") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"protocol": 3}', "[" * 100_000, '{"predicted": {"goals": [1]}}'])
def test_what_is_no_report_is_passed_over(tmp_path: Path, text: str) -> None:
    config = configured(tmp_path)
    for place in (config.outbox / "case-1" / "report.json", config.outbox / "refused" / "case-1" / "reason.json"):
        place.parent.mkdir(parents=True)
        place.write_text(text)
    assert Results(config).glance("case-1") is None
    assert Results(config).list_reasons("case-1") == ()


def test_reasons_are_sentences_with_remedy_and_code(tmp_path: Path) -> None:
    config = configured(tmp_path)
    place = config.outbox / "refused" / "case-1" / "reason.json"
    place.parent.mkdir(parents=True)
    problem = {"code": "CT_GAP", "message": "A gap.", "remedy": "Fill it."}
    place.write_text(json.dumps({"problems": [problem, "x", {}]}))
    assert Results(config).list_reasons("case-1") == (Reason("A gap.", "Fill it.", "CT_GAP"),)
