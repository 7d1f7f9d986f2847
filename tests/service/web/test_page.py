"""What the pages show and say, also in a browser; and that text of the journal cannot become markup."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.external import program
from tests.patience import PATIENCE_SECONDS
from tests.service.pages import SECONDS, TOKEN, Served, configured, serve
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.journal.jobs import Job, Journal
from vmat_rt_service.journal.states import State
from vmat_rt_service.web.page import format_ago, format_duration, format_moment, make_bars, summarise


def test_the_page_shows_every_state_and_what_waits_for_what(served: Served) -> None:
    page = served.get("/").text
    for state in State:
        assert f'<span class="name">{state}</span>' in page
    assert "Waiting for 3 of 120 CT slices (z = 10, 12.5, 15 mm)" in page
    assert "<code>CT_GAP</code>" in page
    assert "TPS: pending" in page
    assert page.count("/report.html") == len(SECONDS)
    assert 'href="/refused/case-refused/reason.html"' in page
    assert "/refused/case-failed" not in page, "no link to a reason that is not there"


def test_the_page_needs_nothing_from_outside(served: Served) -> None:
    reply = served.get("/")
    assert "<script" not in reply.text
    assert "http://" not in reply.text.replace("http://www.w3.org", "")
    assert "https://" not in reply.text
    policy = reply.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'nonce-")
    assert policy.split("'nonce-")[1].split("'")[0] in reply.text


def test_a_job_has_a_page_with_its_history(served: Served, filled: tuple[ServiceConfig, dict[State, Job]]) -> None:
    page = served.get(f"/jobs/{filled[1][State.REFUSED].id}").text
    page = page[page.index("History") :]
    assert page.index("first seen") < page.index("complete") < page.index("claimed")
    assert "case-refused/reason.html" in served.get(f"/jobs/{filled[1][State.REFUSED].id}").text
    assert served.get("/jobs/999999").status == 404


def test_a_long_queue_is_cut_and_counted(tmp_path: Path) -> None:
    config = configured(tmp_path)
    journal = Journal(config.journal)
    for number in range(1000):
        journal.receive(f"source {number}", f"case-{number}", "CT_INCOMPLETE", "waiting for 1 of 2 CT slices")
    journal.close()
    for site in serve(config):
        page = site.get("/")
        assert "and 975 more" in page.text
        assert len(page.body) < 60_000


def test_text_of_the_journal_cannot_become_markup(tmp_path: Path) -> None:
    config = configured(tmp_path)
    journal = Journal(config.journal)
    journal.receive("source", "case-x", "CODE", "<script>alert(1)</script>")
    journal.close()
    for site in serve(config):
        assert "<script" not in site.get("/").text


def test_a_refused_study_says_why_in_a_sentence_with_its_remedy(served: Served) -> None:
    for page in (served.get("/").text, served.get("/studies?state=refused").text):
        assert "CT slices 41 and 43 are 6 mm apart, the others 3 mm." in page
        assert "Export the complete series." in page


def test_studies_are_found_by_words_and_state_a_page_at_a_time(tmp_path: Path) -> None:
    config = configured(tmp_path)
    journal = Journal(config.journal)
    for number in range(60):
        journal.receive(f"source {number}", f"case-{number:02d}", "CT_INCOMPLETE", f"waiting for {number} slices")
    journal.close()
    for site in serve(config):
        assert site.get("/studies").text.count('class="case"') == 25
        assert site.get("/studies?page=3").text.count('class="case"') == 10
        assert "page 2 of 3" in site.get("/studies?page=2").text
        assert "case-07" in site.get("/studies?q=for+7+slices").text
        assert site.get("/studies?q=for+7+slices").text.count('class="case"') == 1
        assert "No study is like that" in site.get("/studies?state=done").text
        assert "No study is like that" in site.get("/studies?page=999").text


@pytest.mark.parametrize(
    "words",
    ["q=%22%3E%3Cscript%3E", "state=%27--", "page=0", "page=-1", "page=9e9", "q=" + "x" * 5000, "q=%00", "q=%ff"],
)
def test_no_search_breaks_the_page_or_becomes_markup(served: Served, words: str) -> None:
    reply = served.get(f"/studies?{words}")
    assert reply.status == 200
    assert "<script" not in reply.text


def test_folders_are_shown_to_who_knows_the_token_only(tmp_path: Path) -> None:
    config = configured(tmp_path)
    file = config.inbox / "Doe folder" / "RS.dcm"
    file.parent.mkdir()
    file.write_bytes(b"x")
    journal = Journal(config.journal)
    journal.receive(journal.digest("source", str(file)), "case-1", "CT_INCOMPLETE", "waiting")
    journal.close()
    for site in serve(config):
        assert "Doe" not in site.get("/").text + site.get("/studies?q=doe").text + site.get("/jobs/1").text
    guarded = config.model_copy(update={"web": config.web.model_copy(update={"token": TOKEN})})
    for site in serve(guarded):
        for path in ("/", "/studies?q=DOE", "/jobs/1"):
            assert "Doe folder" in site.get(path, Authorization=f"Bearer {TOKEN}").text


def test_times_are_those_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert format_moment("2026-07-01T12:00:00+00:00") == "2026-07-01 14:00:00 CEST"
    finally:
        monkeypatch.undo()
        time.tzset()


def dom(url: str, profile: Path) -> str:
    command = [
        program("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}",
        "--virtual-time-budget=3000", "--dump-dom", url,
    ]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_SECONDS).stdout


LIGHT, DARK, HEAD, DARK_HEAD = (0xF3, 0xF5, 0xF7), (0x10, 0x17, 0x1D), (0x17, 0x30, 0x3F), (0x0B, 0x14, 0x19)


@pytest.mark.parametrize("path", ["/", "/studies", "/jobs/1", "/upload"])
@pytest.mark.parametrize(
    ("width", "scheme", "colours"),
    [(1200, 1, (HEAD, LIGHT)), (1200, 0, (DARK_HEAD, DARK)), (390, 1, (HEAD, LIGHT))],
    ids=["wide", "dark", "phone"],
)
def test_chromium_draws_the_pages_with_their_style_and_no_complaint(
    guarded: Served, tmp_path: Path, path: str, width: int, scheme: int, colours: tuple[tuple[int, ...], ...]
) -> None:
    picture = tmp_path / "page.png"
    command = [
        program("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},900", "--hide-scrollbars", "--enable-logging=stderr", f"--screenshot={picture}",
        f"--blink-settings=preferredColorScheme={scheme}", f"{guarded.url}{path}?token={TOKEN.replace(' ', '+')}",
    ]  # fmt: skip
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert "Content Security Policy" not in run.stderr
    assert "CONSOLE" not in run.stderr
    from matplotlib.image import imread

    pixels = imread(picture)[..., :3] * 255
    assert pixels.shape[:2] == (900, width)
    assert pixels[3, width // 2] == pytest.approx(colours[0], abs=2), "the style sheet's own header colour"
    margin = pixels[250:, width - 4]
    assert margin == pytest.approx(np.broadcast_to(colours[1], margin.shape), abs=2), "nothing reaches over the edge"


def test_chromium_draws_a_report_apart_from_the_service(served: Served, tmp_path: Path) -> None:
    """Its script runs, but in an origin of its own: the cookie of the page is out of its reach."""
    assert "drawn, cookie SecurityError" in dom(f"{served.url}/reports/case-done0/report.html", tmp_path / "profile")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (-3.0, "0.0 s"), (0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min"),
     (125, "2 min 5 s"), (3599.7, "1 h"), (12000, "3 h 20 min"), (86400, "1 d"), (180000, "2 d 2 h")],
)  # fmt: skip
def test_durations_in_words(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text


def test_a_clock_set_back_never_shows_the_future() -> None:
    from datetime import UTC, datetime

    now = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    assert format_ago("2026-01-01T13:00:00+00:00", now) == "just now"
    assert format_ago("2026-01-01T11:00:00+00:00", now) == "1 h ago"


def test_bars_and_summary() -> None:
    drawn = make_bars((5.0, 10.0))
    assert [bar.height for bar in drawn] == [36.0, 72.0]
    assert [bar.y for bar in drawn] == [36.0, 0.0]
    assert make_bars((0.0, 0.0))[0].height > 0
    assert summarise(tuple(float(n) for n in range(1, 11))) == {
        "median": "5.5 s",
        "nine of ten within": "9.0 s",
        "longest": "10 s",
    }
    assert summarise(()) == {}
