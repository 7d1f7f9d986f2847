"""A done job again: the same inputs, found by their hashes, and the same model give the same dose."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vmat_rt.errors import ConfigError, InputError, Problem
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.files import hash_file
from vmat_rt_service.journal import audit
from vmat_rt_service.journal.jobs import Journal
from vmat_rt_service.journal.states import State
from vmat_rt_service.work.predicting import predict_as_configured

_DOSE = "rtdose.dcm"


@dataclass(frozen=True)
class Replay:
    """SHA-256 of the RTDOSE as published and as computed now, and which versions of what computes differ."""

    job: int
    published_sha256: str
    replayed_sha256: str
    changed_versions: tuple[str, ...]

    @property
    def same(self) -> bool:
        return self.published_sha256 == self.replayed_sha256

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "same": self.same}

    def sentence(self) -> str:
        """Say the outcome in a sentence for a person."""
        if self.same:
            return f"Job {self.job}: the RTDOSE is the same bit for bit (SHA-256 {self.published_sha256})."
        changed = f" Since then changed: {', '.join(self.changed_versions)}." if self.changed_versions else ""
        return f"Job {self.job}: the RTDOSE differs.{changed}"


def replay(config: ServiceConfig, number: int) -> Replay:
    """Compute a done job again. Raises ConfigError (no such job, other model), InputError (INPUTS_GONE)."""
    journal = Journal(config.journal)
    job = journal.find_job(number)
    if job is None or job.state is not State.DONE:
        raise ConfigError(f"job {number} is not done" if job else f"there is no job {number}")
    entry = next((e for e in audit.read_entries(config.audit) if e["event"] == "done" and e["job"] == number), None)
    if entry is None:
        raise ConfigError(f"the audit log has no line for job {number}")
    with tempfile.TemporaryDirectory(prefix="vmat-rt-replay-") as folder:
        inputs = Path(folder) / "inputs"
        inputs.mkdir()
        _gather(config, journal.list_inputs(number), inputs)
        replayed = _compute_dose_sha256(config, inputs, Path(folder) / "out", entry)
    now = audit.list_versions()
    changed = tuple(name for name, version in entry["versions"].items() if now.get(name) != version)
    return Replay(number, entry["results"][_DOSE], replayed, changed)


def _compute_dose_sha256(config: ServiceConfig, inputs: Path, out: Path, entry: dict[str, Any]) -> str:
    made = predict_as_configured(config, inputs, out)
    model = made.model
    assert made.folder is not None
    if model.sha256 != entry["model"]["sha256"]:
        raise ConfigError(
            f"the job was computed by {entry['model']['name']} {entry['model']['version']}, "
            f"which is not the {model.name} {model.version} that is configured now"
        )
    return hash_file(made.folder / _DOSE)


def _gather(config: ServiceConfig, wanted: dict[str, int], into: Path) -> None:
    """Copy the inputs from inbox and archive, known by size first and SHA-256 then."""
    sizes = set(wanted.values())
    missing = set(wanted)
    for path in _walk_files([config.inbox, *([config.archive] if config.archive else [])]):
        if not missing:
            return
        try:
            sha256 = hash_file(path) if os.stat(path).st_size in sizes else ""  # noqa: PTH116
        except OSError:
            continue
        if sha256 in missing:
            shutil.copyfile(path, into / f"{sha256}.dcm")
            missing.discard(sha256)
    if missing:
        message = f"{len(missing)} of the job's {len(wanted)} input files are neither in the inbox nor in the archive."
        raise InputError(Problem("INPUTS_GONE", message, "Put them back, e.g. from a back-up."))


def _walk_files(folders: Iterable[Path]) -> Iterable[str]:
    for folder in folders:
        for root, _, names in os.walk(folder):
            yield from (os.path.join(root, name) for name in names)  # noqa: PTH118
