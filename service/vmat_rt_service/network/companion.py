"""The supervisor's side of the DICOM network: keeps the node running, and a sender while there is something to send.

Both are processes of their own, so that what strangers send and what peers answer never touches the service itself.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any

from vmat_rt_service import logs
from vmat_rt_service.children import Child
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.journal.sends import find_pending_sends
from vmat_rt_service.network.tls import make_client_context, require_known_callers

Report = Callable[[str, bool, str], None]
"""Hears of a part of the service by name, whether it is well, and a sentence."""

_AGAIN_SECONDS = 10.0
_STOP_SECONDS = 5.0
_MOST_CRASHES = 3
_QUIET_SECONDS = 60.0
"""A node says twelve times in this time that it lives; one that says nothing hangs."""


def ignore_report(_name: str, _ok: bool, _sentence: str) -> None:
    """Hear nothing."""


class _Kept:
    """A child that is started again, where it did not say that it was finished not before some seconds have passed."""

    module: str

    def __init__(self, config: ServiceConfig, arguments: Sequence[str] = ()) -> None:
        self.config, self._arguments = config, arguments
        self.child: Child | None = None
        self.crashes = 0
        self._not_before = float("-inf")

    def hire(self, now: float) -> None:
        """Start it, unless it runs or died just now."""
        if self.child is not None or now < self._not_before:
            return
        try:
            self.child = Child(self.module, self._arguments)
        except OSError as error:  # no process to be had now
            logs.crash("not started", error)
            self._not_before = now + _AGAIN_SECONDS
            return
        self.child.send(self.config.model_dump(mode="json"))

    def reap(self, now: float) -> list[dict[str, Any]]:
        """What it says; where it has ended, its pipes are closed."""
        if self.child is None:
            return []
        alive = self.child.is_alive()
        heard = self.child.read_messages()
        if not alive:
            self.child.close()
            self.child = None
            if not any("finished" in message for message in heard):
                self.crashes += 1
                self._not_before = now + _AGAIN_SECONDS
                logs.event("child ended", logging.ERROR, code=self.module.rpartition(".")[2].upper())
        return heard

    def stop(self) -> None:
        """Give it a few seconds to finish what it works on."""
        if self.child is None:
            return
        self.child.finish()
        deadline = time.monotonic() + _STOP_SECONDS
        while self.child.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        self.child.kill()
        self.child.close()
        self.child = None


class Listener(_Kept):
    """Keeps the DICOM node running, and ends one that says nothing any more."""

    module = "vmat_rt_service.network.node"
    busy = False

    def __init__(self, config: ServiceConfig, report: Report = ignore_report) -> None:
        super().__init__(config)
        self.port = 0
        self._report = report
        self._heard = 0.0

    def start(self) -> None:
        self._heard = time.monotonic()
        self.hire(self._heard)

    def step(self, now: float) -> None:
        for message in self.reap(now):
            self._heard = now
            self._take(message)
        if self.child is None:
            self.port, self._heard = 0, now
        elif now - self._heard > _QUIET_SECONDS:
            logs.event("node hangs", logging.ERROR, code="NO_SIGN", seconds=_QUIET_SECONDS)
            self.child.kill()
        self.hire(now)

    def _take(self, message: dict[str, Any]) -> None:
        if "listening" in message:
            self.port = int(message["listening"])
            self._report("DICOM node", True, f"the DICOM node listens on port {self.port}")
        elif "refusal" in message:
            self._report("DICOM node", False, f"the DICOM node does not listen: {message['refusal']}".rstrip("."))


class Sender(_Kept):
    """Runs a sender while results are to be sent. With once, until each was tried once."""

    module = "vmat_rt_service.network.sender"

    def __init__(self, config: ServiceConfig, once: bool = False) -> None:
        super().__init__(config, ["once"] if once else [])
        self._once = once
        self._names = {destination.name for destination in config.destinations}
        self._tried: set[int] = set()
        self._wanted = False

    @property
    def busy(self) -> bool:
        """Whether --once has to wait for it."""
        return self._once and self._wanted and self.crashes < _MOST_CRASHES

    def start(self) -> None:
        """Nothing: `step` starts a sender as soon as there is something to send."""

    def step(self, now: float) -> None:
        self._tried.update(message["tried"] for message in self.reap(now) if "tried" in message)
        try:
            left = find_pending_sends(self.config.journal, self._names)
        except sqlite3.Error as error:
            logs.crash("journal unreadable", error)
            return
        self._wanted = bool(left - self._tried) or self.child is not None
        if self._wanted:
            self.hire(now)


def make_companions(
    config: ServiceConfig, once: bool = False, report: Report = ignore_report
) -> list[Listener | Sender]:
    """What the configuration asks for; with once nothing listens. report hears how the node fares.

    Raises ConfigError for unusable certificate files, and for a node that anybody could store into.
    """
    companions: list[Listener | Sender] = []
    if config.listen is not None and not once:
        require_known_callers(config.listen)
        companions.append(Listener(config, report))
    for destination in config.destinations:
        if destination.tls is not None:
            make_client_context(destination.tls)
    if config.destinations:
        companions.append(Sender(config, once))
    if once and config.listen is not None:
        logs.event("not listening", logging.WARNING, code="ONCE")
    return companions
