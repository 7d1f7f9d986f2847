"""In which folder of the inbox a study arrived. The journal holds keyed digests only, so the inbox is asked.

A folder's name may be the patient's: it is shown to who knows the token, and written nowhere.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.journal.database import make_digest
from vmat_rt_service.journal.readings import Readings

_FRESH_SECONDS = 30.0
_MOST_FILES = 100_000
_FOLDER_WORDS = ("damaged", "unreadable")
"""How the intake calls the files of a folder that no RTSTRUCT holds together."""


class Whereabouts:
    """Source digest -> path in the inbox, looked at again after a while. Safe in threads."""

    def __init__(self, config: ServiceConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._inbox, self._clock = config.inbox, clock
        self._paths: dict[str, Path] = {}
        self._looked = float("-inf")
        self._lock = threading.Lock()

    def find(self, source: str, journal: Readings) -> Path | None:
        """The RTSTRUCT, or the folder, that a job was recognised by; None where it is no longer there."""
        return self._look(journal).get(source)

    def name_folder(self, source: str, journal: Readings) -> str:
        """The folder below the inbox; "" where it is not known any more."""
        path = self.find(source, journal)
        return self._name(path) if path is not None else ""

    def search(self, text: str, journal: Readings) -> tuple[str, ...]:
        """The sources whose folder has this text in its name."""
        wanted = text.casefold()
        return tuple(source for source, path in self._look(journal).items() if wanted in self._name(path).casefold())

    def _name(self, path: Path) -> str:
        folder = path if path.is_dir() else path.parent
        name = os.fspath(folder.relative_to(self._inbox)) if folder != self._inbox else "the inbox itself"
        return name.encode("utf-8", "replace").decode("utf-8", "replace")

    def _look(self, journal: Readings) -> dict[str, Path]:
        with self._lock:
            now = self._clock()
            if now - self._looked > _FRESH_SECONDS:
                key = journal.read_key()
                self._paths = {make_digest(key, "source", anchor): path for anchor, path in self._list_anchors()}
                self._looked = self._clock()
            return self._paths

    def _list_anchors(self) -> Iterator[tuple[str, Path]]:
        count = 0
        for folder, folders, files in os.walk(self._inbox):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for word in _FOLDER_WORDS:
                yield f"{word} {folder}", Path(folder)
            for name in files:
                path = os.path.join(folder, name)  # noqa: PTH118
                yield path, Path(path)
                count += 1
                if count >= _MOST_FILES:
                    return
