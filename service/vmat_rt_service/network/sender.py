"""Sends finished results to the configured destinations by C-STORE. A process that lives while something is to be sent.

A destination that cannot be reached is tried again for ever, ever more slowly; what it refuses, a number of times.
"""

from __future__ import annotations

import logging
import random
import selectors
import sqlite3
import ssl
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RTDoseStorage,
    RTPlanStorage,
    RTStructureSetStorage,
)
from pynetdicom import AE, _config
from pynetdicom.association import Association

from vmat_rt.errors import ConfigError
from vmat_rt_service import children, logs
from vmat_rt_service.config import Destination, Kind, ServiceConfig
from vmat_rt_service.files import hash_file
from vmat_rt_service.journal.jobs import Journal
from vmat_rt_service.journal.sends import Ledger, Send
from vmat_rt_service.network.tls import make_client_context
from vmat_rt_service.outbox.publishing import find_result_folder, read_record

ORDER: tuple[tuple[Kind, str, str], ...] = (
    ("rtplan", "rtplan.dcm", RTPlanStorage),
    ("rtdose", "rtdose.dcm", RTDoseStorage),
    ("isodose", "isodoses.dcm", RTStructureSetStorage),
)
"""Kind, file and SOP class of what can be sent, in this order: a dose may be turned away without its plan."""

OWN_TITLE = "VMATRT"
"""Our AE title where the service does not listen under one."""

_CONNECT_SECONDS, _ACSE_SECONDS, _NETWORK_SECONDS = 10.0, 30.0, 120.0
_MOST_REFUSALS = 10
_LOOK_SECONDS = 2.0
_ACCEPTED = {0x0000, 0xB000, 0xB006, 0xB007, 0x0111}  # stored; stored, but with a warning; there already


class UnreachableError(Exception):
    """The destination does not take part: nothing of it says anything about the object."""


class RefusedError(Exception):
    """The destination, or the result itself, says no."""


@dataclass(frozen=True)
class Backoff:
    """Seconds until the next attempt: doubled each time up to a cap, of which between half and all is waited."""

    first_seconds: float = 2.0
    cap_seconds: float = 900.0

    def after(self, failures: int) -> float:
        """The pause after so many failures in a row (1 or more)."""
        whole = min(self.cap_seconds, self.first_seconds * 2.0 ** min(failures - 1, 30))
        return whole * random.uniform(0.5, 1.0)


def deliver(
    destination: Destination, own_title: str, objects: Sequence[tuple[Kind, Path]], acknowledged: Callable[[Kind], None]
) -> None:
    """Send the objects over one association; `acknowledged` hears of each that the destination has.

    Raises UnreachableError or RefusedError, in words that quote neither an object nor the peer.
    """
    classes = {kind: sop_class for kind, _, sop_class in ORDER}
    association = _associate(destination, own_title, [classes[kind] for kind, _ in objects])
    try:
        for kind, path in objects:
            _store(association, kind, pydicom.dcmread(path))
            acknowledged(kind)
    finally:
        if association.is_established:
            association.release()


def _associate(destination: Destination, own_title: str, classes: Collection[str]) -> Association:
    entity = AE(own_title)
    entity.connection_timeout, entity.acse_timeout = _CONNECT_SECONDS, _ACSE_SECONDS
    entity.dimse_timeout = entity.network_timeout = _NETWORK_SECONDS
    for sop_class in sorted(set(classes)):
        entity.add_requested_context(sop_class, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    try:
        tls = (make_client_context(destination.tls), destination.host) if destination.tls is not None else None
        association = entity.associate(destination.host, destination.port, ae_title=destination.ae_title, tls_args=tls)
    except (OSError, ssl.SSLError, ConfigError):  # the name is unknown, or a certificate file has gone
        raise UnreachableError("its host or our certificate cannot be used") from None
    if association.is_established:
        return association
    if association.is_rejected:
        raise UnreachableError(f"it rejects an association of {own_title} with {destination.ae_title}")
    if association.acceptor.primitive is not None:
        raise RefusedError("it accepts none of the kinds of objects")
    raise UnreachableError("no connection")


def _store(association: Association, kind: Kind, dataset: Dataset) -> None:
    if not association.is_established:
        raise UnreachableError("the connection was lost")
    try:
        answer = association.send_c_store(dataset)
    except ValueError:  # its context was not accepted, or it cannot be encoded in the one that was
        raise RefusedError(f"it does not accept an {kind}") from None
    except RuntimeError:
        raise UnreachableError("the connection was lost") from None
    status = getattr(answer, "Status", None)
    if status is None:
        raise UnreachableError(f"no answer to the {kind}")
    if int(status) not in _ACCEPTED:
        raise RefusedError(f"it refused the {kind} with status 0x{int(status):04X}")


class Dispatcher:
    """Makes the attempts that are due. When, is decided by the monotonic clock: after a restart all is due at once."""

    def __init__(
        self,
        config: ServiceConfig,
        ledger: Ledger,
        journal: Journal,
        backoff: Backoff = Backoff(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._journal, self._backoff, self._clock = ledger, journal, backoff, clock
        self._outbox = config.outbox
        self._own_title = config.listen.ae_title if config.listen is not None else OWN_TITLE
        self._destinations = {destination.name: destination for destination in config.destinations}
        self._send_due: dict[int, float] = {}
        self._destination_due: dict[str, float] = {}
        self._outages: dict[str, int] = {}

    def step(self) -> float | None:
        """Make one attempt if any is due. Seconds until the next is due; None when nothing is left to send."""
        pending = self._ledger.list_pending(self._destinations)
        if not pending:
            return None
        due = {send: self._find_due(send) for send in pending}
        first = min(pending, key=lambda send: due[send])
        if due[first] <= self._clock():
            self.attempt(first)
            return 0.0
        return due[first] - self._clock()

    def find_untried(self, tried: Collection[int]) -> Send | None:
        """The first pending send that is not among those tried."""
        return next((send for send in self._ledger.list_pending(self._destinations) if send.id not in tried), None)

    def attempt(self, send: Send) -> None:
        """Send what the destination does not have yet, and note how that went."""
        name = send.destination
        try:
            objects = self._collect_objects(send)
            if objects:
                deliver(
                    self._destinations[name],
                    self._own_title,
                    objects,
                    lambda kind: self._ledger.acknowledge(send.id, kind),
                )
        except UnreachableError as error:
            self._outages[name] = self._outages.get(name, 0) + 1
            pause = self._backoff.after(self._outages[name])
            self._destination_due[name] = self._clock() + pause
            self._ledger.postpone(send.id, str(error), pause)
            logs.event("not sent", logging.WARNING, job=send.job, destination=name, seconds=round(pause, 1))
        except RefusedError as error:
            self._outages.pop(name, None)
            self._note_refusal(send, str(error))
        except sqlite3.Error:  # nothing can be noted: the next sender tries again
            raise
        except Exception as error:  # the boundary: one result that cannot be sent must not hold up the others
            logs.crash("sending failed", error, job=send.job, destination=name)
            self._note_refusal(send, "the sender failed; see the log")
        else:
            self._outages.pop(name, None)
            self._ledger.complete(send.id)
            logs.event("sent", job=send.job, destination=name, attempt=send.attempts + 1)

    def _note_refusal(self, send: Send, detail: str) -> None:
        if send.attempts + 1 >= _MOST_REFUSALS:
            self._ledger.give_up(send.id, detail)
            logs.event("given up sending", logging.ERROR, job=send.job, destination=send.destination)
            return
        pause = self._backoff.after(send.attempts + 1)
        self._send_due[send.id] = self._clock() + pause
        self._ledger.postpone(send.id, detail, pause)
        logs.event("not taken", logging.WARNING, job=send.job, destination=send.destination, seconds=round(pause, 1))

    def _find_due(self, send: Send) -> float:
        return max(self._send_due.get(send.id, 0.0), self._destination_due.get(send.destination, 0.0))

    def _collect_objects(self, send: Send) -> list[tuple[Kind, Path]]:
        """What of the result is wanted there and not yet acknowledged. Raises RefusedError: it is not what was made."""
        job = self._journal.find_job(send.job)
        folder = find_result_folder(self._outbox, job, self._journal.is_foreign) if job is not None else None
        record = read_record(folder) if folder is not None else None
        if folder is None or record is None:
            raise RefusedError("the result is no longer in the outbox")
        wanted = self._destinations[send.destination].send
        there = self._ledger.list_acknowledged(send.id)
        objects = [(kind, folder / name) for kind, name, _ in ORDER if kind in wanted and name in record.files]
        try:
            changed = any(hash_file(path) != record.files[path.name] for _, path in objects)
        except OSError:
            raise RefusedError("the result in the outbox cannot be read") from None
        if changed:
            raise RefusedError("the result in the outbox was changed")
        return [(kind, path) for kind, path in objects if kind not in there]


def main(arguments: list[str]) -> None:
    """Send until nothing is left, or the supervisor closes the pipe. With `once`, one attempt for each."""
    once = "once" in children.begin(arguments)
    logs.start_logging()
    _config.LOG_HANDLER_LEVEL = "none"
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    channel = children.reply_channel()
    config = ServiceConfig.model_validate_json(sys.stdin.readline())
    logs.silence_libraries()
    dispatcher = Dispatcher(config, Ledger(config.journal), Journal(config.journal))
    if once:
        _try_each(dispatcher, channel)
    else:
        _send_all(dispatcher)
    children.tell(channel, {"finished": True})


def _send_all(dispatcher: Dispatcher) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)  # readable when the supervisor closes it
        pause = dispatcher.step()
        while pause is not None and not selector.select(min(pause, _LOOK_SECONDS)):
            pause = dispatcher.step()


def _try_each(dispatcher: Dispatcher, channel: Any) -> None:
    tried: set[int] = set()
    while (send := dispatcher.find_untried(tried)) is not None:
        tried.add(send.id)
        dispatcher.attempt(send)
        children.tell(channel, {"tried": send.id})


if __name__ == "__main__":
    main(sys.argv[1:])
