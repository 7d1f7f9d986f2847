"""Ports for programs that must be told one before they listen."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """Free now, and outside of what the system gives to others that ask for any (32768 and above, on Linux)."""
    while True:
        port = random.SystemRandom().randrange(20_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
