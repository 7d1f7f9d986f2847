"""What the inbox holds, opened file by file: scans, and asks the reader about every file that stopped changing."""

from __future__ import annotations

import time
from collections import deque

from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.intake.headers import DAMAGED, Header, parse_header
from vmat_rt_service.intake.inbox import Inbox, Version
from vmat_rt_service.intake.reader_process import Reader, ReaderAnswer

_BATCH = 64
_UNREADABLE_AGAIN_SECONDS = 30.0
_IDLE_SHARE = 200.0  # a pause in which nothing happens is this many times the processor time of a scan
_LONGEST_PAUSE_SECONDS = 60.0


class Survey:
    """The examined files. stale: something changed since `fresh` was last called."""

    def __init__(self, config: ServiceConfig, reader: Reader) -> None:
        self._config, self._reader = config, reader
        ours = [config.outbox, config.state, *([config.archive] if config.archive else [])]
        self._inbox = Inbox(config.inbox, config.stable_seconds, tuple(ours))
        self.examined: dict[str, tuple[Version, Header]] = {}
        self._queue: deque[list[tuple[str, Version]]] = deque()
        self._asked: list[tuple[str, Version]] = []
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
        return self.scans > 1 and not self._queue and not self._asked and len(self.examined) == len(self._inbox)

    @property
    def pending(self) -> bool:
        """Whether stable files wait to be examined."""
        return bool(self._queue or self._asked)

    def find_unsettled_folders(self, now: float) -> set[str]:
        return self._inbox.find_unsettled_folders(now)

    def due(self, now: float) -> float:
        """Seconds until `step` has something to do."""
        return 0.0 if self._queue and not self._reader.busy else max(0.0, self._next_scan - now)

    def step(self, now: float) -> None:
        """Scan when it is time, and keep the reader busy."""
        if now >= self._next_scan:
            self._scan(now)
        if self._queue and not self._reader.busy:
            self._asked = self._queue.popleft()
            self._reader.submit({"do": "examine", "paths": [path for path, _ in self._asked]}, now)

    def take(self, answer: ReaderAnswer) -> None:
        """The answer to an examination. A batch that the reader did not survive is asked again file by file."""
        asked, self._asked = self._asked, []
        if "failed" in answer.content and len(asked) > 1:
            self._queue.extendleft([one] for one in asked)
            return
        headers = [DAMAGED] if "failed" in answer.content else [parse_header(h) for h in answer.content["headers"]]
        self.examined.update({path: (version, h) for (path, version), h in zip(asked, headers, strict=True)})
        self.stale = True

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
        queued = {path for path, _ in self._asked}.union(path for batch in self._queue for path, _ in batch)
        fresh = [(p, v) for p, v in stable.items() if p not in queued and self._is_unknown(p, v, again)]
        self._queue.extend(fresh[i : i + _BATCH] for i in range(0, len(fresh), _BATCH))
        used = time.thread_time() - begun
        restless = len(stable) < len(self._inbox) or bool(fresh) or self.scans < 2
        if restless:
            pause = max(0.05, min(self._config.stable_seconds, self._config.scan_seconds))
        else:
            pause = max(self._config.scan_seconds, min(used * _IDLE_SHARE, _LONGEST_PAUSE_SECONDS))
        self._next_scan = now + pause

    def _is_unknown(self, path: str, version: Version, again: bool) -> bool:
        known = self.examined.get(path)
        return known is None or known[0] != version or (again and known[1].kind == "unreadable")
