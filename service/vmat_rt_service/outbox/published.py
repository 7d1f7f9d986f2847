"""Opens what was published in the outbox, and nothing else, however a request spells it."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO

from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.journal.readings import reading

REFUSED = "refused"
DOWNLOADS = ("rtdose.dcm", "rtplan.dcm", "isodoses.dcm", "report.html", "report.json", "dvh.csv")
"""What of a result can be taken along."""

_PAGES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "reports": ((), ("report.html",)),
    REFUSED: ((REFUSED,), ("reason.html",)),
    "downloads": ((), DOWNLOADS),
}
_RECORDS = {"reports": ((), "report.json"), REFUSED: ((REFUSED,), "reason.json")}
_LONGEST_RECORD = 8_000_000
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def open_page(config: ServiceConfig, kind: str, key: str, name: str) -> BinaryIO | None:
    """The page of a case for reading, or None.

    Three locks, each enough by itself: the names are fixed, the key must be one of the journal's, and every step of
    the path is opened relative to the one before without following links.
    """
    folders, pages = _PAGES.get(kind, ((), ()))
    if name not in pages or not _KEY.fullmatch(key) or not _is_known(config.journal, key):
        return None
    return _open_below(config.outbox, (*folders, key), pages[pages.index(name)])


def has_page(config: ServiceConfig, kind: str, key: str) -> bool:
    """Whether the page of a case the journal names is there to be linked to."""
    return bool(list_pages(config, kind, key))


def list_pages(config: ServiceConfig, kind: str, key: str) -> tuple[str, ...]:
    """What is there of the pages or downloads of a case that the journal names."""
    folders, pages = _PAGES[kind]
    there = []
    for name in pages:
        file = _open_below(config.outbox, (*folders, key), name)
        if file is not None:
            file.close()
            there.append(name)
    return tuple(there)


def read_published(config: ServiceConfig, kind: str, key: str) -> dict[str, Any]:
    """The JSON beside a report or a reason of a case that the journal names; {} where there is none to be read."""
    folders, name = _RECORDS[kind]
    file = _open_below(config.outbox, (*folders, key), name)
    if file is None:
        return {}
    with file:
        content = file.read(_LONGEST_RECORD)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _is_known(journal: Path, key: str) -> bool:
    with reading(journal) as look:
        return look.knows(key)


def _open_below(root: Path, folders: tuple[str, ...], name: str) -> BinaryIO | None:
    opened: list[int] = []
    try:
        opened.append(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for folder in folders:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            opened.append(os.open(folder, flags, dir_fd=opened[-1]))
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.fdopen(os.open(name, flags, dir_fd=opened[-1]), "rb")
    except OSError:
        return None
    finally:
        for descriptor in opened:
            os.close(descriptor)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        return None
    return file
