"""Why the service takes and makes nothing at present: said once in the log, kept in the journal while it lasts."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime

from vmat_rt.errors import Problem
from vmat_rt_service import logs
from vmat_rt_service.journal.database import Database

_NAME = "pause"


class Pause:
    """The present reason. Until the journal takes it, noting is tried again."""

    def __init__(self) -> None:
        self.reason: Problem | None = None
        self._unwritten = True  # what a killed service left there may no longer hold

    def note(self, journal: Database, reason: Problem | None) -> None:
        """Take note of the reason, None where there is none; only a change of it is told."""
        before = self.reason.code if self.reason else None
        now = reason.code if reason else None
        self.reason = reason
        if before != now:
            self._unwritten = True
            logs.event("paused" if now else "goes on", code=now)
        if self._unwritten:
            try:
                journal.set_meta(_NAME, json.dumps(_as_document(reason)) if reason else "")
            except sqlite3.Error:
                return
            self._unwritten = False


def read_pause(journal: Database) -> dict[str, str] | None:
    """The pause that the journal tells of: since, code, message, remedy; None where there is none."""
    text = journal.meta(_NAME)
    return dict(json.loads(text)) if text else None


def _as_document(reason: Problem) -> dict[str, str]:
    since = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"since": since, "code": reason.code, "message": reason.message, "remedy": reason.remedy}
