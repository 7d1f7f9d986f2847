"""Who can reach an address, and why one cannot be listened on, said with port and remedy."""

from __future__ import annotations

import errno
import socket

import pytest

from vmat_rt_service.addresses import explain_refusal, format_address, is_loopback, is_permitted


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("", False)],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_a_taken_port_is_named_with_the_key_that_changes_it() -> None:
    with socket.socket() as holder, socket.socket() as other:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(OSError, match="in use") as caught:
            other.bind(("127.0.0.1", port))
    refusal = explain_refusal(caught.value, "127.0.0.1", port, "web.port")
    assert refusal.code == "ADDRESS_TAKEN"
    assert str(port) in refusal.sentence
    assert "web.port" in refusal.remedy


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.EACCES, "PORT_NOT_PERMITTED"), (errno.EADDRNOTAVAIL, "NO_SUCH_ADDRESS"), (errno.EMFILE, "NOT_LISTENING")],
)
def test_other_refusals_have_a_remedy_too(number: int, code: str) -> None:
    refusal = explain_refusal(OSError(number, "x"), "192.0.2.1", 104, "listen.port")
    assert refusal.code == code
    assert "listen." in refusal.remedy


def test_addresses_are_written_as_browsers_take_them() -> None:
    assert (format_address("127.0.0.1", 8765), format_address("::1", 8765)) == ("127.0.0.1:8765", "[::1]:8765")


@pytest.mark.parametrize(
    ("host", "allowed", "expected"),
    [
        ("10.1.2.3", ["10.1.2.3"], True),
        ("10.1.2.3", ["10.1.2.4", "10.1.0.0/16"], True),
        ("10.1.2.3", ["10.2.0.0/16"], False),
        ("::ffff:10.1.2.3", ["10.1.2.3"], True),
        ("127.0.0.1", ["localhost"], True),
        ("fe80::1%eth0", ["fe80::/10"], True),
        ("10.1.2.3", ["no-such-host.invalid"], False),
    ],
)
def test_hosts(host: str, allowed: list[str], expected: bool) -> None:
    assert is_permitted(host, allowed) is expected
