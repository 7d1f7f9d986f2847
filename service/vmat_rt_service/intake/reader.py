"""The process that opens what others wrote: examines headers and stages studies, at the supervisor's request."""

from __future__ import annotations

import errno
import json
import resource
import sys
from pathlib import Path
from typing import Any

from vmat_rt.errors import InputError
from vmat_rt_service import children, logs
from vmat_rt_service.intake.disposal import dispose
from vmat_rt_service.intake.examine import Digest, examine, find_key, make_digest
from vmat_rt_service.intake.headers import DAMAGED
from vmat_rt_service.intake.inbox import Version
from vmat_rt_service.intake.staging import ChangedError, Source, stage

_MOST_BYTES = 3 << 30
"""A file that needs more memory to be opened is damaged."""


def _examine(request: dict[str, Any], digest: Digest, channel: Any) -> None:
    """One message for each file, so that the supervisor knows at which one the time goes."""
    for path in request["paths"]:
        try:
            header = examine(Path(path), digest)
        except Exception as error:  # the boundary: one file must not take the others along
            logs.crash("not examined", error)
            header = DAMAGED
        children.tell(channel, {"header": header.as_message()})


def _stage(request: dict[str, Any]) -> dict[str, Any]:
    sources = [
        Source(path, name, Version(size, mtime_ns, ctime_ns, (device, inode)))
        for path, name, size, mtime_ns, ctime_ns, (device, inode) in request["files"]
    ]
    try:
        staged, folder = stage(sources, Path(request["folder"]))
    except ChangedError:
        return {"failed": "CHANGED"}
    except InputError as error:
        return {"failed": error.problems[0].code}
    except OSError as error:
        return {"failed": "UNREADABLE", "why": errno.errorcode.get(error.errno or 0, "")}
    linked = [path for path in folder.iterdir() if path.name.startswith(("RTSTRUCT", "CT"))]
    key = find_key(sorted(linked, reverse=True)) or f"case-{staged.content_hash[:10]}"  # RTSTRUCT before CT
    facts = {"files": staged.files, "content_hash": staged.content_hash, "essence": staged.essence}
    return {**facts, "key": key}


def _dispose_files(request: dict[str, Any]) -> dict[str, Any]:
    archive = Path(request["folder"]) if request["folder"] else None
    files = [(path, name) for path, name in request["files"]]
    try:
        kept = dispose(files, set(request["hashes"]), archive, Path(request["inbox"]))
    except OSError:
        return {"failed": "NOT_REMOVABLE"}
    except InputError as error:
        return {"failed": error.problems[0].code}
    return {"kept": kept}


_DO = {"stage": _stage, "dispose": _dispose_files}


def main(arguments: list[str]) -> None:
    """Serve requests until the supervisor closes the pipe."""
    children.begin(arguments)
    logs.start_logging()
    channel = children.reply_channel()
    logs.silence_libraries()
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_BYTES, _MOST_BYTES))
    digest = make_digest(json.loads(sys.stdin.readline())["key"])  # not an argument: those can be read by everyone
    children.tell(channel, {"here": True})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "examine":
                _examine(request, digest, channel)
            else:
                children.tell(channel, _DO[request["do"]](request))
        except Exception as error:  # the boundary: one study must not end the reader
            logs.crash("reader failed", error)
            children.tell(channel, {"failed": "INTERNAL"})


if __name__ == "__main__":
    main(sys.argv[1:])
