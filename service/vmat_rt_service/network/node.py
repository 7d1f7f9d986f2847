"""The DICOM node: C-ECHO, and C-STORE of CT, RTSTRUCT, RTPLAN and RTDOSE into the inbox. A process of its own.

What a peer may do at most is in connections.py, what becomes of an object in received.py.
"""

from __future__ import annotations

import functools
import logging
import re
import resource
import select
import sys
import threading
import time
from typing import Any

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
from vmat_rt_service.addresses import explain_refusal, format_address
from vmat_rt_service.config import ListenConfig, ServiceConfig
from vmat_rt_service.network.callers import ASK_SECONDS, Callers, Entity, has_ended
from vmat_rt_service.network.connections import (
    NETWORK_SECONDS,
    Connection,
    Door,
    IncomingDataset,
    Server,
    find_receiver,
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
_STOP_SECONDS = 2.0
_BEAT_SECONDS = 5.0
_MEMORY_BYTES = 1 << 30  # it needs a tenth of that with every association at work
_STACK_BYTES = 1 << 19  # of some hundred threads, none of which goes deep
_TITLE = re.compile(r"[A-Za-z0-9_.-]{1,16}")


class Node:
    """Listens from `start` to `stop`. Raises ConfigError where the TLS files cannot be used."""

    def __init__(self, config: ServiceConfig) -> None:
        assert config.listen is not None
        self.listen: ListenConfig = config.listen
        shelf = Shelf(config.inbox, self.listen.max_object_mb * 10**6, config.min_free_gb * 1e9)
        tls = make_server_context(self.listen.tls) if self.listen.tls is not None else None
        callers = Callers(self.listen.max_associations, self.listen.max_associations_per_host)
        self._door = Door(self.listen.allowed_hosts, tls, shelf, callers)
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
            server_class=functools.partial(Server, self._door.callers),  # type: ignore[arg-type]
            request_handler=functools.partial(Connection, self._door),
        )
        self._ae._servers.append(server)  # for its own shutdown
        threading.Thread(target=server.serve_forever, name="node", daemon=True).start()
        return self.port

    @property
    def port(self) -> int:
        """The port it listens on; 0 while it does not."""
        return int(self._server.server_address[1]) if self._server is not None else 0

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
    ae.acse_timeout, ae.network_timeout, ae.dimse_timeout = ASK_SECONDS, NETWORK_SECONDS, NETWORK_SECONDS
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
    """Listen until the supervisor closes the pipe; where the port is taken, as soon as it is free."""
    children.begin(arguments)
    logs.start_logging()
    _config.LOG_HANDLER_LEVEL = "none"
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # what it has to say quotes objects; we say the rest
    channel = children.reply_channel()
    config = ServiceConfig.model_validate_json(sys.stdin.readline())
    logs.silence_libraries()
    _limit_memory()
    node = Node(config)
    if _listen(node, channel):
        while not _is_told_to_end(_BEAT_SECONDS):
            children.tell(channel, {"listening": node.port})
    node.stop()


def _listen(node: Node, channel: Any) -> bool:
    """Start listening, however long others keep the port; said once. False when the supervisor ends it before."""
    told = None
    while True:
        try:
            port = node.start()
        except OSError as error:
            refusal = explain_refusal(error, node.listen.host, node.listen.port, "listen.port")
            children.tell(channel, {"refusal": f"{refusal.sentence}. {refusal.remedy}"})
            if refusal != told:
                told = refusal
                address = format_address(node.listen.host, node.listen.port)
                logs.event(
                    "node not listening", logging.WARNING, code=refusal.code, address=address, remedy=refusal.remedy
                )
            if _is_told_to_end(_BEAT_SECONDS):
                return False
        else:
            children.tell(channel, {"listening": port})
            logs.event("node listening", address=format_address(node.listen.host, port))
            return True


def _is_told_to_end(seconds: float) -> bool:
    """Whether the supervisor closes the pipe within these seconds."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def _limit_memory() -> None:
    """Beyond the limit an allocation fails, and with it one association, not the machine."""
    threading.stack_size(_STACK_BYTES)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main(sys.argv[1:])
