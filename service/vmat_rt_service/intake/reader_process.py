"""The supervisor's side of the reader: one request at a time, restarted when it dies or hangs, ended when idle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vmat_rt_service.children import Child
from vmat_rt_service.logs import event

_IDLE_SECONDS = 30.0
_STARTING_SECONDS = 60.0
QUICK_SECONDS = 5.0
"""A file that is not examined in this time is left to the second reader; others need not wait for it."""
EXAMINE_SECONDS = 60.0
STAGE_SECONDS = 1800.0


@dataclass(frozen=True)
class ReaderAnswer:
    """What became of a request; content holds "failed" where it was not done to its end (HANGS, DIED: the reader).

    An examination's content holds "headers" in any case: those of the files that it came to.
    """

    request: dict[str, Any]
    content: dict[str, Any]


class Reader:
    """At most one reader process, and its `second` one for what takes long.

    descriptors are kept open in them (the service's locks). file_seconds: how long one file may be examined.
    """

    def __init__(self, key: str, descriptors: Sequence[int] = (), file_seconds: float = QUICK_SECONDS) -> None:
        self._key, self._kept_open = key, descriptors
        self._file_seconds = file_seconds
        self._child: Child | None = None
        self._request: dict[str, Any] | None = None
        self._headers: list[dict[str, Any]] = []
        self._here = False
        self._since = 0.0
        self._second: Reader | None = None

    @property
    def second(self) -> Reader:
        """The one for files and studies that take long."""
        if self._second is None:
            self._second = Reader(self._key, self._kept_open, EXAMINE_SECONDS)
        return self._second

    @property
    def busy(self) -> bool:
        return self._request is not None

    @property
    def descriptors(self) -> list[int]:
        """What to wait on for an answer."""
        own = [self._child.descriptor] if self._child is not None else []
        return own + (self._second.descriptors if self._second is not None else [])

    def submit(self, request: dict[str, Any], now: float) -> None:
        """Start on a request; only where not busy."""
        assert not self.busy
        if self._child is None:
            self._child = Child("vmat_rt_service.intake.reader", (), tuple(self._kept_open))
            self._child.send({"key": self._key})
            self._here = False
        self._child.send(request)
        self._request, self._since, self._headers = request, now, []

    def poll(self, now: float) -> ReaderAnswer | None:
        """Return the answer to the current request, when there is one."""
        child, request = self._child, self._request
        if child is None:
            return None
        alive = child.is_alive()
        answer = self._hear(child, request, now)
        if request is None:
            if now - self._since > _IDLE_SECONDS or not alive:
                self._end()
            return None
        if answer is not None:
            return answer
        limit = self._file_seconds if request["do"] == "examine" else STAGE_SECONDS
        if alive and now - self._since < (limit if self._here else limit + _STARTING_SECONDS):
            return None
        event("reader lost", code="HANGS" if alive else "DIED")
        self._end()
        return ReaderAnswer(request, {"failed": "HANGS" if alive else "DIED", "headers": self._headers})

    def _hear(self, child: Child, request: dict[str, Any] | None, now: float) -> ReaderAnswer | None:
        for message in child.read_messages():
            self._since = now
            if "here" in message:
                self._here = True
                continue
            if request is None:
                continue
            if "header" in message:
                self._headers.append(message["header"])
                if len(self._headers) < len(request["paths"]):
                    continue
                message = {"headers": self._headers}
            self._request = None
            return ReaderAnswer(request, {"headers": self._headers, **message})
        return None

    def stop(self) -> None:
        """End the processes; what they were at is undone by their successors."""
        self._end()
        if self._second is not None:
            self._second.stop()

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.close()
        self._child, self._request = None, None
