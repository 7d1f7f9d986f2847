"""Who gets in while others hold the door: the share of a host, and what is silent too long, by a test's clock."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from tests.service.pages import Clock
from vmat_rt_service.network.callers import ASK_SECONDS, MOST_SILENT, Caller, Callers, identify_host


@dataclass
class Sockets:
    """Connected sockets; the far end of each shows whether it was cut."""

    stack: ExitStack
    far: dict[int, socket.socket] = field(default_factory=dict)

    def enter(self, callers: Callers, address: str) -> Caller | None:
        near, far = socket.socketpair()
        self.stack.enter_context(near)
        far.settimeout(5)
        caller = callers.enter(near, address)
        self.far[id(caller)] = self.stack.enter_context(far)
        return caller

    def is_cut(self, caller: Caller) -> bool:
        far = self.far[id(caller)]
        far.setblocking(False)
        try:
            return far.recv(1) == b""
        except BlockingIOError:
            return False


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    with ExitStack() as stack:
        yield Sockets(stack)


def asked() -> Any:
    """An association as its attributes show it once it was asked for."""
    return SimpleNamespace(
        requestor=SimpleNamespace(primitive="asked"), is_aborted=False, is_rejected=False, _sent_release=False
    )


def test_what_asks_for_nothing_is_cut_in_time_and_nothing_else(sockets: Sockets) -> None:
    clock = Clock()
    callers = Callers(10, 5, clock)
    silent, busy = sockets.enter(callers, "10.0.0.1"), sockets.enter(callers, "10.0.0.1")
    assert silent is not None
    assert busy is not None
    busy.association = asked()
    clock.now += ASK_SECONDS - 1
    assert callers.cut_overdue() == 0
    clock.now += 2
    assert callers.cut_overdue() == 1
    assert sockets.is_cut(silent)
    assert not sockets.is_cut(busy)


def test_the_oldest_of_the_host_with_the_most_makes_room(sockets: Sockets) -> None:
    callers = Callers(10, 5)
    other = sockets.enter(callers, "10.0.0.2")
    many = [sockets.enter(callers, "10.0.0.1") for _ in range(MOST_SILENT)]
    assert [sockets.is_cut(caller) for caller in many if caller] == [True] + [False] * (MOST_SILENT - 1)
    assert other is not None
    assert not sockets.is_cut(other)


def test_a_flood_is_bounded_before_its_threads_have_ended(sockets: Sockets) -> None:
    callers = Callers(2, 1)
    entered = [sockets.enter(callers, "10.0.0.1") for _ in range(300)]
    assert 0 < sum(caller is not None for caller in entered) < 150


@pytest.mark.parametrize(("most", "of_a_host", "expected"), [(10, 5, 5), (4, 9, 3), (1, 5, 1), (2, 2, 1)])
def test_a_host_has_its_share_and_never_all(sockets: Sockets, most: int, of_a_host: int, expected: int) -> None:
    callers = Callers(most, of_a_host)
    granted = 0
    for _ in range(12):
        caller = sockets.enter(callers, "10.0.0.1")
        assert caller is not None
        caller.association = asked()
        if callers.has_place(caller):
            granted += 1
        else:
            caller.association.is_rejected = True
    assert granted == expected
    another = sockets.enter(callers, "10.0.0.2")
    assert another is not None
    another.association = asked()
    assert callers.has_place(another)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_an_ipv6_machine_is_one_host_whatever_address_it_takes(address: str, host: str) -> None:
    assert identify_host(address) == host
