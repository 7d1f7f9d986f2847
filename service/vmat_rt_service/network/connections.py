"""Connections of the DICOM node, each within bounds, however a peer behaves.

pynetdicom keeps a whole dataset in memory, reads as large a PDU as a peer announces, waits for its bytes without end
and shakes hands over TLS in the one thread that accepts. Here a dataset goes to disk as it comes; the rest has limits.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import ssl
import sys
import time
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from vmat_rt_service import logs
from vmat_rt_service.addresses import is_permitted
from vmat_rt_service.network.callers import ASK_SECONDS, Caller, Callers, Reception
from vmat_rt_service.network.received import Announced, Arrival, Shelf

NETWORK_SECONDS = 30.0
"""How long a peer may be silent, and how long one PDU may take."""

MESSAGE_SECONDS = 600.0
"""How long one message may take: an object of the largest size allowed, at 7 Mbit/s."""

_LARGEST_PDU_BYTES = 1 << 20  # requests for an association are not bound by the size that we ask for
_COMMAND_BYTES = 1 << 16
_MOST_WAITING = 4  # complete messages that a peer may send ahead of our answers


@dataclass(frozen=True)
class Door:
    """Who may come in, how, and where what they bring goes. No hosts: all may."""

    hosts: tuple[str, ...]
    tls: ssl.SSLContext | None
    shelf: Shelf
    callers: Callers


class Server(ThreadedAssociationServer):
    """Accepts at once and leaves every slow step, the TLS handshake too, to the connection's own thread."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, callers: Callers, *arguments: Any, **named: Any) -> None:
        self._callers = callers
        super().__init__(*arguments, **named)

    def service_actions(self) -> None:
        """End what asks for nothing; called twice a second."""
        super().service_actions()
        cut = self._callers.cut_overdue()
        if cut:
            logs.event("silent connections ended", count=cut)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A connection that fails ends; the traceback could quote what it sent."""
        error = sys.exception()
        if error is not None:
            logs.crash("connection failed", error)


class Connection(RequestHandler):
    """One connection: from a host that may call, through the handshake, to an association within bounds."""

    def __init__(self, door: Door, request: Any, client_address: Any, server: Any) -> None:
        self._door = door
        self._caller: Caller | None = None
        super().__init__(request, client_address, server)

    def handle(self) -> None:
        hosts, host = self._door.hosts, str(self.client_address[0])
        if hosts and not is_permitted(host, hosts):
            logs.event("host refused", logging.WARNING, code="HOST")
            self.server.shutdown_request(self.request)
            return
        self._caller = self._door.callers.enter(self.request, host)
        if self._caller is None:
            self.server.shutdown_request(self.request)
            return
        self.request.settimeout(ASK_SECONDS)
        if self._door.tls is not None and not self._shake_hands(self._door.tls, self._caller):
            return
        super().handle()

    def _shake_hands(self, tls: ssl.SSLContext, caller: Caller) -> bool:
        """However slowly it goes, `Callers` ends it in time."""
        try:
            wrapped = tls.wrap_socket(self.request, server_side=True, do_handshake_on_connect=False)
            self.request = caller.socket = wrapped
            wrapped.do_handshake()
        except (OSError, ValueError):
            logs.event("host refused", logging.WARNING, code="TLS")
            self.server.shutdown_request(self.request)
            return False
        return True

    def _create_association(self) -> Association:
        association = super()._create_association()
        assert self._caller is not None
        self._caller.association = association
        association.acse = Reception(association, self._caller, self._door.callers)
        association.dimse = Receiver(association, self._door.shelf)
        association.dul.event_queue.get_nowait()  # that socket announced the connection; so does the one in its place
        association.dul.socket = _Socket(association, client_socket=self.request)
        return association


class _Socket(AssociationSocket):
    """Reads no PDU that is absurdly long, and none for longer than the network's time limit."""

    def recv(self, nr_bytes: int) -> bytearray:
        if nr_bytes > _LARGEST_PDU_BYTES:
            raise OSError("a PDU is too long")
        assert self.socket is not None
        deadline = time.monotonic() + NETWORK_SECONDS
        received = bytearray(nr_bytes)
        view, have = memoryview(received), 0
        while have < nr_bytes:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            count = self.socket.recv_into(view[have:])
            if not count:
                break
            have += count
        view.release()
        del received[have:]
        self.socket.settimeout(NETWORK_SECONDS)
        return received


class Receiver(DIMSEServiceProvider):
    """Puts bounded buffers under every message that comes in."""

    def __init__(self, association: Association, shelf: Shelf) -> None:
        super().__init__(association)
        self.shelf = shelf
        self.stored = self.refused = 0
        self._begun = 0.0

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Add a part of a message. What breaks the rules ends the association, in order, not the thread."""
        if self.message is None:
            self._begun = time.monotonic()
            self.message = DIMSEMessage()
            self.message.encoded_command_set = _Command()
            self.message.data_set = IncomingDataset(self, self.message)
        try:
            if self.msg_queue.qsize() > _MOST_WAITING:
                raise OSError("a peer does not wait for answers")
            if time.monotonic() - self._begun > MESSAGE_SECONDS:
                raise OSError("a message takes too long")
            super().receive_primitive(primitive)
        except Exception as error:  # the boundary: pynetdicom raises whatever the bytes lead it to
            logs.crash("association ended", error)
            self.abandon()
            self.dul.event_queue.put("Evt19")  # an invalid PDU, in the words of PS3.8 9.2

    def abandon(self) -> None:
        """The association is over: nothing half received remains, and no answer that cannot be sent."""
        if self.message is not None:
            _discard(self.message.data_set)
            self.message = None
        with contextlib.suppress(queue.Empty):
            while True:
                _, request = self.msg_queue.get_nowait()
                _discard(getattr(request, "DataSet", None))

    def close(self) -> None:
        """The connection is gone."""
        self.abandon()
        # A peer that left before it asked for anything would otherwise count as an association until its time is up.
        self.dul.to_user_queue.put(None)


def _discard(dataset: object) -> None:
    if isinstance(dataset, IncomingDataset):
        dataset.arrival().discard()


def find_receiver(association: Association) -> Receiver:
    """What receives for an association of a `Connection`."""
    assert isinstance(association.dimse, Receiver)
    return association.dimse


class _Command(BytesIO):
    def write(self, data: Any) -> int:
        if self.tell() + len(data) > _COMMAND_BYTES:
            raise OSError("a command is too long")
        return super().write(data)


class IncomingDataset(BytesIO):
    """Stands where pynetdicom collects a dataset, and hands it on to the file. Other messages' datasets are dropped."""

    def __init__(self, receiver: Receiver, message: DIMSEMessage) -> None:
        super().__init__()
        self._receiver, self._message = receiver, message
        self._arrival: Arrival | None = None

    def write(self, data: Any) -> int:
        if isinstance(self._message, C_STORE_RQ):
            self.arrival().write(data)
        return len(data)

    def arrival(self) -> Arrival:
        """Made at the first data, when the command set has been read: what comes, and in which transfer syntax."""
        if self._arrival is None:
            context = self._receiver.assoc._accepted_cx.get(self._message.context_id or 0)
            command = self._message.command_set
            syntax = context.transfer_syntax[0] if context is not None and context.transfer_syntax else ""
            sop_class = str(command.get("AffectedSOPClassUID", ""))
            if context is None or context.abstract_syntax != sop_class:
                sop_class = ""
            instance = str(command.get("AffectedSOPInstanceUID", ""))
            if not 0 < len(instance) <= 64:  # pynetdicom would end the association
                command.AffectedSOPInstanceUID, instance = "0", ""
            self._arrival = self._receiver.shelf.expect(Announced(sop_class, instance, str(syntax)))
        return self._arrival
