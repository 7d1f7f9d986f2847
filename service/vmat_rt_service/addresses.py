"""Addresses that the service listens on: who can reach them, and why one cannot be had, in words that help."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass

_PRIVILEGED = 1024


@dataclass(frozen=True)
class Refusal:
    """Why an address cannot be listened on, and what to do."""

    code: str
    sentence: str
    remedy: str


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on host."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address of a peer, IPv4 where it is one in IPv6's clothes. Raises ValueError."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_permitted(host: str, allowed: Iterable[str]) -> bool:
    """Whether an address is, or lies in, one of the addresses, networks (10.1.0.0/16) or host names."""
    address = parse_address(host)
    return any(address in network for entry in allowed for network in _resolve_networks(entry))


def _resolve_networks(entry: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    try:
        return [ipaddress.ip_network(entry, strict=False)]
    except ValueError:
        pass
    try:
        addresses = socket.getaddrinfo(entry, None, type=socket.SOCK_STREAM)
    except OSError:  # a name that cannot be resolved now permits nobody
        return []
    return [ipaddress.ip_network(parse_address(str(address[0]))) for *_, address in addresses]


def format_address(host: str, port: int) -> str:
    """127.0.0.1:8765, [::1]:8765."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def explain_refusal(error: OSError, host: str, port: int, key: str) -> Refusal:
    """What the system's no to listening means. key: where the configuration says the port, such as web.port."""
    place = key.rpartition(".")[0]
    if error.errno == errno.EADDRINUSE:
        return Refusal(
            "ADDRESS_TAKEN",
            f"port {port} of {host} is used by another program",
            f"End that program (ss -ltnp 'sport = :{port}' names it), or choose another port with {key}.",
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        low = f"Ports below {_PRIVILEGED} are the administrator's: choose" if port < _PRIVILEGED else "Choose"
        return Refusal("PORT_NOT_PERMITTED", f"port {port} may not be used", f"{low} another port with {key}.")
    if error.errno == errno.EADDRNOTAVAIL:
        sentence = f"{host} is no address of this machine"
        return Refusal("NO_SUCH_ADDRESS", sentence, f"Set {place}.host to one of this machine's addresses.")
    return Refusal(
        "NOT_LISTENING", f"{host} port {port} cannot be listened on", f"Check {place}.host and {key}: {error.strerror}."
    )
