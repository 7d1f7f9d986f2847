"""JSON lines without anything of a patient: whitelisted fields only, and texts only from our own code."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

FIELDS = frozenset(
    {"job", "key", "state", "code", "count", "seconds", "attempt", "worker", "model", "megabytes", "destination",
     "status", "caller", "waiting", "done", "refused", "failed", "address", "remedy"}
)  # fmt: skip
"""What an event may say besides its name. None of them can hold a name, an ID, a date, a UID, an ROI or a path."""

log = logging.getLogger("vmat_rt_service")


def event(name: str, level: int = logging.INFO, **fields: str | int | float | None) -> None:
    """Log one event. Raises ValueError for a field that is not whitelisted, so that a slip shows in the tests."""
    unknown = set(fields) - FIELDS
    if unknown:
        raise ValueError(f"fields {sorted(unknown)} are not among those that may be logged")
    log.log(level, name, extra={"fields": {key: value for key, value in fields.items() if value is not None}})


def crash(name: str, error: BaseException, **fields: str | int | float | None) -> None:
    """Log an exception by its type and where it came from; its text may quote a file and is left out."""
    record: dict[str, Any] = {key: value for key, value in fields.items() if key in FIELDS and value is not None}
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    record["error"] = type(error).__name__
    record["where"] = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]
    log.error(name, extra={"fields": record})


class JsonLines(logging.Formatter):
    """One JSON object a line. Records of other packages are reduced to their level and origin."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {"time": f"{moment}.{int(record.msecs):03d}Z", "level": record.levelname.lower()}
        if record.name == log.name:
            line["event"] = record.msg
            line.update(getattr(record, "fields", {}))
        else:
            line.update(event="library", logger=record.name, where=f"{record.module}:{record.lineno}")
        return json.dumps(line, ensure_ascii=True)


def start_logging(stream_descriptor: int = 2) -> None:
    """Send every log of this process, and what `warnings` would print, to the descriptor as JSON lines."""
    stream = os.fdopen(os.dup(stream_descriptor), "w", buffering=1, encoding="utf-8")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    log.setLevel(logging.INFO)
    logging.captureWarnings(True)  # of which the text may name a file
    logging.getLogger("watchdog").setLevel(logging.CRITICAL)  # complains when it is stopped


def silence_libraries() -> None:
    """Send what C libraries and `warnings` print to nowhere: it may quote values of a file. Logs are unaffected."""
    sys.stdout.flush()
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
