"""A worker that SIGKILLs itself at a named instant. Run as a program: killed_worker.py CONFIG INSTANT."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.journal import audit
from vmat_rt_service.journal.jobs import Journal
from vmat_rt_service.outbox import publishing
from vmat_rt_service.work import closing, worker

INSTANTS = ("claimed", "predicted", "recorded", "renamed", "audited", "finished")


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def dying_after(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        function(*args, **kwargs)
        die()

    return wrapper


def main(config_file: str, instant: str) -> None:
    match instant:
        case "claimed":
            worker.Worker.run = die  # type: ignore[method-assign]
        case "predicted":
            worker.hash_folder = die
        case "recorded":
            publishing.flush = die
        case "renamed":
            worker.publish = dying_after(publishing.publish)
        case "audited":
            audit.append = dying_after(audit.append)
        case "finished":
            closing._clean_up = die
        case _:
            raise ValueError(instant)
    config = ServiceConfig.model_validate_json(Path(config_file).read_text())
    worker.Worker(config, Journal(config.journal), "doomed").work(io.StringIO())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
