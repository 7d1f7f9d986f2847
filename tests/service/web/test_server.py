"""The status server over a real journal: what it shows, to whom, and what it can never be made to show."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.external import program
from tests.patience import PATIENCE_SECONDS
from tests.service.pages import SECONDS, Served, configured, fill
from vmat_rt.errors import ConfigError
from vmat_rt_service.config import ServiceConfig, WebConfig
from vmat_rt_service.journal.jobs import Job, Journal
from vmat_rt_service.journal.states import State
from vmat_rt_service.web.access import TOKEN_VARIABLE, access_for, is_loopback
from vmat_rt_service.web.health import Pulse
from vmat_rt_service.web.page import ago, bars, duration_text, summary
from vmat_rt_service.web.server import StatusServer

TOKEN = "a token of enough characters"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def serve(config: ServiceConfig, pulse: Pulse | None = None) -> Iterator[Served]:
    pulse = pulse or Pulse()
    server = StatusServer(config, pulse)
    server.start()
    try:
        yield Served(config, pulse, server)
    finally:  # it takes up to half a second to hear of it; the next test need not wait
        threading.Thread(target=server.stop).start()


@pytest.fixture
def filled(tmp_path: Path) -> tuple[ServiceConfig, dict[State, Job]]:
    config = configured(tmp_path)
    journal = Journal(config.journal)
    jobs = fill(config, journal)
    journal.close()
    return config, jobs


@pytest.fixture
def served(filled: tuple[ServiceConfig, dict[State, Job]]) -> Iterator[Served]:
    yield from serve(filled[0])


@pytest.fixture
def guarded(filled: tuple[ServiceConfig, dict[State, Job]]) -> Iterator[Served]:
    web = filled[0].web.model_copy(update={"token": TOKEN})
    yield from serve(filled[0].model_copy(update={"web": web}))


# ---- what it shows


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
    assert page.index("first seen") < page.index("complete") < page.index("claimed")
    assert "case-refused/reason.html" in page
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


def test_metrics_parse_and_agree_with_the_journal(served: Served) -> None:
    reply = served.get("/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }
    assert samples["vmat_rt_jobs", "done"] == len(SECONDS)
    assert samples["vmat_rt_jobs", "quarantined"] == 1
    assert samples[("vmat_rt_queue_length",)] == 1
    assert samples[("vmat_rt_job_attempts_total",)] == len(SECONDS) + 3
    assert samples["vmat_rt_job_duration_seconds_bucket", "5"] == sum(s <= 5 for s in SECONDS)
    assert samples["vmat_rt_job_duration_seconds_bucket", "+Inf"] == len(SECONDS)
    assert samples[("vmat_rt_job_duration_seconds_sum",)] == pytest.approx(sum(SECONDS))
    assert samples["vmat_rt_sends", "TPS", "pending"] == len(SECONDS)
    assert samples["vmat_rt_disk_free_bytes", "outbox"] > 0


# ---- health


def test_health_is_200_while_all_is_well(served: Served) -> None:
    reply = served.get("/healthz")
    assert reply.status == 200
    assert json.loads(reply.body)["status"] == "ok"


@pytest.mark.parametrize(
    ("beat", "waited", "failing"),
    [((1, 5.0), 100, set()), ((1, 5.0), 130, {"supervisor", "scan"}), ((1, 600.0), 130, {"supervisor"})],
)
def test_a_stuck_loop_or_scan_is_503(tmp_path: Path, beat: tuple[int, float], waited: float, failing: set[str]) -> None:
    clock = Clock()
    pulse = Pulse(clock)
    pulse.beat(*beat)
    clock.now += waited
    config = configured(tmp_path)
    Journal(config.journal).close()
    for site in serve(config, pulse):
        reply = site.get("/healthz")
        assert {c["name"] for c in json.loads(reply.body)["checks"] if not c["ok"]} == failing
        assert reply.status == (503 if failing else 200)


def test_a_scan_that_never_comes_is_found_while_the_loop_goes_round() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    pulse.beat(4, 5.0)
    for _ in range(50):
        clock.now += 5.0
        pulse.beat(4, 0.0)
    assert pulse.age_seconds() == 0.0
    assert pulse.scan_age_seconds() == 250.0


def test_low_disk_and_a_vanished_inbox_are_503_and_stand_on_the_page(tmp_path: Path) -> None:
    config = configured(tmp_path).model_copy(update={"min_free_gb": 1e9})
    Journal(config.journal).close()
    config.inbox.rmdir()
    for site in serve(config):
        reply = site.get("/healthz")
        assert reply.status == 503
        assert {c["name"] for c in json.loads(reply.body)["checks"] if not c["ok"]} == {"disk", "inbox"}
        page = site.get("/").text
        assert "Needs attention" in page
        assert "the inbox is gone" in page
        assert "vmat_rt_healthy 0.0" in site.get("/metrics").text


def test_a_journal_that_cannot_be_read_is_503_everywhere(tmp_path: Path) -> None:
    config = configured(tmp_path)
    config.state.mkdir(parents=True)
    config.journal.write_bytes(b"this is no database, and long enough to be looked at as one" * 50)
    for site in serve(config):
        assert [site.get(path).status for path in ("/", "/healthz", "/metrics", "/jobs/1")] == [503] * 4


def test_reading_never_holds_the_journal_up(served: Served) -> None:
    """A writer that waits for no lock at all writes between and during requests."""
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            served.get("/")

    # Like the service, it has the journal open before anyone reads: the first to open it or last to close it locks it.
    writer = sqlite3.connect(served.config.journal, timeout=0.0, isolation_level=None)
    writer.execute("SELECT count(*) FROM meta").fetchone()
    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for number in range(200):
            writer.execute("INSERT INTO meta VALUES (?, 'x')", (f"n{number}",))
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert writer.execute("SELECT count(*) FROM meta WHERE value = 'x'").fetchone()[0] == 200


# ---- published pages, and nothing else


def test_reports_and_reasons_are_served_as_they_are(served: Served) -> None:
    report = served.get("/reports/case-done0/report.html")
    assert report.status == 200
    assert report.body == (served.config.outbox / "case-done0" / "report.html").read_bytes()
    assert "sandbox allow-scripts" in report.headers["Content-Security-Policy"]
    assert "allow-same-origin" not in report.headers["Content-Security-Policy"]
    assert "6 mm apart" in served.get("/refused/case-refused/reason.html").text


@pytest.mark.parametrize(
    "path",
    [
        "/reports/../report.html",
        "/reports/%2e%2e/report.html",
        "/reports/..%2f..%2fsecret/report.html",
        "/reports/case-done0/../../secret/report.html",
        "/reports/case-done0/rtdose.dcm",
        "/reports/case-done0/report.html/",
        "/reports/case-done0%00/report.html",
        "/reports//report.html",
        "/reports/.vmat-rt/report.html",
        "/reports/.vmat-rt/journal.sqlite",
        "/reports/unknown/report.html",
        "/reports/case-linked/report.html",
        "/reports/case-failed/report.html",
        "/reports/case-ready/report.html",
        "/refused/../case-done0/reason.html",
        "/refused/case-refused/reason.json",
        "/etc/passwd",
        "//etc/passwd",
        "/../../../../etc/passwd",
        "http://elsewhere.example/",
        "/jobs/1/..",
        "/jobs/-1",
        "/jobs/%C2%B2",
        "/jobs/99999999999999999999",
        "/static/status.css",
    ],
)
def test_no_other_path_leads_anywhere(served: Served, tmp_path: Path, path: str) -> None:
    outbox = served.config.outbox
    for folder in (tmp_path / "secret", outbox / ".vmat-rt", outbox / "unknown"):
        folder.mkdir(exist_ok=True)
        (folder / "report.html").write_text("SECRET")
    (outbox / "report.html").write_text("SECRET")
    # Known to the journal, but a link out of the outbox: a folder, a page, and a page that is a folder.
    (outbox / "case-linked").symlink_to(tmp_path / "secret")
    (outbox / "case-failed").mkdir()
    (outbox / "case-failed" / "report.html").symlink_to(tmp_path / "secret" / "report.html")
    (outbox / "case-ready" / "report.html").mkdir(parents=True)
    journal = Journal(served.config.journal)
    journal.receive("linked", "case-linked", "", "x")
    journal.close()
    reply = served.get(path)
    assert reply.status == (421 if "elsewhere" in path else 404)
    assert b"SECRET" not in reply.body
    assert b"root:" not in reply.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_it_only_shows(served: Served, method: str) -> None:
    reply = served.get("/", method=method)
    assert reply.status == 405
    assert reply.headers["Allow"] == "GET, HEAD"


def test_head_has_the_headers_of_get_and_no_body(served: Served) -> None:
    reply = served.get("/metrics", method="HEAD")
    assert reply.status == 200
    assert int(reply.headers["Content-Length"]) > 1000
    assert reply.body == b""


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/nowhere", "/reports/case-done0/report.html"])
def test_every_answer_carries_the_security_headers(served: Served, path: str) -> None:
    headers = served.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Server"].strip() == "vmat-rt", "neither Python nor its version"


# ---- who may read


def test_off_loopback_it_does_not_start_without_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    for host in ("0.0.0.0", "192.0.2.7", "::", "", "example.org"):
        with pytest.raises(ConfigError, match="token"):
            StatusServer(configured(tmp_path, web={"host": host}), Pulse())
    with pytest.raises(ConfigError, match="5 characters"):
        StatusServer(configured(tmp_path, web={"host": "0.0.0.0", "token": "short"}), Pulse())
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert access_for(WebConfig(host="0.0.0.0", port=0)).token == TOKEN


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("", False)],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/jobs/1", "/reports/case-done0/report.html", "/nope"])
def test_without_the_token_there_is_nothing(guarded: Served, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"},
                    {"Cookie": "vmat_rt_web=wrong"}, {"Cookie": f"vmat_rt_web={TOKEN}"}):  # fmt: skip
        reply = guarded.get(path, **headers)
        assert reply.status == 401
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")
        assert b"case-" not in reply.body
    assert guarded.get(f"{path}?token=wr%C3%B6ng").status == 401


def test_the_token_opens_by_header_or_once_by_address_and_then_by_cookie(guarded: Served) -> None:
    assert guarded.get("/healthz", Authorization=f"Bearer {TOKEN}").status == 200
    reply = guarded.get(f"/jobs/1?token={TOKEN.replace(' ', '%20')}")
    assert reply.status == 303
    assert reply.headers["Location"] == "/jobs/1", "the token leaves the address bar"
    cookie = reply.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert TOKEN not in cookie
    assert guarded.get("/jobs/1", Cookie=cookie.split(";")[0]).status == 200


@pytest.mark.parametrize("path", ["//elsewhere.example", "/\\elsewhere.example", "///elsewhere.example"])
def test_the_redirect_never_leaves_the_server(guarded: Served, path: str) -> None:
    reply = guarded.get(f"{path}?token={TOKEN.replace(' ', '+')}")
    assert reply.headers["Location"] == "/elsewhere.example"


def test_a_foreign_name_for_loopback_reads_nothing(served: Served) -> None:
    assert served.get("/", Host="evil.example:8765").status == 421
    assert served.get("/", Host="localhost:1").status == 200
    assert served.get("/", Host="[::1]:1").status == 200


# ---- endurance


def test_malformed_requests_and_idle_connections_do_not_stop_it(served: Served) -> None:
    idle = [socket.create_connection(("127.0.0.1", served.server.port)) for _ in range(20)]
    for text in (
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /jobs/\xb2 HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /" + b"a" * 70_000,
    ):
        with socket.create_connection(("127.0.0.1", served.server.port), timeout=10) as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            assert b"Traceback" not in connection.makefile("rb").read()
    assert served.get("/healthz").status == 200
    for connection in idle:
        connection.close()


def test_a_taken_port_keeps_no_study_waiting_and_is_tried_again(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        config = configured(tmp_path, web={"port": holder.getsockname()[1]})
        server = StatusServer(config, Pulse())
        server.start()
        assert server.port == 0
    server.step(1000.0)
    assert server.port == config.web.port
    server.stop()
    server.stop()


def test_many_requests_leave_no_memory_threads_or_files_behind(served: Served) -> None:
    process = psutil.Process()
    for path in ("/", "/metrics", "/reports/case-done0/report.html"):
        served.get(path)
    before, files = process.memory_info().rss, process.num_fds()
    for _ in range(150):
        for path in ("/", "/metrics", "/reports/case-done0/report.html", "/nowhere"):
            served.get(path)
    assert process.memory_info().rss - before < 20e6
    assert process.num_fds() <= files + 4
    assert threading.active_count() < 20


# ---- in a browser


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


# ---- the words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (-3.0, "0.0 s"), (0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min"),
     (125, "2 min 5 s"), (3599.7, "1 h"), (12000, "3 h 20 min"), (86400, "1 d"), (180000, "2 d 2 h")],
)  # fmt: skip
def test_durations_in_words(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_clock_set_back_never_shows_the_future() -> None:
    from datetime import UTC, datetime

    now = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    assert ago("2026-01-01T13:00:00+00:00", now) == "just now"
    assert ago("2026-01-01T11:00:00+00:00", now) == "1 h ago"


def test_bars_and_summary() -> None:
    drawn = bars((5.0, 10.0))
    assert [bar.height for bar in drawn] == [36.0, 72.0]
    assert [bar.y for bar in drawn] == [36.0, 0.0]
    assert bars((0.0, 0.0))[0].height > 0
    assert summary(tuple(float(n) for n in range(1, 11))) == {
        "median": "5.5 s",
        "nine of ten within": "9.0 s",
        "longest": "10 s",
    }
    assert summary(()) == {}
