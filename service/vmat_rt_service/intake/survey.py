"""What the inbox holds, opened file by file: scans, and asks the reader about every file that stopped changing."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace

from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.intake.catalogue import find_folder_of
from vmat_rt_service.intake.headers import COSTLY, DAMAGED, Header, parse_header
from vmat_rt_service.intake.inbox import Inbox, Version
from vmat_rt_service.intake.reader_process import Reader, ReaderAnswer
from vmat_rt_service.journal.jobs import Journal
from vmat_rt_service.logs import event

_BATCH = 64
_MOST_DEATHS = 3
"""A file that the second reader died over so often is damaged; a single death may be somebody's doing."""
_UNREADABLE_AGAIN_SECONDS = 30.0
_IDLE_SHARE = 200.0  # a pause in which nothing happens is this many times the processor time of a scan
_LONGEST_PAUSE_SECONDS = 60.0

_File = tuple[str, Version]


class Survey:
    """The examined files. stale: something changed since `fresh` was last called.

    A file that the reader does not get done quickly goes to the second reader, alone, and is remembered: after a
    restart it goes there at once. What the second one does not get done either is costly, and is not opened again.
    """

    def __init__(self, config: ServiceConfig, reader: Reader, journal: Journal) -> None:
        self._config, self._reader, self._journal = config, reader, journal
        ours = [config.outbox, config.state, *([config.archive] if config.archive else [])]
        self._inbox = Inbox(config.inbox, config.stable_seconds, tuple(ours))
        self.examined: dict[str, tuple[Version, Header]] = {}
        self._queue: deque[list[_File]] = deque()
        self._slow: deque[_File] = deque()
        self._asked: list[_File] = []
        self._asked_second: _File | None = None
        self._deaths: dict[_File, int] = {}
        self.scans = 0
        self.stale = True
        self._next_scan = 0.0
        self._unreadable_at = 0.0

    def wake(self) -> None:
        """Scan in the next step."""
        self._next_scan = 0.0

    @property
    def complete(self) -> bool:
        """Whether every file of the inbox is stable and examined."""
        asked = self._queue or self._asked or self._slow or self._asked_second
        return self.scans > 1 and not asked and len(self.examined) == len(self._inbox)

    @property
    def pending(self) -> bool:
        """Whether stable files wait to be examined, apart from those that take long."""
        return bool(self._queue or self._asked)

    def find_unsettled_folders(self, now: float) -> set[str]:
        """The folders in which some file still changes, or takes long to be examined."""
        slow = [*self._slow, *([self._asked_second] if self._asked_second else [])]
        return self._inbox.find_unsettled_folders(now) | {find_folder_of(path) for path, _ in slow}

    def takes_long(self, path: str) -> bool:
        """Whether a file took the second reader."""
        return self._journal.is_noted("costly", self._mark((path, self.examined[path][0])))

    def due(self, now: float) -> float:
        """Seconds until `step` has something to do."""
        waits = (self._queue and not self._reader.busy) or (self._slow and not self._reader.second.busy)
        return 0.0 if waits else max(0.0, self._next_scan - now)

    def step(self, now: float) -> None:
        """Scan when it is time, and keep the readers busy."""
        if now >= self._next_scan:
            self._scan(now)
        if self._queue and not self._reader.busy:
            self._asked = self._queue.popleft()
            self._reader.submit({"do": "examine", "paths": [path for path, _ in self._asked]}, now)
        if self._slow and not self._reader.second.busy:
            self._asked_second = self._slow.popleft()
            self._reader.second.submit({"do": "examine", "paths": [self._asked_second[0]]}, now)

    def take(self, answer: ReaderAnswer) -> None:
        """The answer to an examination. The file that the reader did not get over goes to the second one."""
        asked, self._asked = self._asked, []
        done = self._note_headers(asked, answer)
        rest = asked[done:]
        if rest:
            self._slow.append(rest[0])
            if answer.content["failed"] == "HANGS":
                self._journal.note("costly", self._mark(rest[0]))
                event("takes long", code="SECOND_READER")
        if rest[1:]:
            self._queue.appendleft(rest[1:])

    def take_second(self, answer: ReaderAnswer) -> None:
        """The second reader's answer: the file's header, or that it is costly, or damaged."""
        asked, self._asked_second = self._asked_second, None
        if asked is None or self._note_headers([asked], answer):
            return
        if answer.content["failed"] == "DIED":
            self._deaths[asked] = self._deaths.get(asked, 0) + 1
            if self._deaths[asked] < _MOST_DEATHS:
                self._slow.append(asked)
                return
        header = DAMAGED if answer.content["failed"] == "DIED" else COSTLY
        self.examined[asked[0]] = (asked[1], header)
        self.stale = True

    def _note_headers(self, asked: list[_File], answer: ReaderAnswer) -> int:
        """How many of the files asked about were told of."""
        headers = answer.content["headers"][: len(asked)]
        for (path, version), message in zip(asked, headers, strict=False):
            header = parse_header(message)
            if header.kind == "broken":
                header = self._count_failure((path, version), header)
            self.examined[path] = (version, header)
        self.stale = self.stale or bool(headers)
        return len(headers)

    def _count_failure(self, file: _File, header: Header) -> Header:
        """A file that its disk fails over counts as one that may not be read yet, until it was tried often enough."""
        self._deaths[file] = self._deaths.get(file, 0) + 1
        return header if self._deaths[file] >= self._config.intake_attempts else replace(header, kind="unreadable")

    def _scan(self, now: float) -> None:
        begun = time.thread_time()
        self._inbox.scan(now)
        self.scans += 1
        stable = self._inbox.stable(now)
        for path in [path for path in self.examined if path not in stable]:
            del self.examined[path]
            self.stale = True
        again = now - self._unreadable_at > _UNREADABLE_AGAIN_SECONDS
        self._unreadable_at = now if again else self._unreadable_at
        queued = {path for path, _ in (*self._asked, *self._slow)}.union(p for batch in self._queue for p, _ in batch)
        queued |= {self._asked_second[0]} if self._asked_second else set()
        fresh = [(p, v) for p, v in stable.items() if p not in queued and self._is_unknown(p, v, again)]
        self._enqueue(fresh)
        used = time.thread_time() - begun
        restless = len(stable) < len(self._inbox) or bool(fresh) or self.scans < 2
        if restless:
            pause = max(0.05, min(self._config.stable_seconds, self._config.scan_seconds))
        else:
            pause = max(self._config.scan_seconds, min(used * _IDLE_SHARE, _LONGEST_PAUSE_SECONDS))
        self._next_scan = now + pause

    def _enqueue(self, fresh: list[_File]) -> None:
        known = [file for file in fresh if self._journal.is_noted("costly", self._mark(file))]
        self._slow.extend(known)
        quick = [file for file in fresh if file not in set(known)] if known else fresh
        self._queue.extend(quick[i : i + _BATCH] for i in range(0, len(quick), _BATCH))

    def _mark(self, file: _File) -> str:
        return self._journal.digest("costly", file[0], file[1].as_text())

    def _is_unknown(self, path: str, version: Version, again: bool) -> bool:
        known = self.examined.get(path)
        return known is None or known[0] != version or (again and known[1].kind == "unreadable")
