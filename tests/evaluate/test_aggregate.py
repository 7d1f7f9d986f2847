"""Pooling over cases and seeds, where it can be done by hand.

Covers vmat_rt.report.evaluation_schema.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.evaluate.documents import document
from vmat_rt.evaluate.aggregate import aggregate, make_result_rows
from vmat_rt.report.evaluation_schema import CaseDocument, MetricSummary, ModelAggregate


def pooled(*documents: CaseDocument) -> ModelAggregate:
    return aggregate(documents, {"m": "model"})["m"]


def test_mean_sd_and_interval_are_over_cases() -> None:
    values = [1.0, 2.0, 4.0, 9.0]
    model = pooled(*(document(f"c{i}", {"mae_gy": value}) for i, value in enumerate(values)))
    found = model.metrics["mae_gy"]
    assert isinstance(found, MetricSummary)
    assert (found.mean, found.n) == (4.0, 4)
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    assert found.ci95 is not None
    assert 1 < found.ci95[0] < 4 < found.ci95[1] < 9
    assert (model.n_cases, model.n_failed, model.seeds) == (4, 0, [])
    again = pooled(*(document(f"c{i}", {"mae_gy": value}) for i, value in enumerate(values)))
    assert again == model, "the same numbers from the same cases"


def test_a_case_of_two_seeds_counts_once() -> None:
    model = pooled(
        document("a", {"mae_gy": 1.0}, seed="42"),
        document("a", {"mae_gy": 3.0}, seed="7"),
        document("b", {"mae_gy": 8.0}, seed="7"),
    )
    found = model.metrics["mae_gy"]
    assert isinstance(found, MetricSummary)
    assert found.mean == (2 + 8) / 2
    assert found.by_seed == {"7": 5.5, "42": 1.0}
    assert found.seed_sd == pytest.approx(np.std([1, 3], ddof=1)), "over the case that both saw"
    assert (model.n_cases, model.seeds) == (2, ["7", "42"])


def test_what_exists_a_structure_is_nested() -> None:
    gaps = pooled(document("a", {"d95_gap_gy:PTV_7000": -1.0}), document("b", {"d95_gap_gy:PTV_7000": 0.0}))
    nested = gaps.metrics["d95_gap_gy"]
    assert isinstance(nested, dict)
    assert nested["PTV_7000"].mean == -0.5


def test_failed_cases_and_absent_values_are_no_zeros() -> None:
    documents = [
        document("a", {"mae_gy": 2.0, "hi:PTV": None}),
        document("b", {"mae_gy": 4.0, "near:Rectum": 1.0}),
        document("c"),
    ]
    model = pooled(*documents)
    found = model.metrics["mae_gy"]
    assert isinstance(found, MetricSummary)
    assert (found.mean, found.n) == (3.0, 2)
    assert (model.n_cases, model.n_failed) == (2, 1)
    lost = [(row.metric, row.value) for row in make_result_rows(documents) if row.case == "c"]
    assert lost == [("mae_gy", None), ("failed", 1.0)]


def test_openkbp_pools_entries_not_patients() -> None:
    """Three entries of one patient weigh three times the one of another."""
    model = pooled(
        document("a", {"openkbp_dvh_score": 1.0}, openkbp={"D_95 P": 1.0, "D_99 P": 1.0, "D_1 P": 1.0}),
        document("b", {"openkbp_dvh_score": 5.0}, openkbp={"mean R": 5.0}),
    )
    found = model.metrics["openkbp_dvh_score"]
    assert isinstance(found, MetricSummary)
    assert found.mean == (3 * 1 + 5) / 4
    assert found.ci95 == (1.0, 5.0)
    assert found.sd == pytest.approx(np.std([1, 5], ddof=1))


def test_the_openkbp_interval_is_of_the_mean_beside_it() -> None:
    """Of a seed with twenty patients and one with two, each counts once."""
    many = [document(f"p{i}", {}, seed="1", openkbp={"D_95 P": 1.0 + 0.01 * i}) for i in range(20)]
    few = [document(f"p{i}", {}, seed="2", openkbp={"D_95 P": 5.0 + i}) for i in range(2)]
    found = pooled(*many, *few).metrics["openkbp_dvh_score"]
    assert isinstance(found, MetricSummary)
    assert found.mean is not None
    assert found.ci95 is not None
    assert found.ci95[0] < found.mean < found.ci95[1]


def test_the_spread_over_seeds_is_that_of_the_cases_that_all_of_them_have() -> None:
    """The second seed lacks the difficult patient: that does not make the two differ."""
    model = pooled(
        document("a", {"openkbp_dvh_score": 1.0}, seed="1", openkbp={"D_95 P": 1.0}),
        document("b", {"openkbp_dvh_score": 9.0}, seed="1", openkbp={"D_95 P": 9.0}),
        document("a", {"openkbp_dvh_score": 2.0}, seed="2", openkbp={"D_95 P": 2.0}),
    )
    found = model.metrics["openkbp_dvh_score"]
    assert isinstance(found, MetricSummary)
    assert found.by_seed == {"1": 5.0, "2": 2.0}
    assert found.seed_sd == pytest.approx(np.std([1, 2], ddof=1))


def test_a_model_of_which_nothing_is_known() -> None:
    model = pooled(document("a"), document("b"))
    assert (model.n_cases, model.n_failed, model.metrics) == (0, 2, {})
