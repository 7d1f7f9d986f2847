"""The status page's server: GET only, a few threads beside the supervisor, nothing that it can change.

The standard library's server suffices: a handful of readers, six routes, no input but a path and a token. It adds no
dependency and about 2 MB; a framework would add a process or an event loop to keep alive.
"""

from __future__ import annotations

import logging
import shutil
import socket
import socketserver
import sqlite3
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO
from urllib.parse import parse_qs

from vmat_rt_service import logs
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.web.access import COOKIE, Access, make_access
from vmat_rt_service.web.health import Pulse
from vmat_rt_service.web.page import Pages
from vmat_rt_service.web.routes import Answer, Routes

_MOST_CONNECTIONS = 32
_SOCKET_SECONDS = 10.0
_COOKIE_SECONDS = 12 * 3600
_AGAIN_SECONDS = 30.0
_QUIET_SECONDS = 60.0
"""Denied requests are logged at most this often, with their count: a scanner must not fill the log."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class StatusServer:
    """A companion of the supervisor. Raises ConfigError at once where the page would be open to others.

    An address that is taken keeps no study waiting: it is logged, and tried again.
    """

    busy = False

    def __init__(self, config: ServiceConfig, pulse: Pulse) -> None:
        self._web = config.web
        self._access = make_access(config.web)
        self._routes = Routes(config, pulse, Pages(config, pulse))
        self._server: _Server | None = None
        self._next_try = float("-inf")

    @property
    def port(self) -> int:
        """The port it listens on, the system's choice where the configuration says 0; 0 while it does not listen."""
        return int(self._server.server_address[1]) if self._server else 0

    def start(self) -> None:
        """Listen."""
        try:
            self._server = _Server(self._web.host, self._web.port, self._access, self._routes)
        except OSError:
            logs.event("web not listening", logging.WARNING, code="ADDRESS_TAKEN", seconds=_AGAIN_SECONDS)
            return
        threading.Thread(target=self._server.serve_forever, name="web", daemon=True).start()
        logs.event("web listening")

    def step(self, now: float) -> None:
        """Try again to listen; the threads serve by themselves."""
        if self._server is None and now >= self._next_try:
            self._next_try = now + _AGAIN_SECONDS
            self.start()

    def stop(self) -> None:
        """Stop listening; answers under way are cut off with the process."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    """One thread a connection, up to a bound."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, access: Access, routes: Routes) -> None:
        self.access = access
        self.routes = routes
        self._room = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self._denied = 0
        self._told = -_QUIET_SECONDS
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind without asking the name service who we are."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "vmat-rt", int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the handler has logged what is our fault."""

    def count_denied(self) -> None:
        """Count a request without the token."""
        self._denied += 1
        now = time.monotonic()
        if now - self._told >= _QUIET_SECONDS:
            logs.event("web denied", count=self._denied)
            self._denied, self._told = 0, now


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "vmat-rt"
    sys_version = ""
    timeout = _SOCKET_SECONDS

    def do_GET(self) -> None:
        try:
            answer = self._answer()
        except sqlite3.Error as error:
            logs.crash("journal unreadable", error)
            answer = Answer.plain(HTTPStatus.SERVICE_UNAVAILABLE, "The journal cannot be read now.")
        except Exception as error:  # the boundary: a request must not end a thread with a traceback on stderr
            logs.crash("web failed", error)
            answer = Answer.plain(HTTPStatus.INTERNAL_SERVER_ERROR, "The page failed by its own fault; see the log.")
        self._send(answer)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self) -> Answer:
        access, routes = self.server.access, self.server.routes
        if not access.addresses(self.headers.get("Host", "")):
            return Answer.plain(HTTPStatus.MISDIRECTED_REQUEST, "Without a token this page answers to localhost only.")
        url_path, _, query = self.path.partition("?")
        offered = parse_qs(query).get("token", [""])[0]
        if access.knows_token(offered):
            path = "/" + url_path.lstrip("/\\")  # "//elsewhere" would lead a browser to another host
            return Answer.empty(HTTPStatus.SEE_OTHER, {"Location": path, "Set-Cookie": self._make_cookie()})
        if not access.permits(self.headers.get("Authorization", ""), self.headers.get("Cookie", "")):
            self.server.count_denied()
            return routes.ask_for_token()
        return routes.answer(url_path)

    def _make_cookie(self) -> str:
        return f"{COOKIE}={self.server.access.cookie}; HttpOnly; SameSite=Lax; Path=/; Max-Age={_COOKIE_SECONDS}"

    def _send(self, answer: Answer) -> None:
        headers = {**_HEADERS, "Content-Security-Policy": answer.policy, **answer.headers}
        try:
            self.send_response(answer.status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self._copy(answer.body)
        except OSError:  # the reader left
            self.close_connection = True
        finally:
            answer.body.close()

    def _copy(self, body: BinaryIO) -> None:
        shutil.copyfileobj(body, self.wfile)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer what http.server itself refuses, without quoting it: a malformed request, or a method we lack."""
        self.command = getattr(self, "command", None) or "GET"
        if code == HTTPStatus.NOT_IMPLEMENTED:
            answer = Answer.plain(HTTPStatus.METHOD_NOT_ALLOWED, "This server only shows.")
            self._send(answer.with_headers({"Allow": "GET, HEAD"}))
        else:
            self._send(Answer.plain(HTTPStatus(code), HTTPStatus(code).phrase))

    def log_message(self, *_: Any) -> None:
        """Keep no access log: a request line may carry the token."""
