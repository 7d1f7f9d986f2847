"""Ranking plans that are worse than predicted, against a spread that is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.evaluate.documents import document, structure
from vmat_rt.evaluate.clinical import FEWEST, FROM_OTHERS, FROM_VALIDATION, compare_with_clinical
from vmat_rt.report.evaluation_schema import CaseDocument

RESIDUALS = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0)


def rectum(case: str, clinical_minus_predicted: float) -> CaseDocument:
    return document(case, {}, structures=[structure("Rectum", Dmean=(20.0, 20.0 + clinical_minus_predicted))])


def target(case: str, clinical_minus_predicted: float) -> CaseDocument:
    return document(case, {}, structures=[structure("PTV", 70.0, D95=(68.0, 68.0 + clinical_minus_predicted))])


def test_z_is_in_spreads_of_the_validation_cases() -> None:
    spread = {"m": [rectum(f"v{i}", value) for i, value in enumerate(RESIDUALS)]}
    found = compare_with_clinical([rectum("good", 0.5), rectum("bad", 9.0), rectum("better", -9.0)], spread)
    (finding,) = found.findings
    expected, sd = np.mean(RESIDUALS), np.std(RESIDUALS, ddof=1)
    assert (finding.rank, finding.case, finding.structure, finding.metric) == (1, "bad", "Rectum", "Dmean")
    assert (finding.excess, finding.expected, finding.spread) == (9.0, expected, pytest.approx(sd))
    assert finding.z == pytest.approx((9 - expected) / (sd * math.sqrt(1 + 1 / len(RESIDUALS))))
    assert (found.compared, found.not_judged) == (3, 0)
    assert found.spread_from == {"m": FROM_VALIDATION}


def test_less_dose_is_worse_in_a_target_only() -> None:
    spread = {"m": [target(f"v{i}", value) for i, value in enumerate(RESIDUALS)]}
    found = compare_with_clinical([target("cold", -9.0), target("hot", 9.0)], spread)
    assert [(finding.case, finding.worse, finding.excess) for finding in found.findings] == [("cold", "lower", 9.0)]


def test_the_worst_comes_first() -> None:
    spread = {"m": [rectum(f"v{i}", value) for i, value in enumerate(RESIDUALS)]}
    found = compare_with_clinical([rectum("bad", 6.0), rectum("worst", 20.0), rectum("worse", 9.0)], spread)
    assert [(finding.rank, finding.case) for finding in found.findings] == [(1, "worst"), (2, "worse"), (3, "bad")]


def test_without_validation_cases_the_others_tell_the_spread() -> None:
    """Leaving out the case in question: with itself in the spread, an outlier hides behind itself."""
    cases = [*(rectum(f"c{i}", value) for i, value in enumerate(RESIDUALS)), rectum("bad", 9.0)]
    found = compare_with_clinical(cases, {})
    assert found.spread_from == {"m": FROM_OTHERS}
    assert found.findings[0].case == "bad"
    assert found.findings[0].expected == np.mean(RESIDUALS)
    assert found.findings[0].n_spread == len(RESIDUALS)


def test_too_few_or_equal_cases_judge_nothing() -> None:
    few = [rectum(f"c{i}", float(i)) for i in range(FEWEST)]
    assert compare_with_clinical(few, {}).compared == 0
    same = {"m": [rectum(f"v{i}", 1.0) for i in range(8)]}
    found = compare_with_clinical([rectum("bad", 9.0), document("lost")], same)
    assert (found.compared, found.not_judged, found.findings) == (0, 1, [])
    assert found.in_words().startswith("No value of a plan could be judged: of 1, too few cases")


def test_what_was_judged_is_said_in_words() -> None:
    spread = {"m": [rectum(f"v{i}", value) for i, value in enumerate(RESIDUALS)]}
    found = compare_with_clinical([rectum("good", 0.5), rectum("bad", 9.0)], spread)
    assert found.in_words() == "1 of 2 values are worse than predicted by more than the model's own spread."
