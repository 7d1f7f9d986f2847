"""What is silent too long, and who makes room for whom, by a clock of the test's own."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from tests.service.pages import Clock
from vmat_rt_service.visitors import MOST_SILENT, Visitor, Visitors, identify_host


@dataclass
class Sockets:
    """Connected sockets; the far end of each shows whether it was cut."""

    stack: ExitStack
    far: dict[int, socket.socket] = field(default_factory=dict)

    def enter(self, visitors: Visitors[Visitor], address: str) -> Visitor | None:
        near, far = socket.socketpair()
        self.stack.enter_context(near)
        visitor = visitors.enter(near, address)
        self.far[id(visitor)] = self.stack.enter_context(far)
        return visitor

    def is_cut(self, visitor: Visitor) -> bool:
        far = self.far[id(visitor)]
        far.setblocking(False)
        try:
            return far.recv(1) == b""
        except BlockingIOError:
            return False


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    with ExitStack() as stack:
        yield Sockets(stack)


def test_what_asks_for_nothing_is_cut_in_time_and_nothing_else(sockets: Sockets) -> None:
    clock = Clock()
    visitors = Visitors(Visitor, 10, 10.0, clock)
    silent, slow, busy = (sockets.enter(visitors, "10.0.0.1") for _ in range(3))
    assert silent is not None
    assert slow is not None
    assert busy is not None
    slow.ask(due=clock.now + 100)
    busy.ask(due=math.inf)
    clock.now += 9
    assert visitors.cut_overdue() == 0
    clock.now += 2
    assert visitors.cut_overdue() == 1
    assert sockets.is_cut(silent)
    assert not sockets.is_cut(slow)
    clock.now += 100
    assert visitors.cut_overdue() == 1
    assert sockets.is_cut(slow)
    assert not sockets.is_cut(busy)


def test_the_oldest_of_the_host_with_the_most_makes_room(sockets: Sockets) -> None:
    visitors = Visitors(Visitor, 10, 10.0)
    other = sockets.enter(visitors, "10.0.0.2")
    many = [sockets.enter(visitors, "10.0.0.1") for _ in range(MOST_SILENT)]
    assert [sockets.is_cut(visitor) for visitor in many if visitor] == [True] + [False] * (MOST_SILENT - 1)
    assert other is not None
    assert not sockets.is_cut(other)


def test_a_flood_is_bounded_before_its_threads_have_ended(sockets: Sockets) -> None:
    visitors = Visitors(Visitor, 2, 10.0)
    entered = [sockets.enter(visitors, "10.0.0.1") for _ in range(300)]
    assert 0 < sum(visitor is not None for visitor in entered) < 150


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
    ],
)
def test_an_ipv6_machine_is_one_host_whatever_address_it_takes(address: str, host: str) -> None:
    assert identify_host(address) == host
