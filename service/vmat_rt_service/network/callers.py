"""Who is connected to the DICOM node, and what one host may have of it, so that no host has all.

A connection that asks for nothing soon ends, and where there are many of them the oldest of the host with the most
makes room: a peer that asks at once, as every program does, always gets through.
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
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.acse import ACSE
from pynetdicom.association import Association

ASK_SECONDS = 10.0
"""How long a connection may take to ask for an association, its TLS handshake and every byte included."""

MOST_SILENT = 32
"""Connections that have not asked yet; each costs two threads."""

_MOST_ENDING = 64  # that were ended, or are told no, and whose threads live on for a moment
_IPV6_SITE_BITS = 64  # what one customer of a provider, or one machine, has of IPv6 at least
_TRANSIENT, _PRESENTATION, _LOCAL_LIMIT = 0x02, 0x03, 0x02  # PS3.8 9.3.4


def has_ended(association: Association) -> bool:
    """Whether it ended, as its peer sees it: its thread may live on for a moment."""
    return bool(association.is_aborted or association.is_rejected or association._sent_release)


class Entity(AE):
    """Counts associations where pynetdicom counts connections: a silent peer does not use up a connection."""

    @property
    def active_associations(self) -> list[Association]:
        """List the associations that were asked for and have not ended."""
        return [
            association
            for association in super().active_associations
            if association.requestor.primitive is not None and not has_ended(association)
        ]


@dataclass(eq=False)
class Caller:
    """One connection. The socket is replaced by its TLS wrapping, the association made after the handshake."""

    host: str
    socket: socket.socket
    since: float
    association: Association | None = None
    is_cut: bool = False

    @property
    def is_open(self) -> bool:
        return self.socket.fileno() >= 0

    @property
    def is_silent(self) -> bool:
        """Whether it has asked for nothing yet."""
        return self.association is None or self.association.requestor.primitive is None

    @property
    def holds_place(self) -> bool:
        """Whether it takes up an association."""
        return self.association is not None and not self.is_silent and not has_ended(self.association)

    def cut(self) -> None:
        """End the connection from outside its thread, which then cleans up. TLS is not asked: it may hang there."""
        self.is_cut = True
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


class Callers:
    """The open connections of one node. Safe in threads."""

    def __init__(self, most: int, most_of_a_host: int, clock: Callable[[], float] = time.monotonic) -> None:
        """most: associations at a time; of one host, one fewer at most, so that another finds a place."""
        self._most_of_a_host = max(1, min(most_of_a_host, most - 1))
        self._most_open = most + MOST_SILENT + _MOST_ENDING
        self._clock = clock
        self._open: list[Caller] = []
        self._lock = threading.Lock()

    def enter(self, connection: socket.socket, address: str) -> Caller | None:
        """A connection has come; None where it must go at once. One that is silent may have to go for it."""
        with self._lock:
            self._open = [caller for caller in self._open if caller.is_open]
            if len(self._open) >= self._most_open:
                return None
            caller = Caller(identify_host(address), connection, self._clock())
            self._open.append(caller)
            silent = [other for other in self._open if other.is_silent and not other.is_cut]
            if len(silent) > MOST_SILENT:
                ((host, _),) = Counter(other.host for other in silent).most_common(1)
                next(other for other in silent if other.host == host).cut()
            return caller

    def cut_overdue(self) -> int:
        """End what has asked for nothing in time; how many."""
        with self._lock:
            latest = self._clock() - ASK_SECONDS
            overdue = [one for one in self._open if one.is_open and one.is_silent and one.since < latest]
            for caller in overdue:
                caller.cut()
            return len(overdue)

    def has_place(self, caller: Caller) -> bool:
        """Whether its host may have the association that it asks for."""
        with self._lock:
            held = sum(other.holds_place for other in self._open if other.host == caller.host)
            return held <= self._most_of_a_host


class Reception(ACSE):
    """Says no where the caller's host has its share, as PS3.8 has it where a local limit is exceeded."""

    def __init__(self, association: Association, caller: Caller, callers: Callers) -> None:
        super().__init__(association)
        self._caller, self._callers = caller, callers

    def _negotiate_as_acceptor(self) -> None:
        if self._callers.has_place(self._caller):
            super()._negotiate_as_acceptor()
            return
        asked: Any = self.requestor.primitive
        self.requestor.ae_title = asked.calling_ae_title
        self.send_reject(_TRANSIENT, _PRESENTATION, _LOCAL_LIMIT)
        evt.trigger(self.assoc, evt.EVT_REJECTED, {})
        self.assoc.kill()


def identify_host(address: str) -> str:
    """An address as one host has it: an IPv6 machine has as many as it likes, of one network."""
    parsed = parse_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, _IPV6_SITE_BITS), strict=False))
    return str(parsed)


def parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address of a peer, IPv4 where it is one in IPv6's clothes. Raises ValueError."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
