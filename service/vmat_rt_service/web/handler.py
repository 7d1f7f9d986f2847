"""One request of the status page: who may, what it gets, and in which headers."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import parse_qs

from vmat_rt_service import logs
from vmat_rt_service.visitors import Visitor
from vmat_rt_service.web.access import COOKIE
from vmat_rt_service.web.answers import Answer
from vmat_rt_service.web.forms import Body
from vmat_rt_service.web.routes import Asked

if TYPE_CHECKING:
    from vmat_rt_service.web.server import Server

_SOCKET_SECONDS = 10.0
_ANSWER_SECONDS = 300.0
_UPLOAD_SECONDS = 1800.0
_COOKIE_SECONDS = 12 * 3600
_DRAINED_BYTES = 1 << 20  # of what nobody will read: a client that is still sending would not see the answer
_MOST_QUERY = 2000

_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Handler(BaseHTTPRequestHandler):
    """Answers one request; the connection ends with it."""

    server_version = "vmat-rt"
    sys_version = ""
    timeout = _SOCKET_SECONDS

    def __init__(self, visitor: Visitor, request: socket.socket, client_address: Any, server: Server) -> None:
        self._visitor = visitor
        super().__init__(request, client_address, server)

    @property
    def _own(self) -> Server:
        return cast("Server", self.server)

    def do_GET(self) -> None:
        self._visitor.ask(due=time.monotonic() + _ANSWER_SECONDS)
        self._send(self._guard())

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        if not self._own.routes.takes(self.path.partition("?")[0]):
            self.send_error(HTTPStatus.NOT_IMPLEMENTED)
            return
        self._visitor.ask(due=time.monotonic() + _UPLOAD_SECONDS)
        self._send(self._guard())

    def _guard(self) -> Answer:
        try:
            return self._answer()
        except sqlite3.Error as error:
            logs.crash("journal unreadable", error)
            return Answer.plain(HTTPStatus.SERVICE_UNAVAILABLE, "The journal cannot be read now.")
        except OSError:  # also a client that left or was too slow
            raise
        except Exception as error:  # the boundary: a request must not end a thread with a traceback on stderr
            logs.crash("web failed", error)
            return Answer.plain(HTTPStatus.INTERNAL_SERVER_ERROR, "The page failed by its own fault; see the log.")

    def _answer(self) -> Answer:
        access, headers = self._own.access, cast("Any", self.headers)
        if access.is_from_elsewhere(headers):
            return Answer.plain(
                HTTPStatus.FORBIDDEN,
                "This request came through a proxy, so anybody may have sent it: set web.token and web.proxies.",
            )
        if not access.addresses(headers.get("Host", "")):
            return Answer.plain(HTTPStatus.MISDIRECTED_REQUEST, "Without a token this page answers to localhost only.")
        url_path, _, query = self.path.partition("?")
        words = parse_qs(query[:_MOST_QUERY], max_num_fields=20)
        if access.knows_token(words.get("token", [""])[0]):
            path = "/" + url_path.lstrip("/\\")  # "//elsewhere" would lead a browser to another host
            return Answer.empty(HTTPStatus.SEE_OTHER, {"Location": path, "Set-Cookie": self._make_cookie()})
        if not access.permits(headers.get("Authorization", ""), headers.get("Cookie", "")):
            self._own.count_denied()
            return self._own.routes.ask_for_token()
        asked = Asked(url_path, {name: values[0] for name, values in words.items()})
        peer = str(self.client_address[0])
        with self._own.slots.take(access.find_client(peer, headers), url_path == "/healthz") as granted:
            if not granted:
                answer = Answer.plain(HTTPStatus.SERVICE_UNAVAILABLE, "Too many requests at a time; try again.")
                return answer.with_headers({"Retry-After": "5"})
            return self._answer_within_slot(asked)

    def _answer_within_slot(self, asked: Asked) -> Answer:
        """The answer is sent while the slot is held, so that clients who do not read have no more than theirs."""
        answer = self._change(asked) if self.command == "POST" else self._own.routes.answer(asked)
        self._send(answer)
        return Answer.sent()

    def _change(self, asked: Asked) -> Answer:
        access, headers = self._own.access, cast("Any", self.headers)
        if not access.token:
            sentence = "Nothing can be changed from here without a token: set web.token in the configuration."
            return Answer.plain(HTTPStatus.FORBIDDEN, sentence)
        if not access.is_own_origin(headers):
            return Answer.plain(HTTPStatus.FORBIDDEN, "This request comes from another site; nothing was changed.")
        length = headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 16):
            return Answer.plain(HTTPStatus.LENGTH_REQUIRED, "A request that changes something states its length.")
        trusted = access.bears_token(headers.get("Authorization", ""))
        body = Body(self.rfile, int(length), headers.get("Content-Type", ""), trusted)
        answer = self._own.routes.change(asked, body)
        body.drain(_DRAINED_BYTES)
        return answer

    def _make_cookie(self) -> str:
        secure = self._own.access.is_encrypted(str(self.client_address[0]), cast("Any", self.headers))
        rest = "; Secure" if secure else ""
        return f"{COOKIE}={self._own.access.cookie}; HttpOnly; SameSite=Lax; Path=/; Max-Age={_COOKIE_SECONDS}{rest}"

    def _send(self, answer: Answer) -> None:
        if answer.is_sent:
            return
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
            answer = Answer.plain(HTTPStatus.METHOD_NOT_ALLOWED, "This page only shows.")
            self._send(answer.with_headers({"Allow": "GET, HEAD"}))
        else:
            self._send(Answer.plain(HTTPStatus(code), HTTPStatus(code).phrase))

    def log_message(self, *_: Any) -> None:
        """Keep no access log: a request line may carry the token."""
