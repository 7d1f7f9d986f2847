"""The folders of one service, made with the rights they need and held against every other service."""

from __future__ import annotations

import os
from pathlib import Path

from vmat_rt.errors import ConfigError
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.intake.inbox import on_network
from vmat_rt_service.lock import Lock
from vmat_rt_service.places import Places

_TAKE_OVER_SECONDS = 10.0  # the workers of a service that was killed die with it, but not in the same instant


class Locks:
    """The folders made, and the locks of state and outbox taken; children keep them open while they live.

    That of the outbox is left until the outbox is the one that is known: nothing is written into a bare mount point.
    """

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._state, self._outbox = Lock(config.state / "service.lock"), Lock(config.outbox / ".vmat-rt.lock")
        self.descriptors: list[int] = []

    def __enter__(self) -> Locks:
        """Raises ConfigError: no inbox, a folder that cannot be made, a state on the network, another service."""
        config = self._config
        if not config.inbox.is_dir():
            raise ConfigError(f"there is no inbox {config.inbox}")
        _make(config.outbox)
        _make(config.state, private=True)
        for folder in (config.staging, *([config.archive] if config.archive else [])):
            _make(folder)
        if on_network(config.state):
            raise ConfigError(
                f"the state folder {config.state} is on a network file system; set `state` to a local one"
            )
        self._take(self._state)
        try:
            if Places(config).find_changed() is None:
                self.take_outbox()
        except BaseException:
            self._state.release()
            raise
        return self

    def take_outbox(self) -> None:
        """Take the lock of the outbox, unless it is held already. Raises ConfigError or OSError."""
        if self._outbox.descriptor < 0:
            self._take(self._outbox)

    def __exit__(self, *_: object) -> None:
        self._outbox.release()
        self._state.release()

    def _take(self, lock: Lock) -> None:
        lock.acquire(_TAKE_OVER_SECONDS)
        self.descriptors.append(lock.descriptor)


def _make(folder: Path, private: bool = False) -> None:
    """The folder, with the rights that the umask leaves; private: its owner's only, for it holds patients and keys."""
    try:
        os.makedirs(folder, mode=0o700 if private else 0o777, exist_ok=True)  # noqa: PTH103
        if private and folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"the folder {folder} cannot be made: {error.strerror}") from error
