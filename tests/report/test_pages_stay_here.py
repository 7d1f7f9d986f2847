"""No page can send anything: every button, link, form and request of every page that we make is listed here.

The service's own pages are followed over its status server; the report and the evaluation are opened in Chromium too,
with every control used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.browser import open_browser
from tests.report import synthetic
from tests.report.evaluation.folders import document, goal, write_evaluation
from tests.service.pages import SECONDS, Served, configured, fill, serve
from vmat_rt.evaluate.report import Asked, gather
from vmat_rt.report.document import build_report_document
from vmat_rt.report.evaluation.page import write_evaluation_report
from vmat_rt.report.page import write_report
from vmat_rt.report.result import CaseResult
from vmat_rt.report.summary import write_summary_html
from vmat_rt_service.journal.jobs import Journal
from vmat_rt_service.journal.states import State

LOADING = {"src", "srcset", "poster", "data", "action", "formaction", "ping", "background", "manifest", "xlink:href"}
NEVER = {"form", "iframe", "object", "embed", "base", "link", "audio", "video", "portal"}
REPORT_BUTTONS = {"−", "+", "Reset", "CSV", "PNG"}
PLACES = {"hottest", "goal", "difference"}
"""The buttons that the page's script adds."""
SERVICE_FORMS = re.compile(r"/studies|/upload|/jobs/\d+/(retry|patient)")
"""Forms of the service's pages go to the service alone, which its policy holds them to."""


class Listing(HTMLParser):
    """Every address of a page with its element, its buttons, and how its policy is worded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[tuple[str, str, str]] = []
        self.buttons: set[str] = set()
        self.tags: set[str] = set()
        self.handlers: list[str] = []
        self.policy = ""
        self._in_button = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._in_button = tag == "button"
        given = {name: value or "" for name, value in attributes}
        self.addresses += [(tag, name, given[name]) for name in given if name in LOADING | {"href"}]
        self.handlers += [name for name in given if name.startswith("on")]
        if given.get("http-equiv", "").lower() == "content-security-policy":
            self.policy = given["content"]
        assert given.get("http-equiv", "").lower() != "refresh" or "url" not in given.get("content", "").lower()

    def handle_data(self, data: str) -> None:
        if self._in_button and data.strip():
            self.buttons.add(data.strip())
        self._in_button = False


@pytest.fixture(scope="module")
def report(result: CaseResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(result, folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    cases = [
        document("unet", seed, f"c{i}", {"mae_gy": 1.0 + i}, [goal("met", "missed")])
        for seed in ("1", "2")
        for i in range(3)
    ]
    (folder / "out").mkdir()
    return write_evaluation_report(gather(Asked((write_evaluation(folder / "e", cases),))), folder / "out")[0]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    config = configured(tmp_path_factory.mktemp("service"))
    journal = Journal(config.journal)
    jobs = fill(config, journal)
    journal.close()
    for site in serve(config):
        site.get(f"/jobs/{jobs[State.REFUSED].id}")
        yield site


def check_nothing_leaves(text: str, *, forms: bool = False) -> Listing:
    listing = Listing(text)
    assert not listing.tags & (NEVER - {"form"} if forms else NEVER)
    assert not listing.handlers
    for tag, name, value in listing.addresses:
        inside = value.startswith(("#", "data:")) or not re.match(r"[a-z][a-z0-9+.-]*:|//", value, re.IGNORECASE)
        assert inside, f"<{tag} {name}={value[:80]!r}>"
    styles = " ".join(re.findall(r"<style[^>]*>(.*?)</style>", text, re.DOTALL))
    assert not re.search(r"@import|url\((?!#|data:)", styles)
    return listing


def test_the_report_has_these_buttons_and_links_and_no_others(report: Path) -> None:
    listing = check_nothing_leaves(report.read_text(encoding="utf-8"))
    assert listing.buttons == REPORT_BUTTONS
    assert {(tag, value) for tag, _, value in listing.addresses} == {("a", "#goals")}
    policy = dict(part.strip().partition(" ")[::2] for part in listing.policy.split(";"))
    assert policy == {
        "default-src": "'none'", "style-src": "'unsafe-inline'", "script-src": "'unsafe-inline'",
        "img-src": "data: blob:", "form-action": "'none'", "base-uri": "'none'",
    }  # fmt: skip


def test_the_evaluation_has_links_within_itself_and_no_button(evaluation: Path) -> None:
    listing = check_nothing_leaves(evaluation.read_text(encoding="utf-8"))
    assert not listing.buttons
    assert {value[:1] for tag, _, value in listing.addresses if tag == "a"} <= {"#"}
    assert "script" not in listing.tags
    assert listing.policy.startswith("default-src 'none'")
    assert "form-action 'none'" in listing.policy


def test_the_table_of_a_notebook_has_neither_button_nor_link() -> None:
    listing = check_nothing_leaves(write_summary_html(build_report_document(synthetic.result(), {})))
    assert not listing.buttons
    assert not listing.addresses


def test_the_services_pages_link_and_send_only_to_each_other(served: Served) -> None:
    seen: set[str] = set()
    waiting = ["/"]
    actions: set[str] = set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        reply = served.get(path)
        html = reply.headers.get("Content-Type", "").startswith("text/html")
        if not html or path.endswith("report.html"):
            continue  # a file, or made by predict and listed above
        assert reply.status == 200, path
        policy = reply.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert re.search(r"form-action '(self|none)'", policy)
        listing = check_nothing_leaves(reply.text, forms=True)
        assert "script" not in listing.tags
        actions |= {value for tag, name, value in listing.addresses if (tag, name) == ("form", "action")}
        links = {value for tag, name, value in listing.addresses if tag == "a"}
        waiting += [link for link in links if link.startswith("/") and link not in seen and link not in waiting]
    assert actions
    assert not [action for action in actions if not SERVICE_FORMS.fullmatch(action)]
    assert sum(re.fullmatch(r"/reports/[^/]+/report.html", path) is not None for path in seen) == len(SECONDS)
    assert any(path.endswith("reason.html") for path in seen)


@pytest.mark.parametrize("name", ["report", "evaluation"])
def test_every_control_used_in_a_browser_asks_for_nothing(name: str, request: pytest.FixtureRequest) -> None:
    page: Path = request.getfixturevalue(name)
    with open_browser() as tab:
        tab.show(1400, 1000)
        tab.open(page)
        if name == "report":
            tab.wait_for("document.getElementById('viewer').dataset.ready === 'all'")
            assert set(tab.run("[...document.querySelectorAll('[data-place]')].map((b) => b.dataset.place)")) == PLACES
        tab.run("""(async () => {
          for (const e of document.querySelectorAll('button, input, select, a')) {
            if (e.tagName === 'SELECT') for (const o of e.options) {
              e.value = o.value; e.dispatchEvent(new Event('change'));
            } else e.click();
            await new Promise((done) => setTimeout(done, 10));
          }
        })()""")
        outside = [url for url in tab.requests if not url.startswith(("data:", "blob:"))]
        assert outside == [page.resolve().as_uri()]
        assert not tab.console
        loaded = tab.run("performance.getEntriesByType('resource').map((e) => e.name)")
        assert not [url for url in loaded if not url.startswith(("data:", "blob:"))]
