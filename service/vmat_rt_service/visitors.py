"""Who is connected to a port of ours and has not asked yet, so that those who never ask shut nobody out.

A connection that asks for nothing in time ends. Where there are many, the oldest of the host with the most makes room:
a peer that asks at once, as every program does, always gets through. The page and the DICOM node both use this.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from vmat_rt_service.addresses import parse_address

MOST_SILENT = 32
"""Connections that have not asked yet; each costs a thread or two."""

_MOST_ENDING = 64  # that were ended, or are told no, and whose threads live on for a moment
_IPV6_SITE_BITS = 64  # what one customer of a provider, or one machine, has of IPv6 at least


@dataclass(eq=False)
class Visitor:
    """One connection, which ends when it is due. The socket is replaced by its TLS wrapping."""

    host: str
    socket: socket.socket
    due: float
    has_asked: bool = False
    is_cut: bool = False

    @property
    def is_open(self) -> bool:
        return self.socket.fileno() >= 0

    def ask(self, due: float) -> None:
        """It has said what it wants, and now has until `due`."""
        self.has_asked, self.due = True, due

    def cut(self) -> None:
        """End the connection from outside its thread, which then cleans up. TLS is not asked: it may hang there."""
        self.is_cut = True
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


Kind = TypeVar("Kind", bound=Visitor)


class Visitors(Generic[Kind]):
    """The open connections of one port. Safe in threads."""

    def __init__(
        self, kind: type[Kind], most_asking: int, ask_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """most_asking: how many that have asked may be there at a time; ask_seconds: how long asking may take."""
        self._kind, self._ask_seconds, self._clock = kind, ask_seconds, clock
        self._most_open = most_asking + MOST_SILENT + _MOST_ENDING
        self._present: list[Kind] = []
        self._lock = threading.RLock()

    def enter(self, connection: socket.socket, address: str) -> Kind | None:
        """A connection has come; None where it must go at once. One that is silent may have to go for it."""
        with self._lock:
            self._present = [visitor for visitor in self._present if visitor.is_open]
            if len(self._present) >= self._most_open:
                return None
            visitor = self._kind(identify_host(address), connection, self._clock() + self._ask_seconds)
            self._present.append(visitor)
            silent = [other for other in self._present if not other.has_asked and not other.is_cut]
            if len(silent) > MOST_SILENT:
                ((host, _),) = Counter(other.host for other in silent).most_common(1)
                next(other for other in silent if other.host == host).cut()
            return visitor

    def cut_overdue(self) -> int:
        """End what has taken longer than it may; how many."""
        with self._lock:
            now = self._clock()
            overdue = [one for one in self._present if one.is_open and not one.is_cut and one.due < now]
            for visitor in overdue:
                visitor.cut()
            return len(overdue)

    def list_present(self, host: str) -> list[Kind]:
        """The open connections of a host."""
        with self._lock:
            return [visitor for visitor in self._present if visitor.host == host and visitor.is_open]


def identify_host(address: str) -> str:
    """An address as one host has it: an IPv6 machine has as many as it likes, of one network."""
    parsed = parse_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and not parsed.is_loopback:
        return str(ipaddress.ip_network((parsed, _IPV6_SITE_BITS), strict=False))
    return str(parsed)
