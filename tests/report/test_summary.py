"""A report in a few lines. Covers templates/summary.html."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.report import synthetic
from vmat_rt.report.document import build_report_document
from vmat_rt.report.result import CaseResult
from vmat_rt.report.schema import NOTICE, ReportDocument
from vmat_rt.report.summary import write_summary_html, write_summary_text


@pytest.fixture(scope="module")
def document(result: CaseResult) -> ReportDocument:
    return build_report_document(result, {})


class Words(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)


def test_html_opens_with_the_notice_and_holds_goals_and_problems(document: ReportDocument) -> None:
    page = Words(write_summary_html(document))
    assert page.text.startswith(f"⚠ {NOTICE} ⚠ {document.title}")
    assert document.model is not None
    assert f"{document.model.name} {document.model.version}" in page.text
    assert page.tags.count("table") == len(document.protocol.goal_sets)
    assert page.tags.count("tr") == len(document.protocol.goal_sets) + len(document.predicted.goals)
    for problem in document.problems:
        assert problem.code in page.text
        assert " ".join(problem.remedy.split()) in page.text


def test_html_is_complete_in_itself_and_escapes_what_came_from_files(document: ReportDocument) -> None:
    html = write_summary_html(document)
    assert not set(Words(html).tags) & {"script", "style", "link", "img", "iframe"}
    assert not re.search(r"https?://|url\(|\son\w+=", html)
    assert "<b>" in "".join(problem.message for problem in document.problems), "else nothing here would need escaping"
    assert "<b>" not in html


def test_html_without_problems_says_so(document: ReportDocument) -> None:
    assert "No problems were found." in Words(write_summary_html(document.model_copy(update={"problems": []}))).text


def test_text_counts_goals_and_lists_problems_and_files(document: ReportDocument) -> None:
    lines = write_summary_text(document, {"rtdose": Path("out/rtdose.dcm")}).splitlines()
    assert lines[0] == f"{NOTICE}: {document.case.key}, {document.title}"
    counts = Counter(goal.status for goal in document.predicted.goals)
    assert set(lines[1].removeprefix("goals: ").split(", ")) == {f"{n} {s}" for s, n in counts.items()}
    assert sum(line.startswith(("warning: ", "error: ")) for line in lines) == len(document.problems)
    assert lines[-1] == "      rtdose  out/rtdose.dcm"


def test_text_without_goals_says_none(result: CaseResult) -> None:
    document = build_report_document(synthetic.result(), {})
    bare = document.model_copy(update={"predicted": document.predicted.model_copy(update={"goals": []})})
    assert "goals: none" in write_summary_text(bare, {})
