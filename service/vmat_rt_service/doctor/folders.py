"""The folders: rights, room, and whether a rename there is one step."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.doctor.findings import Finding, fail, ok, warn
from vmat_rt_service.intake.inbox import on_network
from vmat_rt_service.outbox.publishing import WORK_FOLDER
from vmat_rt_service.outbox.refusal import FOLDER as REFUSED

_COMFORT = 3.0
"""Below this many times min_free_gb it is time to make room."""


def check_folders(config: ServiceConfig) -> Iterator[Finding]:
    """Inbox, outbox, state and archive."""
    yield _check_inbox(config)
    yield _check_writable("outbox", config.outbox)
    yield _check_writable("state", config.state)
    if config.archive is not None:
        yield _check_writable("archive", config.archive)
    yield _check_file_system(config.outbox)
    if on_network(config.state):
        detail = f"{config.state} lies on a network file system, where SQLite cannot be trusted"
        yield fail("state", detail, "Set `state` to a folder on a local disk.")
    yield from _check_space(config)


def _check_inbox(config: ServiceConfig) -> Finding:
    folder = config.inbox
    if not folder.is_dir():
        return fail("inbox", f"there is no folder {folder}", "Make it, or mount the share it lies on.")
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
    except OSError as error:
        return fail(
            "inbox", f"{folder} cannot be read: {error.strerror}", "Give the service's user the right to read it."
        )
    if (config.after_success != "keep" or config.listen) and not os.access(folder, os.W_OK | os.X_OK):
        why = f"after_success: {config.after_success}" if config.after_success != "keep" else "the DICOM node"
        return fail("inbox", f"{folder} cannot be written to, but {why} needs it", "Give the right to write there.")
    polled = config.polling == "always" or (config.polling == "auto" and on_network(folder))
    return ok("inbox", f"{folder} can be read" + (f"; looked at every {config.scan_seconds:g} s" if polled else ""))


def _check_writable(name: str, folder: Path) -> Finding:
    """Do what publishing does: write, flush, rename, in a hidden folder that is removed again."""
    remedy = "Give the service's user the right to write there."
    if not folder.is_dir():
        return _check_makeable(name, folder)
    try:
        scratch = Path(tempfile.mkdtemp(prefix=".vmat-rt-doctor-", dir=folder))
    except OSError as error:
        return fail(name, f"{folder} cannot be written to: {error.strerror}", remedy)
    renamed = scratch.with_name(scratch.name + "-renamed")
    try:
        with (scratch / "probe").open("wb") as stream:
            stream.write(b"vmat-rt doctor")
            stream.flush()
            os.fsync(stream.fileno())
        scratch.rename(renamed)
    except OSError as error:
        return fail(name, f"writing to {folder} fails: {error.strerror}", remedy)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(renamed, ignore_errors=True)
    return ok(name, f"{folder} takes a file, a flush and a rename")


def _check_makeable(name: str, folder: Path) -> Finding:
    above = next(parent for parent in folder.parents if parent.is_dir())
    if os.access(above, os.W_OK | os.X_OK):
        return warn(name, f"{folder} is not there yet", "Nothing to do: the service makes it when it starts.")
    return fail(name, f"{folder} is not there and cannot be made in {above}", "Make it for the service's user.")


def _check_file_system(outbox: Path) -> Finding:
    """Results are finished in a hidden folder of the outbox and renamed: a mount in between would make that a copy."""
    if not outbox.is_dir():
        return ok("rename", "will be known when the outbox is there")
    device = outbox.stat().st_dev
    apart = [n for n in (WORK_FOLDER, REFUSED) if (outbox / n).is_dir() and (outbox / n).stat().st_dev != device]
    if apart:
        remedy = "Unmount it: all of the outbox must lie on one file system, or results could appear half written."
        return fail("rename", f"{', '.join(apart)} in the outbox is another file system", remedy)
    return ok("rename", "the outbox is one file system: results appear in one step")


def _check_space(config: ServiceConfig) -> Iterator[Finding]:
    for name, folder in (("outbox", config.outbox), ("state", config.state)):
        nearest = next(path for path in (folder, *folder.parents) if path.is_dir())
        free_gb = shutil.disk_usage(nearest).free / 1e9
        detail = f"{free_gb:.1f} GB are free for the {name}; below {config.min_free_gb:g} GB no job is started"
        if free_gb < config.min_free_gb:
            yield fail("disk", detail, "Make room, or set the folder on a larger disk.")
        elif free_gb < _COMFORT * config.min_free_gb:
            yield warn("disk", detail, "Make room soon.")
        else:
            yield ok("disk", detail)
