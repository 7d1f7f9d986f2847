"""The supervisor's side of the reader: one request at a time, restarted when it dies or hangs, ended when idle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vmat_rt_service.children import Child
from vmat_rt_service.logs import event

_IDLE_SECONDS = 30.0
EXAMINE_SECONDS = 60.0
STAGE_SECONDS = 1800.0


@dataclass(frozen=True)
class ReaderAnswer:
    """What became of a request; content holds "failed" where it was not done (LOST: the reader died or hung)."""

    request: dict[str, Any]
    content: dict[str, Any]


class Reader:
    """At most one reader process. descriptors are kept open in it (the service's locks)."""

    def __init__(self, key: str, descriptors: tuple[int, ...] = ()) -> None:
        self._key = key
        self._descriptors = descriptors
        self._child: Child | None = None
        self._request: dict[str, Any] | None = None
        self._since = 0.0

    @property
    def busy(self) -> bool:
        return self._request is not None

    @property
    def descriptor(self) -> int | None:
        """What to wait on for an answer."""
        return self._child.descriptor if self._child is not None else None

    def submit(self, request: dict[str, Any], now: float) -> None:
        """Start on a request; only where not busy."""
        assert not self.busy
        if self._child is None:
            self._child = Child("vmat_rt_service.intake.reader", (), self._descriptors)
            self._child.send({"key": self._key})
        self._child.send(request)
        self._request, self._since = request, now

    def poll(self, now: float) -> ReaderAnswer | None:
        """Return the answer to the current request, when there is one."""
        child, request = self._child, self._request
        if child is None:
            return None
        if request is None:
            if now - self._since > _IDLE_SECONDS or not child.is_alive():
                self.stop()
            return None
        alive = child.is_alive()
        answers = child.read_messages()
        if answers:
            self._request, self._since = None, now
            return ReaderAnswer(request, answers[0])
        limit = EXAMINE_SECONDS if request["do"] == "examine" else STAGE_SECONDS
        if alive and now - self._since < limit:
            return None
        event("reader lost", code="HANGS" if alive else "DIED")
        self.stop()
        return ReaderAnswer(request, {"failed": "LOST"})

    def stop(self) -> None:
        """End the process; what it was at is undone by its successor."""
        if self._child is not None:
            self._child.kill()
            self._child.close()
        self._child, self._request = None, None
