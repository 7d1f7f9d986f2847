"""The status server: what it answers to any request, and that it neither stops nor grows."""

from __future__ import annotations

import socket
import sqlite3
import threading
from pathlib import Path

import psutil
import pytest

from tests.service.pages import Served, configured
from vmat_rt_service.web.health import Pulse
from vmat_rt_service.web.server import StatusServer


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
