"""What the page says first: missed goals by name, coverage, distance from other doses, SIMULATED.

Covers vmat_rt.report.web.titles.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report import synthetic
from vmat_rt.case import ModelIdentity
from vmat_rt.report.document import build_report_document
from vmat_rt.report.page import render_page
from vmat_rt.report.result import CaseResult
from vmat_rt.report.web.headlines import build_headlines, cannot_compare
from vmat_rt.report.web.titles import list_simulated, title_doses


def simulated(result: CaseResult) -> CaseResult:
    return replace(result, case=replace(result.case, reference_simulated=True))


def test_missed_goals_are_named_with_their_margin(result: CaseResult) -> None:
    document = build_report_document(result, {})
    headlines = build_headlines(result, document)
    missed = {(g.structure, g.metric_evaluated) for g in document.predicted.goals if g.status == "missed"}
    assert headlines.missed == len(missed) > 0
    assert len(headlines.named) == min(3, headlines.missed)
    assert headlines.more == headlines.missed - len(headlines.named)
    assert all(goal.margin.endswith("the limit") for goal in headlines.named)
    assert headlines.unknown == sum(g.status == "not evaluable" for g in document.predicted.goals)


def test_the_dose_that_the_network_was_shown_is_no_independent_check(result: CaseResult) -> None:
    document = build_report_document(result, {})
    assert document.comparison_with_baseline is not None
    mae = f"{document.comparison_with_baseline.mae_body_gy:.2f} Gy"
    shown = build_headlines(replace(result, baseline_was_shown=True), document).gaps[0]
    assert (shown.text, shown.value) == ("Differs from the dose it was shown, mean in the body, by", mae)
    assert "both err together" in shown.note
    apart = build_headlines(result, document).gaps[0]
    assert apart.text == "Differs from the geometric baseline dose, mean in the body, by"
    assert "err together" not in apart.note


def test_a_metric_that_is_missing_cannot_be_compared(result: CaseResult) -> None:
    document = build_report_document(result, {})
    comparison = document.comparison_with_clinical
    assert comparison is not None
    gaps = [g.model_copy(update={"d95_gap_gy": None} if g.role == "target" else {}) for g in comparison.structures]
    assert [cannot_compare(gap) for gap in gaps if gap.role == "target"] == [True, True]
    changed = document.model_copy(
        update={"comparison_with_clinical": comparison.model_copy(update={"structures": gaps, "disagrees": False})}
    )
    assert "cannot compare PTV_7000, PTV_5600" in build_headlines(result, changed).gaps[1].note
    page = render_page(result, changed)
    assert '<span class="status not-evaluable">cannot compare</span>' in page
    assert "structures cannot be compared" in page


def test_doses_that_share_nothing_cannot_be_compared(result: CaseResult) -> None:
    document = build_report_document(result, {})
    assert document.comparison_with_clinical is not None
    nothing = document.comparison_with_clinical.model_copy(update={"mae_body_gy": None})
    gap = build_headlines(result, document.model_copy(update={"comparison_with_clinical": nothing})).gaps[1]
    assert (gap.text, gap.value, gap.tone) == ("Cannot compare with the clinical dose", "–", "warn")


def test_a_simulated_reference_is_never_called_clinical(result: CaseResult) -> None:
    assert title_doses(result)["clinical"] == "Clinical"
    made = simulated(result)
    assert title_doses(made)["clinical"] == "Reference (simulated)"
    page = render_page(made, build_report_document(made, {}))
    assert "The reference dose is SIMULATED, not a clinical plan." in page
    assert '"title": "Reference (simulated)"' in page
    assert "Clinical" not in page


@pytest.mark.parametrize("trained_on", ["86 cases, simulated male pelves", "SIMULATED data: 3 cases"])
def test_a_model_that_learned_from_simulations_says_so(result: CaseResult, trained_on: str) -> None:
    model = replace(synthetic.MODEL, trained_on=trained_on)
    made = replace(result, predicted=replace(result.predicted, model=model))
    assert list_simulated(made) == ["The model learned from SIMULATED patients and doses."]


def test_a_model_of_patients_says_nothing_of_the_kind(result: CaseResult) -> None:
    model: ModelIdentity = replace(synthetic.MODEL, trained_on="169 cases, OpenKBP patients")
    assert list_simulated(replace(result, predicted=replace(result.predicted, model=model))) == []
