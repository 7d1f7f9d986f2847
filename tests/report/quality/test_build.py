"""Plan quality in report.json and on the page: of the right doses, with the right alpha/beta, and absent where absent.

Covers vmat_rt.report.quality.entries.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report import synthetic
from vmat_rt.metrics.fractionation import eqd2_gy
from vmat_rt.metrics.gamma.index import gamma
from vmat_rt.metrics.plan_quality import compute_target_quality
from vmat_rt.report.document import build_report_document
from vmat_rt.report.page import render_page
from vmat_rt.report.quality.build import (
    build_dose_qualities,
    build_gamma_rates,
    build_quality_tables,
    compute_gammas,
    find_alpha_betas,
)
from vmat_rt.report.quality.entries import TargetIndices
from vmat_rt.report.result import CaseResult
from vmat_rt.report.web.titles import title_doses


@pytest.fixture(scope="module")
def compared(result: CaseResult) -> CaseResult:
    return replace(result, gammas=compute_gammas(result.predicted, result.others))


def test_targets_and_organs_of_the_predicted_and_the_clinical_dose(result: CaseResult) -> None:
    qualities = build_dose_qualities(result)
    assert [quality.label for quality in qualities] == ["predicted", "clinical"]
    for quality in qualities:
        assert [target.name for target in quality.targets] == ["PTV_7000", "PTV_5600"]
        assert [organ.name for organ in quality.organs] == ["Rectum", "Bladder", "Femur_Head_L", "Femur_Head_R"]
    found = compute_target_quality(result.predicted.dvhs["PTV 70"], result.predicted.dose, 70.0)
    assert qualities[0].targets[0].paddick_ci == found.paddick_ci
    assert 0 < (found.paddick_ci or 0) <= 1


def test_eqd2_is_given_where_the_protocol_names_one_alpha_beta(result: CaseResult) -> None:
    assert find_alpha_betas(result.protocol) == {"Rectum": 3.0}
    rectum, bladder = build_dose_qualities(result)[0].organs[:2]
    mean = result.predicted.dvhs[synthetic.EVIL].value("Dmean")
    assert mean is not None
    assert rectum.eqd2_gy["Dmean"] == pytest.approx(eqd2_gy(mean, 28, 3.0))
    assert bladder.eqd2_gy == {}
    assert bladder.geud_gy is not None


def test_an_alpha_beta_on_which_goals_differ_is_not_taken(result: CaseResult) -> None:
    first, *others = result.protocol.goal_sets
    other = first.goals[0].model_copy(update={"alpha_beta_gy": 10.0})
    changed = first.model_copy(update={"goals": (*first.goals, other)})
    assert find_alpha_betas(result.protocol.model_copy(update={"goal_sets": (changed, *others)})) == {}


def test_gamma_is_of_the_clinical_dose_by_two_criteria(compared: CaseResult) -> None:
    clinical = compared.other("clinical")
    assert clinical is not None
    rates = build_gamma_rates(compared.gammas)
    assert [rate.criteria for rate in rates] == [
        "3 % / 3 mm global, above 10 %", "2 % / 2 mm global, above 10 %",
    ]  # fmt: skip
    assert rates[0].pass_rate_percent == gamma(clinical.dose, compared.predicted.dose).pass_rate_percent
    assert (rates[0].pass_rate_percent or 0) >= (rates[1].pass_rate_percent or 0)
    document = build_report_document(compared, {})
    assert document.gamma == rates
    page = render_page(compared, document)
    assert f"<b>{rates[1].pass_rate_percent:.1f} %</b>" in page
    assert '"gamma": {"data"' in page or '"title": "3 % / 3 mm global, above 10 %"' in page


def test_without_a_clinical_dose_there_is_no_gamma(result: CaseResult) -> None:
    assert compute_gammas(result.predicted, result.others[:1]) == ()
    assert build_report_document(result, {}).gamma == []


def test_tables_say_what_cannot_be_computed_and_leave_out_organs_without_numbers(result: CaseResult) -> None:
    qualities = build_dose_qualities(result)
    cut = TargetIndices(
        name="PTV_7000", prescription_gy=70.0, paddick_ci=None, rtog_ci=None, gradient_index=None, r50=None,
        homogeneity=None, reason="the prescribed isodose leaves the dose grid",
    )  # fmt: skip
    changed = [quality.model_copy(update={"targets": [cut]}) for quality in qualities]
    targets, organs = build_quality_tables(changed, title_doses(result))
    assert targets.rows[0].values == ("–",) * 5
    assert targets.rows[0].note == "the prescribed isodose leaves the dose grid"
    assert [(row.name, row.dose) for row in organs.rows[:2]] == [("Rectum", "Predicted"), ("", "Clinical")]
    nothing = [
        quality.model_copy(
            update={
                "organs": [o.model_copy(update={"geud_exponent": None, "alpha_beta_gy": None}) for o in quality.organs]
            }
        )
        for quality in changed
    ]
    assert len(build_quality_tables(nothing, title_doses(result))) == 1
