"""The summary on paper: two pages whatever the case, the notice on each, and the numbers of report.json.

Covers vmat_rt.report.pdf.sheet.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.external import module
from tests.report import synthetic
from tests.report.pdf.reader import read_pages
from vmat_rt.errors import warning
from vmat_rt.report.document import build_report_document
from vmat_rt.report.page import write_report
from vmat_rt.report.result import CaseResult
from vmat_rt.report.schema import NOTICE, ReportDocument

module("fpdf")
from vmat_rt.report.pdf.summary import draw_dvh, write_summary_pdf  # noqa: E402


@pytest.fixture(scope="module")
def document(result: CaseResult) -> ReportDocument:
    return build_report_document(result, {})


@pytest.fixture(scope="module")
def pages(result: CaseResult, document: ReportDocument) -> list[str]:
    return read_pages(write_summary_pdf(result, document))


def test_there_are_two_pages_with_notice_and_number(pages: list[str]) -> None:
    assert len(pages) == 2
    for number, page in enumerate(pages, start=1):
        assert page.startswith(NOTICE)
        assert f"page {number} of 2" in page.replace("\n", "")
        assert page.count(NOTICE) == 2


def test_the_numbers_are_those_of_the_report(pages: list[str], document: ReportDocument) -> None:
    for goal in document.predicted.goals:
        if goal.value is not None:
            assert f"{goal.value:.1f} {goal.unit_evaluated}" in pages[0]
    target = document.predicted.structures[0]
    for metric in ("D98%", "D95%", "D50%", "D2%"):
        assert f"{target.metrics[metric]:.1f}" in pages[1].split("\n")
    assert document.title in pages[0]
    assert "PTV_7000 70 Gy, PTV_5600 56 Gy in 28 fractions" in pages[0]
    assert "NO_PLAN" in pages[0]


def test_names_from_files_are_shown_as_they_are(pages: list[str]) -> None:
    assert "The ROI <b>odd</b> & co." in pages[0]


def test_a_simulated_reference_is_called_that(result: CaseResult) -> None:
    made = replace(result, case=replace(result.case, reference_simulated=True))
    text = "\n".join(read_pages(write_summary_pdf(made, build_report_document(made, {}))))
    assert "The reference dose is SIMULATED, not a clinical plan." in text
    assert "Clinical" not in text


def test_a_hundred_goals_and_problems_still_take_two_pages(result: CaseResult, document: ReportDocument) -> None:
    goals = [goal for goal in document.predicted.goals for _ in range(12)]
    others = {
        key: entry.model_copy(update={"goals": [goal for goal in entry.goals for _ in range(12)]})
        for key, entry in (("baseline", document.baseline), ("clinical", document.clinical))
        if entry is not None
    }
    problems = [p for p in document.problems for _ in range(20)]
    long = problems[0].model_copy(update={"message": "A long sentence without an end. " * 18})
    many = document.model_copy(
        update={"predicted": document.predicted.model_copy(update={"goals": goals}), **others,
                "problems": [long, *problems]}
    )  # fmt: skip
    pages = read_pages(write_summary_pdf(result, many))
    assert len(pages) == 2
    words = next(line for line in pages[0].split("\n") if "more goals in report.html" in line)
    left = int(words.split()[0])
    assert f"{sum(g.status == 'missed' for g in goals[-left:])} of them missed" in words
    names = [line for line in pages[0].split("\n") if line in {goal.structure for goal in goals}]
    assert names == [goal.structure for goal in goals[: len(goals) - left]]
    assert "37 more in report.html." in pages[0]


def test_equal_reports_are_equal_on_paper(result: CaseResult, document: ReportDocument) -> None:
    assert write_summary_pdf(result, document) == write_summary_pdf(result, document)


def test_a_prediction_alone_has_its_summary() -> None:
    alone = replace(synthetic.result(), problems=(), created=None)
    pages = read_pages(write_summary_pdf(alone, build_report_document(alone, {})))
    assert len(pages) == 2
    assert "No problems: nothing stood against the input." in pages[0]


def test_the_report_lists_the_summary_where_it_was_asked_for(result: CaseResult, tmp_path: Path) -> None:
    assert "summary_pdf" not in write_report(result, tmp_path).files
    assert write_report(result, tmp_path, pdf=True).files["summary_pdf"] == "summary.pdf"
    assert (tmp_path / "summary.pdf").read_bytes().startswith(b"%PDF")


def test_the_dvh_is_a_picture_with_curves(result: CaseResult) -> None:
    png, size = draw_dvh(result)
    picture = Image.open(io.BytesIO(png))
    assert picture.size == size
    assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 50


def test_a_warning_without_code_in_the_middle_is_no_obstacle(result: CaseResult) -> None:
    more = replace(result, problems=(*result.problems, warning("ODD_ONE", "α/β ≤ 3 − 1 Gy", "None.")))
    assert "α/β ≤ 3 − 1 Gy" in read_pages(write_summary_pdf(more, build_report_document(more, {})))[0]
