"""Goal and DVH tables: shells beside the whole, both arms of a choice, and with what a limit was converted."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

from tests.report import synthetic
from tests.report.test_page import Page
from vmat_rt.case import Case, Prescription, Structure, Volume
from vmat_rt.metrics.dvh.compute import compute_dvhs
from vmat_rt.metrics.goals import check_goal_sets
from vmat_rt.metrics.shells import compute_shell_dvhs, find_shells
from vmat_rt.protocol import Protocol
from vmat_rt.report.colours import assign_colours, list_evaluated_structures
from vmat_rt.report.document import build_report_document
from vmat_rt.report.page import render_page
from vmat_rt.report.result import CaseResult, DoseResult
from vmat_rt.report.schema import ReportDocument, read_json_schema
from vmat_rt.report.summary import write_summary_html
from vmat_rt.report.tables import build_dvh_tables, build_goal_tables

SHELL = "PTV_5600 outside PTV_7000 + 5 mm"


def arm(structure: str, limit: float) -> dict[str, object]:
    goal = {"structure": structure, "metric": "Dmean", "comparison": "<", "limit": limit, "unit": "Gy", "source": "s"}
    return goal | {"alpha_beta_gy": 2, "alpha_beta_source": "Somebody 2010", "derived_at_gy_per_fraction": 2}


def protocol() -> Protocol:
    plain = synthetic.PROTOCOL.model_dump(mode="json")
    for spec in plain["structures"]:
        if spec["name"] == "PTV_5600":
            spec["shell_margin_mm"] = 5
    d2 = {"structure": "PTV_5600", "metric": "D2%", "comparison": "<=", "limit": 107, "unit": "% of prescription"}
    either = {"either": [arm("Femur_Head_L", 1), arm("Femur_Head_R", 60)], "note": "one suffices"}
    other = {"either": [arm("Femur_Head_L", 1), arm("PenileBulb", 60)]}
    plain["goal_sets"] = [{"name": "g", "title": "Set", "goals": [{**d2, "source": "ICRU"}, either, other]}]
    return Protocol.model_validate(plain)


def evaluate(case: Case, asked: Protocol, dose: Volume) -> DoseResult:
    doses_gy, metrics = case.prescription.dose_gy, asked.goal_metrics()
    structures = [*case.structures.values(), case.body]
    dvhs = compute_dvhs(structures, dose, metrics=metrics, prescription_gy=doses_gy, accuracy=synthetic.QUICK)
    found = find_shells(case.structures.values(), doses_gy, asked)
    shells = compute_shell_dvhs(found, dose, metrics, doses_gy, synthetic.QUICK)
    goals = check_goal_sets(asked, dvhs.values(), case.prescription, shells)
    return DoseResult("predicted", dose, dvhs, goals, synthetic.MODEL, shells)


@pytest.fixture(scope="module")
def result() -> CaseResult:
    """20 fractions of 3.5 Gy."""
    made = synthetic.result()
    case = replace(made.case, prescription=Prescription({"PTV_7000": 70.0, "PTV_5600": 56.0}, 20, "test"))
    asked = protocol()
    return replace(made, case=case, protocol=asked, predicted=evaluate(case, asked, made.predicted.dose))


@pytest.fixture(scope="module")
def document(result: CaseResult) -> ReportDocument:
    return build_report_document(result, {})


def test_a_shell_stands_under_its_target_in_the_dvh_table(result: CaseResult, document: ReportDocument) -> None:
    structures = list_evaluated_structures(result.case, result.protocol)
    targets, _ = build_dvh_tables(document, structures, assign_colours(structures, result.protocol))
    labels = [row.label for row in targets.rows]
    assert labels == ["PTV_7000", "PTV_5600", SHELL]
    whole, shell = targets.rows[1:]
    assert shell.colour == whole.colour
    d2, hi = targets.columns.index("D2%"), targets.columns.index("HI")
    assert float(shell.lines[0][1][d2]) < float(whole.lines[0][1][d2])
    assert float(shell.lines[0][1][hi]) < float(whole.lines[0][1][hi])


def test_json_has_the_shell_by_target_and_follows_its_schema(document: ReportDocument) -> None:
    plain = document.model_dump(mode="json")
    jsonschema.validate(plain, json.loads(read_json_schema("report")))
    (shell,) = plain["predicted"]["shells"]
    assert (shell["roi_name"], shell["target"], shell["outside"]) == (SHELL, "PTV_5600", ["PTV_7000"])
    assert (shell["margin_mm"], shell["name"]) == (5, None)
    assert shell["metrics"]["V95%"] is not None
    assert SHELL not in [entry["roi_name"] for entry in plain["predicted"]["structures"]]
    d2 = plain["predicted"]["goals"][0]
    assert (d2["judged_on"], d2["structure"]) == (SHELL, "PTV_5600")
    assert d2["value"] == pytest.approx(shell["metrics"]["D2%"])
    assert d2["value"] < d2["whole_value"]


def test_a_goal_on_a_shell_shows_the_whole_beside_it(document: ReportDocument) -> None:
    (table,) = build_goal_tables(document)
    row, goal = table.rows[0], document.predicted.goals[0]
    assert row.structure == SHELL
    assert row.verdicts[0].value == f"{goal.value:.1f} Gy (whole {goal.whole_value:.1f} Gy)"


def test_both_arms_of_a_goal_are_shown_with_one_verdict(document: ReportDocument) -> None:
    (table,) = build_goal_tables(document)
    row, goal = table.rows[1], document.predicted.goals[1]
    assert row.structure == "Femur_Head_L or Femur_Head_R"
    assert row.stated == "Femur_Head_L Dmean < 1 Gy or Femur_Head_R Dmean < 60 Gy"
    left, right = (f"{one.value:.1f} Gy" for one in goal.arms)
    assert (row.verdicts[0].value, row.verdicts[0].status) == (f"{left} or {right}", "met")
    assert row.note == "one suffices"
    unknown = table.rows[2]
    assert unknown.verdicts[0].value == f"{left} or –"
    assert unknown.verdicts[0].status == "not evaluable"
    assert "Femur_Head_L is missed" in unknown.reason
    assert "no PenileBulb contour" in unknown.reason


def test_a_converted_limit_says_with_what(document: ReportDocument) -> None:
    """60 Gy at 2 Gy with alpha/beta 2 are BED 120: in 20 fractions D (1 + D / 40) = 120."""
    (table,) = build_goal_tables(document)
    expected = -20 + np.sqrt(20 * 20 + 40 * 120)
    assert f"Femur_Head_R Dmean < {expected:.1f} Gy" in table.rows[1].evaluated
    assert (
        "Femur_Head_R: derived at 2 Gy per fraction, converted with alpha/beta 2 Gy (Somebody 2010)"
        in table.conversions
    )


def test_page_and_summary_print_all_of_it(result: CaseResult, document: ReportDocument) -> None:
    page = Page(render_page(result, document))
    for text in (page.text, Page(write_summary_html(document)).text):
        assert SHELL in text
        assert "Femur_Head_L or Femur_Head_R" in text
        assert "(whole " in text
    assert "converted with alpha/beta 2 Gy (Somebody 2010)" in page.text


def test_a_target_of_which_nothing_is_left_says_so(result: CaseResult) -> None:
    """The lower target as small as the higher one."""
    case = result.case
    inner = Structure("PTV_5600", "PTV_5600", case.structures["PTV_7000"].shape)
    small = replace(case, structures={**case.structures, "PTV_5600": inner})
    again = replace(result, case=small, predicted=evaluate(small, result.protocol, result.predicted.dose))
    made = build_report_document(again, {})
    (shell,) = made.predicted.shells
    assert "lies wholly within PTV_7000 + 5 mm" in shell.reason
    assert set(shell.metrics.values()) == {None}
    goal = made.predicted.goals[0]
    assert (goal.value, goal.status) == (None, "not evaluable")
    assert goal.whole_value is not None
    (table,) = build_goal_tables(made)
    assert table.rows[0].verdicts[0].value.startswith("– (whole ")
