"""The report of a case: complete in itself, and true to its numbers.

Covers vmat_rt.report.document and vmat_rt.report.result.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from tests.report import synthetic
from vmat_rt.case import Volume
from vmat_rt.grid import Grid
from vmat_rt.report.document import build_report_document
from vmat_rt.report.page import render_page, write_report
from vmat_rt.report.result import CaseResult
from vmat_rt.report.schema import NOTICE, ReportDocument, read_json_schema


class Page(HTMLParser):
    """Tags and text of a page, read by the standard library's parser."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] not in {"script", "style"}:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def folder(result: CaseResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    for name in ("rtdose.dcm", "rtplan.dcm"):
        (out / name).write_bytes(b"")
    document = write_report(result, out)
    paths = {kind: out / name for kind, name in document.files.items() if kind not in {"rtdose", "rtplan"}}
    assert paths == {
        "report_html": out / "report.html",
        "report_json": out / "report.json",
        "dvh_csv": out / "dvh.csv",
    }
    assert document == ReportDocument.model_validate_json(paths["report_json"].read_text(encoding="utf-8"))
    return out


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


@pytest.fixture(scope="module")
def document(folder: Path) -> dict[str, object]:
    loaded: dict[str, object] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return loaded


def test_report_json_follows_its_published_schema(document: dict[str, object]) -> None:
    jsonschema.validate(document, json.loads(read_json_schema("report")))
    assert document["notice"] == NOTICE
    assert document["schema_version"] == 2
    assert document["patient"] is None


def test_report_json_lists_the_files_beside_it(document: dict[str, object], folder: Path) -> None:
    files = document["files"]
    assert isinstance(files, dict)
    assert files["rtdose"] == "rtdose.dcm"
    assert {folder / name for name in files.values()} == set(folder.iterdir())


def test_report_json_holds_what_was_measured(result: CaseResult, document: dict) -> None:  # type: ignore[type-arg]
    for key, dose in (("predicted", result.predicted), ("baseline", result.others[0]), ("clinical", result.others[1])):
        target = document[key]["structures"][0]
        assert target["name"] == "PTV_7000"
        assert target["metrics"]["D95%"] == pytest.approx(dose.dvhs["PTV 70"].value("D95%"))
        assert target["metrics"]["V100%"] == pytest.approx(dose.dvhs["PTV 70"].value("V100%", 70.0))
        assert len(document[key]["goals"]) == sum(len(s.goals) for s in synthetic.PROTOCOL.goal_sets)
    gap = document["comparison_with_clinical"]["structures"][0]["d95_gap_gy"]
    ours, theirs = (d.dvhs["PTV 70"].value("D95%") for d in (result.predicted, result.others[1]))
    assert ours is not None
    assert theirs is not None
    assert gap == pytest.approx(ours - theirs)
    assert [s["roi_name"] for s in document["structures_unmapped"]] == [s.roi_name for s in result.case.unmapped]
    assert document["structures_unmapped"][1]["volume_cc"] is None


def test_report_json_reads_back_and_grows_into_that_of_predict(document: dict) -> None:  # type: ignore[type-arg]
    assert ReportDocument.model_validate(document).model_dump(mode="json") == document
    printed = {**document, "paths": {"report_html": "/out/k7f3a91c2/report.html"}}
    jsonschema.validate(printed, json.loads(read_json_schema("predict")))


def test_a_clinical_dose_somewhere_else_is_no_obstacle() -> None:
    made = synthetic.result(others=("clinical",))
    away = Grid((5, 6, 7), (2.0, 2.0, 2.0), (900.0, 900.0, 900.0), synthetic.FRAME)
    dose = Volume(away, np.full(away.shape, 60, np.float32))
    apart = replace(made, others=(synthetic.dose_result("clinical", made.case, dose, None),))
    document = build_report_document(apart, {})
    assert document.comparison_with_clinical is not None
    assert document.comparison_with_clinical.mae_body_gy is None
    assert "NaN" not in document.model_dump_json()
    assert "it lies outside the dose grid" in Page(render_page(apart, document)).text


def test_names_from_the_file_are_text_and_nothing_else(html: str, page: Page) -> None:
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    kinds = [attributes.get("type") for attributes in scripts if attributes.get("type") != "text/plain"]
    assert kinds == ["application/json", "application/json", None], "scene, DVH and the page's own script"
    assert "<script>alert" not in html
    assert synthetic.EVIL in page.text.replace("  ", " ")
    assert "<img src=x onerror=alert(2)>" in page.text
    assert "The ROI <b>odd</b> & co." in page.text
    assert not [attributes for _, attributes in page.tags if any(key.startswith("on") for key in attributes)]


def test_page_needs_nothing_from_outside(page: Page) -> None:
    for tag, attributes in page.tags:
        for key in ("src", "href", "action", "data", "poster", "srcset"):
            assert (attributes.get(key) or "data:").startswith(("data:", "#")), (tag, attributes)
        assert tag not in {"link", "iframe", "object", "embed", "base"}
    policy = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy
    assert "default-src 'none'" in str(policy[0])


def test_page_says_the_most_important_things_first(page: Page, result: CaseResult) -> None:
    order = [
        NOTICE,
        "Prostate, 70 and 56 Gy in 28 fractions",
        "PTV_7000 70 Gy, PTV_5600 56 Gy in 28 fractions",
        "unet-prostate 1.0 (network)",
        "of 10 goals missed",
        "Targets, D95%",
        "Differs from the clinical dose, mean in the body, by",
        "Problems found",
        "Slices",
        "Dose-volume histogram",
        "Goals: QUANTEC",
        "Goals: Reference code's own set",
        "DVH table",
        "Predicted minus clinical dose, Gy",
        "Known to the protocol",
        "Not for patients with hip prostheses.",
        "Provenance",
    ]
    places = [page.text.index(words) for words in order]
    assert places == sorted(places)
    assert all(problem.message in page.text for problem in result.problems)


def test_goals_have_words_beside_their_colours(html: str, page: Page) -> None:
    found = re.findall(r'<span class="status ([a-z-]+)">(.) ([a-z ]+)</span>', html)
    assert {(css, symbol, words) for css, symbol, words in found} >= {
        ("met", "✓", "met"),
        ("missed", "✗", "missed"),
        ("not-evaluable", "?", "not evaluable"),
        ("vacuous", "∅", "vacuous"),
    }
    assert "V50Gy < 50 % V51.62Gy < 50 %" in page.text, "as stated and as converted, side by side"
    assert "Dmax ≤ 107 % of prescription Dmax ≤ 74.9 Gy" in page.text


def test_a_goal_says_how_urgent_it_is_for_the_filter(html: str) -> None:
    urgencies = re.findall(r'<tr class="[^"]*" data-urgency="([a-z]+)" data-structure="([^"]+)">', html)
    document = build_report_document(synthetic.result(), {})
    assert len(urgencies) == len(document.predicted.goals)
    assert {urgency for urgency, _ in urgencies} >= {"missed", "clear"}
    assert all(structure for _, structure in urgencies), "a filter may hide the row that names it"


def test_identity_appears_only_when_it_is_given(result: CaseResult, page: Page) -> None:
    named = replace(result, patient={"Patient": "Doe^Jane & Co", "ID": "4711"}, others=())
    document = build_report_document(named, {})
    shown = Page(render_page(named, document))
    assert "Doe^Jane & Co" in shown.text
    assert document.patient == {"Patient": "Doe^Jane & Co", "ID": "4711"}
    assert "4711" not in page.text


def test_the_received_folder_is_named_on_the_page_and_nowhere_else(result: CaseResult, tmp_path: Path) -> None:
    write_report(replace(result, received="from <the> scanner"), tmp_path)
    assert "received as from <the> scanner" in Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert "scanner" not in (tmp_path / "report.json").read_text(encoding="utf-8")
    assert "scanner" not in (tmp_path / "dvh.csv").read_text(encoding="utf-8")


def test_a_prediction_alone_makes_a_page() -> None:
    plain = replace(synthetic.result(), problems=(), created=None)
    document = build_report_document(plain, {})
    text = Page(render_page(plain, document)).text
    assert document.clinical is None
    assert document.comparison_with_baseline is None
    assert "Comparison" not in text
    assert "No problems: nothing stood against the input." in text


def test_disagreement_is_flagged_in_words() -> None:
    far = synthetic.result(others=("geometric baseline",), baseline_scale=0.85)
    document = build_report_document(far, {})
    assert document.comparison_with_baseline is not None
    assert document.comparison_with_baseline.disagrees
    text = Page(render_page(far, document)).text
    assert "⚠ The two doses disagree." in text
    assert "beyond the action levels" in text
    assert "Agree" not in text.replace("Agreement", "")


def test_same_result_gives_the_same_bytes(result: CaseResult, folder: Path, tmp_path: Path) -> None:
    for name in ("rtdose.dcm", "rtplan.dcm"):
        (tmp_path / name).write_bytes(b"")
    write_report(result, tmp_path)
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_importing_the_page_does_not_import_what_draws() -> None:
    code = "import sys, vmat_rt.report.page; assert not {'matplotlib', 'jinja2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_full_size_ct_is_reported_in_time(tmp_path: Path) -> None:
    """2.5 s of one core for 512 x 512 x 120; the processor's own time, so a busy machine does not matter."""
    grid = Grid((120, 512, 512), (3.0, 0.9, 0.8), (-168.0, -210.0, -212.0), synthetic.FRAME)
    large = replace(synthetic.case(), ct=Volume(grid, np.zeros(grid.shape, np.float32)))
    made = replace(synthetic.result(), case=large)
    (tmp_path / "first").mkdir()
    write_report(synthetic.result(), tmp_path / "first")  # imports are not what is timed
    start = time.process_time()
    write_report(made, tmp_path)
    assert time.process_time() - start < 2.5
