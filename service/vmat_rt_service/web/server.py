"""The status page's server: a few threads beside the supervisor.

The standard library's server suffices: a handful of readers, a dozen routes. It adds no dependency and about 2 MB; a
framework would add a process or an event loop to keep alive. What a client may take of it is bounded here.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import socketserver
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import Any

from vmat_rt_service import logs
from vmat_rt_service.addresses import Refusal, explain_refusal, format_address
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.visitors import Visitor, Visitors, identify_host
from vmat_rt_service.web.access import Access, make_access
from vmat_rt_service.web.handler import Handler
from vmat_rt_service.web.health import Pulse
from vmat_rt_service.web.page import Pages
from vmat_rt_service.web.routes import Routes

_ASK_SECONDS = 10.0
"""How long a whole request may take to arrive, whatever its parts take."""

_MOST_ANSWERS = 24
_MOST_OF_A_CLIENT = 12
_MOST_HEALTH = 4
_AGAIN_SECONDS = 30.0
_QUIET_SECONDS = 60.0
"""Denied requests are logged at most this often, with their count: a scanner must not fill the log."""


class StatusServer:
    """A companion of the supervisor. Raises ConfigError at once where the page would be open to others.

    An address that is taken keeps no study waiting: it is logged once, and tried again.
    """

    busy = False

    def __init__(self, config: ServiceConfig, pulse: Pulse) -> None:
        self._web = config.web
        self._access = make_access(config.web)
        self._routes = Routes(config, pulse, Pages(config, pulse, self._access), self._access)
        self._server: Server | None = None
        self._told: Refusal | None = None
        self._next_try = float("-inf")

    @property
    def port(self) -> int:
        """The port it listens on, the system's choice where the configuration says 0; 0 while it does not listen."""
        return int(self._server.server_address[1]) if self._server else 0

    def start(self) -> None:
        """Listen."""
        try:
            self._server = Server(self._web.host, self._web.port, self._access, self._routes)
        except OSError as error:
            self._tell(explain_refusal(error, self._web.host, self._web.port, "web.port"))
            return
        threading.Thread(target=self._server.serve_forever, name="web", daemon=True).start()
        logs.event("web listening", address=f"http://{format_address(self._web.host, self.port)}/")

    def _tell(self, refusal: Refusal) -> None:
        if refusal != self._told:
            address = format_address(self._web.host, self._web.port)
            logs.event("web not listening", logging.WARNING, code=refusal.code, address=address, remedy=refusal.remedy)
        self._told = refusal

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


class Slots:
    """How many requests are answered at a time, in all and of one client. Health has its own."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def take(self, client: str, is_health: bool) -> Iterator[bool]:
        """Whether there is one, held until the end."""
        name = "" if is_health else identify_host(client)
        with self._lock:
            answers = self._held.total() - self._held[""]
            free = self._held[""] < _MOST_HEALTH if is_health else answers < _MOST_ANSWERS
            granted = free and (is_health or self._held[name] < _MOST_OF_A_CLIENT)
            self._held[name] += granted
        try:
            yield granted
        finally:
            with self._lock:
                self._held[name] -= granted
                self._held += Counter()  # forgets who holds none


class Server(ThreadingHTTPServer):
    """One thread a connection, within bounds."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, host: str, port: int, access: Access, routes: Routes) -> None:
        self.access, self.routes, self.slots = access, routes, Slots()
        self._visitors = Visitors(Visitor, _MOST_ANSWERS + _MOST_HEALTH, _ASK_SECONDS)
        self._denied = 0
        self._told = -_QUIET_SECONDS
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), Handler)  # type: ignore[arg-type]  # _serve makes it

    def server_bind(self) -> None:
        """Bind without asking the name service who we are."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "vmat-rt", int(self.server_address[1])

    def service_actions(self) -> None:
        """End what takes too long; called twice a second."""
        self._visitors.cut_overdue()

    def process_request(self, request: Any, client_address: Any) -> None:
        visitor = self._visitors.enter(request, str(client_address[0]))
        if visitor is None:
            self.shutdown_request(request)
            return
        thread = threading.Thread(target=self._serve, args=(visitor, client_address), name="web answer", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread to be had now
            self.shutdown_request(request)

    def _serve(self, visitor: Visitor, client_address: Any) -> None:
        request = visitor.socket
        try:
            Handler(visitor, request, client_address, self)
        except OSError:  # the client left, or was cut off
            pass
        except Exception as error:  # the boundary: a request must not end a thread with a traceback on stderr
            logs.crash("web failed", error)
        finally:
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A request that could not even be taken."""
        error = sys.exception()
        if error is not None:
            logs.crash("web failed", error)

    def count_denied(self) -> None:
        """Count a request without the token."""
        self._denied += 1
        now = time.monotonic()
        if now - self._told >= _QUIET_SECONDS:
            logs.event("web denied", count=self._denied)
            self._denied, self._told = 0, now
