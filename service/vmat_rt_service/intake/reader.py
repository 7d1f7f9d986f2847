"""The process that opens what others wrote: examines headers and stages studies, at the supervisor's request."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

from vmat_rt.errors import InputError
from vmat_rt_service import children, logs
from vmat_rt_service.intake.examine import Digest, examine, find_key, make_digest
from vmat_rt_service.intake.inbox import Version
from vmat_rt_service.intake.staging import ChangedError, Source, dispose, stage

_MOST_BYTES = 3 << 30
"""A file that needs more memory to be opened is damaged."""


def _examine(request: dict[str, Any], digest: Digest) -> dict[str, Any]:
    return {"headers": [examine(Path(path), digest).as_message() for path in request["paths"]]}


def _stage(request: dict[str, Any]) -> dict[str, Any]:
    sources = [Source(path, name, Version(size, mtime)) for path, name, size, mtime in request["files"]]
    try:
        staged, folder = stage(sources, Path(request["folder"]))
    except ChangedError:
        return {"failed": "CHANGED"}
    except InputError as error:
        return {"failed": error.problems[0].code}
    except OSError:
        return {"failed": "UNREADABLE"}
    key = find_key(sorted(folder.iterdir(), reverse=True)) or f"case-{staged.content_hash[:10]}"  # RTSTRUCT before CT
    return {"files": staged.files, "content_hash": staged.content_hash, "key": key}


def _dispose_files(request: dict[str, Any]) -> dict[str, Any]:
    archive = Path(request["folder"]) if request["folder"] else None
    try:
        dispose([(path, name) for path, name in request["files"]], set(request["hashes"]), archive)
    except OSError:
        return {"failed": "NOT_REMOVABLE"}
    except InputError as error:
        return {"failed": error.problems[0].code}
    return {}


_DO = {"stage": _stage, "dispose": _dispose_files}


def main(arguments: list[str]) -> None:
    """Serve requests until the supervisor closes the pipe."""
    children.begin(arguments)
    logs.start_logging()
    channel = children.reply_channel()
    logs.silence_libraries()
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_BYTES, _MOST_BYTES))
    digest = make_digest(json.loads(sys.stdin.readline())["key"])  # not an argument: those can be read by everyone
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _examine(request, digest) if request["do"] == "examine" else _DO[request["do"]](request)
        except Exception as error:  # the boundary: one file must not end the reader
            logs.crash("reader failed", error)
            answer = {"failed": "INTERNAL"}
        children.tell(channel, answer)


if __name__ == "__main__":
    main(sys.argv[1:])
