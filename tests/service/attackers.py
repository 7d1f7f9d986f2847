"""Peers and browsers that mean harm, for the tests and for benchmarks/service_attacks.py."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
_SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
_OPEN = 0xFFFFFFFF


def text_element(group: int, element: int, vr: str, text: str) -> bytes:
    """One element of text in explicit VR little endian."""
    value = text.encode() + (b"\0" if vr == "UI" else b" ") * (len(text) % 2)
    return struct.pack("<HH2sH", group, element, vr.encode(), len(value)) + value


def sequence(group: int, element: int, content: bytes, length: int = _OPEN) -> bytes:
    """A sequence around encoded items, of undefined length unless one is stated."""
    end = _SEQUENCE_END if length == _OPEN else b""
    return struct.pack("<HH2sHI", group, element, b"SQ", 0, length) + content + end


def object_around(instance: str, middle: bytes, end: bytes = b"") -> bytes:
    """A CT image's first elements with something in their midst and after them, explicit VR little endian."""
    head = text_element(8, 0x16, "UI", CTImageStorage) + text_element(8, 0x18, "UI", instance)
    return head + middle + text_element(0x20, 0xD, "UI", "1.2.3") + end


def empty_items(count: int, instance: str = "1.2.3.4") -> bytes:
    """An object of 8 bytes an item, which as Python objects are hundreds of times as many."""
    return object_around(instance, sequence(8, 0x1140, _ITEM * count))


def nested(depth: int, instance: str = "1.2.3.4") -> bytes:
    """Sequences within sequences."""
    opened = struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, _OPEN) + struct.pack("<HHI", 0xFFFE, 0xE000, _OPEN)
    closed = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + _SEQUENCE_END
    return object_around(instance, opened * depth + closed * depth)


@contextlib.contextmanager
def silent(port: int, count: int, host: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """Connections that ask for nothing; one that is closed on is not opened again."""
    with contextlib.ExitStack() as stack:
        peers = []
        for _ in range(count):
            with contextlib.suppress(OSError):
                peers.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), 5, (host, 0))))
        yield peers


@contextlib.contextmanager
def trickling(
    port: int, count: int, text: bytes, host: str = "127.0.0.1", pause_seconds: float = 1.0
) -> Iterator[None]:
    """Clients that send a request byte by byte, and connect again as soon as they are cut off."""
    over = threading.Event()

    def send() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5, (host, 0)) as peer:
                for position in range(len(text)):
                    peer.sendall(text[position : position + 1])
                    if over.wait(pause_seconds):
                        return
            over.wait(0.2)

    threads = [threading.Thread(target=send, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(10)


@contextlib.contextmanager
def holding(port: int, count: int, host: str = "127.0.0.1") -> Iterator[list[Association]]:
    """As many associations of one host as it gets; they do nothing."""
    entity = AE("HOLDER")
    entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    found = [entity.associate("127.0.0.1", port, ae_title="VMATRT", bind_address=(host, 0)) for _ in range(count)]
    held = [association for association in found if association.is_established]
    try:
        yield held
    finally:
        for association in held:
            association.abort()


def echo_from(port: int, host: str = "127.0.0.1", seconds: float = 10.0) -> float | None:
    """Seconds that an honest peer's C-ECHO took; None where it got no answer."""
    entity = AE("HONEST")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = seconds
    entity.add_requested_context(Verification)
    begun = time.monotonic()
    association = entity.associate("127.0.0.1", port, ae_title="VMATRT", bind_address=(host, 0))
    if not association.is_established:
        return None
    answer = association.send_c_echo()
    association.release()
    return time.monotonic() - begun if getattr(answer, "Status", None) == 0 else None
