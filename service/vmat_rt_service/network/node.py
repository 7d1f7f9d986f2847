"""The DICOM node: C-ECHO, and C-STORE of CT, RTSTRUCT, RTPLAN and RTDOSE into the inbox. A process of its own.

What a peer may do at most is in connections.py, what becomes of an object in received.py.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
import threading
import time

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom import _config, evt
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.events import Event
from pynetdicom.transport import ThreadedAssociationServer

from vmat_rt_service import children, logs
from vmat_rt_service.config import ListenConfig, ServiceConfig
from vmat_rt_service.network.connections import (
    NETWORK_SECONDS,
    Connection,
    Door,
    Entity,
    IncomingDataset,
    Server,
    find_receiver,
    has_ended,
)
from vmat_rt_service.network.received import KINDS, RefusalError, Shelf, Status
from vmat_rt_service.network.tls import make_server_context

SYNTAXES = (
    ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless,
    JPEGLosslessSV1, JPEGLossless, JPEGLSLossless, JPEG2000Lossless, HTJ2KLossless, HTJ2KLosslessRPCL,
    JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K,
)  # fmt: skip
"""Every transfer syntax that we can read; where a sender offers several in one context, the first of these."""

_PDU_BYTES = 1 << 17  # what we ask senders for
_ACSE_SECONDS = 30.0
_STOP_SECONDS = 2.0
_TITLE = re.compile(r"[A-Za-z0-9_.-]{1,16}")


class Node:
    """Listens from `start` to `stop`. Raises ConfigError where the TLS files cannot be used."""

    def __init__(self, config: ServiceConfig) -> None:
        assert config.listen is not None
        self.listen: ListenConfig = config.listen
        shelf = Shelf(config.inbox, self.listen.max_object_mb * 10**6, config.min_free_gb * 1e9)
        tls = make_server_context(self.listen.tls) if self.listen.tls is not None else None
        self._door = Door(self.listen.allowed_hosts, tls, shelf)
        self._ae = _make_application_entity(self.listen)
        self._server: ThreadedAssociationServer | None = None

    def start(self) -> int:
        """Listen; the port, the system's choice where the configuration says 0. Raises OSError."""
        self._door.shelf.sweep()
        handlers: list[evt.EventHandlerType] = [
            (evt.EVT_C_ECHO, _answer_echo),
            (evt.EVT_C_STORE, _answer_store),
            (evt.EVT_ACCEPTED, _log_accepted),
            (evt.EVT_REJECTED, _log_rejected),
            (evt.EVT_CONN_CLOSE, _log_closed),
        ]
        self._server = server = self._ae.make_server(
            (self.listen.host, self.listen.port),
            evt_handlers=handlers,
            server_class=Server,
            request_handler=functools.partial(Connection, self._door),
        )
        self._ae._servers.append(server)  # for its own shutdown
        threading.Thread(target=server.serve_forever, name="node", daemon=True).start()
        return int(server.server_address[1])

    def stop(self) -> None:
        """Stop listening and abort what is under way; its senders send it again."""
        server, self._server = self._server, None
        if server is None:
            return
        for association in server.active_associations:  # those that have asked for nothing yet, too
            if not has_ended(association):
                association.abort()
        self._ae.shutdown()
        until = time.monotonic() + _STOP_SECONDS
        for connection in threading.enumerate():
            if isinstance(connection, DULServiceProvider) and connection.assoc._server is server:
                connection.join(max(0.0, until - time.monotonic()))  # it logs what was received


def _make_application_entity(listen: ListenConfig) -> Entity:
    ae = Entity(listen.ae_title)
    ae.maximum_pdu_size = _PDU_BYTES
    ae.maximum_associations = listen.max_associations
    ae.acse_timeout, ae.network_timeout, ae.dimse_timeout = _ACSE_SECONDS, NETWORK_SECONDS, NETWORK_SECONDS
    ae.require_called_aet = True
    ae.require_calling_aet = list(listen.allowed_callers)
    ae.add_supported_context("1.2.840.10008.1.1")  # verification: C-ECHO
    for sop_class in KINDS:
        ae.add_supported_context(sop_class, list(SYNTAXES))
    return ae


def _answer_echo(_event: Event) -> int:
    return Status.STORED


def _answer_store(event: Event) -> int:
    """Answer a C-STORE. An object that cannot be kept does not concern the next one: the association goes on."""
    receiver = find_receiver(event.assoc)
    dataset = getattr(event.request, "DataSet", None)
    try:
        if not isinstance(dataset, IncomingDataset):
            raise RefusalError(Status.NOT_UNDERSTOOD, "NO_DATASET")
        dataset.arrival().keep()
    except RefusalError as refusal:
        receiver.refused += 1
        logs.event("object refused", logging.WARNING, code=refusal.code, caller=_name_caller(event.assoc))
        return refusal.status
    receiver.stored += 1
    return Status.STORED


def _log_accepted(event: Event) -> None:
    """Say by name which kinds of objects a caller offers that are not taken."""
    classes = {UID(str(context.abstract_syntax)) for context in event.assoc.rejected_contexts}
    names = sorted({uid.keyword or "PRIVATE" for uid in classes})
    if names:
        logs.event("kinds refused", count=len(classes), code=", ".join(names[:5]), caller=_name_caller(event.assoc))


def _log_rejected(event: Event) -> None:
    logs.event("association refused", logging.WARNING, caller=_name_caller(event.assoc))


def _log_closed(event: Event) -> None:
    receiver = find_receiver(event.assoc)
    receiver.close()
    if receiver.stored or receiver.refused:
        logs.event("received", done=receiver.stored, refused=receiver.refused, caller=_name_caller(event.assoc))


def _name_caller(association: Association) -> str:
    """The calling AE title; what is not spelt like one could be anything and is not logged."""
    title = (association.requestor.ae_title or "").strip()
    return title if _TITLE.fullmatch(title) else "?"


def main(arguments: list[str]) -> None:
    """Listen until the supervisor closes the pipe. Ends at once with 1 where it cannot listen."""
    children.begin(arguments)
    logs.start_logging()
    _config.LOG_HANDLER_LEVEL = "none"
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # what it has to say quotes objects; we say the rest
    channel = children.reply_channel()
    node = Node(ServiceConfig.model_validate_json(sys.stdin.readline()))
    logs.silence_libraries()
    try:
        port = node.start()
    except OSError:
        logs.event("node not listening", logging.WARNING, code="ADDRESS_TAKEN")
        raise SystemExit(1) from None
    children.tell(channel, {"listening": port})
    logs.event("node listening")
    for _ in sys.stdin:
        pass
    node.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
