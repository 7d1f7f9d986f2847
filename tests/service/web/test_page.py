"""What the pages show and say, also in a browser; and that text of the journal cannot become markup."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.external import program
from tests.patience import PATIENCE_SECONDS
from tests.service.pages import SECONDS, Served, configured, serve
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.journal.jobs import Job, Journal
from vmat_rt_service.journal.states import State
from vmat_rt_service.web.page import format_ago, format_duration, make_bars, summarise


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


def dom(url: str, profile: Path) -> str:
    command = [
        program("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}",
        "--virtual-time-budget=3000", "--dump-dom", url,
    ]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_SECONDS).stdout


def test_chromium_draws_the_page_with_its_style_and_no_complaint(served: Served, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    command = [
        program("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1200,900", "--hide-scrollbars", "--enable-logging=stderr", f"--screenshot={picture}", served.url,
    ]  # fmt: skip
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert "Content Security Policy" not in run.stderr
    assert "CONSOLE" not in run.stderr
    from matplotlib.image import imread

    pixels = imread(picture)[..., :3] * 255
    assert pixels.shape[:2] == (900, 1200)
    header = pixels[8, 600]
    assert header == pytest.approx((0x17, 0x30, 0x3F), abs=2), "the style sheet's own header colour"


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
