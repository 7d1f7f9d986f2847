"""Opens what was published in the outbox, and nothing else, however a request spells it."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.journal.readings import reading

REFUSED = "refused"
_PAGES = {"reports": ((), "report.html"), REFUSED: ((REFUSED,), "reason.html")}
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def open_page(config: ServiceConfig, kind: str, key: str, name: str) -> BinaryIO | None:
    """The page of a case for reading, or None.

    Three locks, each enough by itself: the names are fixed, the key must be one of the journal's, and every step of
    the path is opened relative to the one before without following links.
    """
    folders, page = _PAGES.get(kind, ((), ""))
    if not page or name != page or not _KEY.fullmatch(key) or not _is_known(config.journal, key):
        return None
    return _open_below(config.outbox, (*folders, key), page)


def has_page(config: ServiceConfig, kind: str, key: str) -> bool:
    """Whether the page of a case the journal names is there to be linked to."""
    folders, page = _PAGES[kind]
    file = _open_below(config.outbox, (*folders, key), page)
    if file is None:
        return False
    file.close()
    return True


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
