"""How many associations one host may hold with the DICOM node, so that no host has all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.acse import ACSE
from pynetdicom.association import Association

from vmat_rt_service.visitors import Visitor, Visitors

ASK_SECONDS = 10.0
"""How long a connection may take to ask for an association, its TLS handshake and every byte included."""

_TRANSIENT, _PRESENTATION, _LOCAL_LIMIT = 0x02, 0x03, 0x02  # PS3.8 9.3.4


def has_ended(association: Association) -> bool:
    """Whether it ended, as its peer sees it: its thread may live on for a moment."""
    return bool(association.is_aborted or association.is_rejected or association._sent_release)


class Entity(AE):
    """Counts associations where pynetdicom counts connections: a silent peer does not use up a connection."""

    @property
    def active_associations(self) -> list[Association]:
        """List the associations that were asked for and have not ended."""
        return [
            association
            for association in super().active_associations
            if association.requestor.primitive is not None and not has_ended(association)
        ]


@dataclass(eq=False)
class Caller(Visitor):
    """One connection of the node; its association is made after the TLS handshake."""

    association: Association | None = None

    @property
    def holds_place(self) -> bool:
        """Whether it takes up an association."""
        return self.has_asked and self.association is not None and not has_ended(self.association)


class Callers(Visitors[Caller]):
    """The open connections of one node. Safe in threads."""

    def __init__(self, most: int, most_of_a_host: int, clock: Callable[[], float] = time.monotonic) -> None:
        """most: associations at a time; of one host, one fewer at most, so that another finds a place."""
        super().__init__(Caller, most, ASK_SECONDS, clock)
        self._most_of_a_host = max(1, min(most_of_a_host, most - 1))

    def admit(self, caller: Caller) -> bool:
        """It asks for an association: whether its host may have one more."""
        with self._lock:
            caller.ask(due=math.inf)  # the network's own time limits hold from here on
            return sum(other.holds_place for other in self.list_present(caller.host)) <= self._most_of_a_host


class Reception(ACSE):
    """Says no where the caller's host has its share, as PS3.8 has it where a local limit is exceeded."""

    def __init__(self, association: Association, caller: Caller, callers: Callers) -> None:
        super().__init__(association)
        self._caller, self._callers = caller, callers

    def _negotiate_as_acceptor(self) -> None:
        if self._callers.admit(self._caller):
            super()._negotiate_as_acceptor()
            return
        asked: Any = self.requestor.primitive
        self.requestor.ae_title = asked.calling_ae_title
        self.send_reject(_TRANSIENT, _PRESENTATION, _LOCAL_LIMIT)
        evt.trigger(self.assoc, evt.EVT_REJECTED, {})
        self.assoc.kill()
