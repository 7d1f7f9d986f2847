"""The status server: what it answers to any request, and that it neither stops nor grows."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from tests.patience import PROMPT_SECONDS, wait_for
from tests.service.attackers import trickling
from tests.service.pages import Served, configured
from vmat_rt_service.web.health import Pulse
from vmat_rt_service.web.server import Slots, StatusServer


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


@pytest.mark.parametrize(
    "text",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /jobs/\xb2 HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /" + b"a" * 70_000,
    ],
    ids=["empty", "no path", "another version", "no ASCII", "TLS", "long path"],
)
def test_malformed_requests_and_idle_connections_do_not_stop_it(served: Served, text: bytes) -> None:
    idle = [socket.create_connection(("127.0.0.1", served.server.port)) for _ in range(20)]
    with socket.create_connection(("127.0.0.1", served.server.port), timeout=10) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        assert b"Traceback" not in connection.makefile("rb").read()
    assert served.get("/healthz").status == 200
    for connection in idle:
        connection.close()


REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 500 + b"\r\n\r\n"


def test_health_is_answered_at_once_while_others_trickle(served: Served) -> None:
    with trickling(served.server.port, 60, REQUEST, pause_seconds=0.5):
        time.sleep(1.0)
        for _ in range(10):
            begun = time.monotonic()
            assert served.get("/healthz").status == 200
            assert served.get("/").status == 200
            assert time.monotonic() - begun < PROMPT_SECONDS / 4


def test_a_request_that_only_trickles_is_cut_off_whatever_its_parts_take(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.server.port)) as peer, suppress(OSError):
        begun = time.monotonic()
        for position in range(300):
            peer.sendall(REQUEST[position : position + 1])
            time.sleep(0.2)
    assert time.monotonic() - begun < 20


def test_clients_that_do_not_read_leave_health_its_own_place(served: Served, tmp_path: Path) -> None:
    report = served.config.outbox / "case-done0" / "report.html"
    report.write_bytes(bytes(30_000_000))
    with ExitStack() as stack:
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            for _ in range(12):
                peer = stack.enter_context(socket.create_connection(("127.0.0.1", served.server.port), 5, (host, 0)))
                peer.sendall(b"GET /reports/case-done0/report.html HTTP/1.0\r\nHost: localhost\r\n\r\n")
        wait_for(lambda: served.get("/").status == 503, PROMPT_SECONDS)
        assert served.get("/").headers["Retry-After"] == "5"
        assert [served.get("/healthz").status for _ in range(10)] == [200] * 10
    wait_for(lambda: served.get("/").status == 200, PROMPT_SECONDS)


def test_one_client_leaves_places_for_others() -> None:
    slots = Slots()
    with ExitStack() as held:
        granted = [held.enter_context(slots.take("10.0.0.1", False)) for _ in range(30)]
        assert sum(granted) == 12
        with slots.take("10.0.0.2", False) as other:
            assert other
    with slots.take("10.0.0.1", False) as again:
        assert again


def test_a_taken_port_is_named_once_with_the_remedy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        server = StatusServer(configured(tmp_path, web={"port": port}), Pulse())
        for now in (1000.0, 1100.0, 1200.0):
            server.step(now)
    (told,) = [record.fields for record in caplog.records if record.msg == "web not listening"]  # type: ignore[attr-defined]
    assert told["address"] == f"127.0.0.1:{port}"
    assert "web.port" in told["remedy"]


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
