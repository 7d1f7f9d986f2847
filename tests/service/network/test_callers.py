"""The share of associations that one host has, and that it never has all."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from vmat_rt_service.network.callers import Caller, Callers


def associated(callers: Callers, address: str, stack: ExitStack) -> Caller:
    """A caller with an association as its attributes show it before it ends."""
    near, far = socket.socketpair()
    stack.enter_context(near)
    stack.enter_context(far)
    caller = callers.enter(near, address)
    assert caller is not None
    open_: Any = SimpleNamespace(is_aborted=False, is_rejected=False, _sent_release=False)
    caller.association = open_
    return caller


@pytest.mark.parametrize(("most", "of_a_host", "expected"), [(10, 5, 5), (4, 9, 3), (1, 5, 1), (2, 2, 1)])
def test_a_host_has_its_share_and_never_all(most: int, of_a_host: int, expected: int) -> None:
    callers = Callers(most, of_a_host)
    granted: list[Caller] = []
    with ExitStack() as stack:
        for _ in range(12):
            caller: Any = associated(callers, "10.0.0.1", stack)
            if callers.admit(caller):
                granted.append(caller)
            else:
                caller.association.is_rejected = True
        assert len(granted) == expected
        assert callers.admit(associated(callers, "10.0.0.2", stack))
        ended: Any = granted[0]
        ended.association.is_aborted = True
        assert callers.admit(associated(callers, "10.0.0.1", stack)), "its place is free again"
