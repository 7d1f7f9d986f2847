"""A site in a temporary folder: real studies, a real (tiny) bundle, the real reader process, and a clock of our own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE_SECONDS
from tests.service.model import tiny_bundle, write_protocol
from vmat_rt_service.config import ServiceConfig, load_config
from vmat_rt_service.intake.admission import Intake
from vmat_rt_service.intake.reader_process import Reader
from vmat_rt_service.journal.jobs import Job, Journal
from vmat_rt_service.outbox.publishing import hash_folder, read_record
from vmat_rt_service.work.worker import Worker

QUICK = {"stable_seconds": 0.2, "scan_seconds": 0.5, "min_free_gb": 0.0, "web": {"enabled": False}}


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("model")).folder


@dataclass
class Site:
    """inbox, outbox and state below root. The intake is stepped by a clock of the test's own."""

    root: Path
    config: ServiceConfig
    journal: Journal
    now: float = 1000.0
    intakes: list[tuple[Intake, Reader]] = field(default_factory=list)

    @property
    def inbox(self) -> Path:
        return self.config.inbox

    @property
    def outbox(self) -> Path:
        return self.config.outbox

    def reconfigure(self, **changes: Any) -> None:
        self.config = self.config.model_copy(update=changes)

    def intake(self, once: bool = False) -> Intake:
        reader = Reader(self.journal.meta("key"))
        intake = Intake(self.config, self.journal, reader, once)
        self.intakes.append((intake, reader))
        return intake

    def step(self, intake: Intake, seconds: float, until: Any = None) -> None:
        """Let `seconds` of its clock pass, or until it holds. The clock stands still while the reader is at work."""
        reader = next(reader for own, reader in self.intakes if own is intake)
        end, deadline = self.now + seconds, time.monotonic() + PATIENCE_SECONDS
        while self.now < end and not (until and until()):
            assert time.monotonic() < deadline, "the intake does not get on"
            intake.step(self.now)
            time.sleep(0.005)
            if not reader.busy:
                self.now += 0.1

    def take_in(self) -> None:
        """What `watch --once` takes in."""
        intake = self.intake(once=True)
        self.step(intake, 600, until=lambda: intake.settled)
        assert intake.settled

    def work(self, name: str = "test") -> list[dict[str, Any]]:
        """Run every ready job in this process; what the parent would hear."""
        channel = io.StringIO()
        Worker(self.config, self.journal, name).work(channel)
        return [json.loads(line) for line in channel.getvalue().splitlines()]

    def jobs(self) -> list[Job]:
        return list(self.journal.list_jobs())

    def states(self) -> list[str]:
        return [str(job.state) for job in self.journal.list_jobs()]

    def results(self) -> list[Path]:
        """The visible result folders; each must be whole."""
        found = sorted(self.outbox.glob("case-*"))
        for folder in found:
            record = read_record(folder)
            assert record is not None
            assert hash_folder(folder) == record.files
        return found

    def watch(self, *options: str, **popen: Any) -> subprocess.Popen[bytes]:
        """The program itself, its log in root/log.jsonl."""
        path = self.root / "service.yaml"
        path.write_text(self.config.model_dump_json())
        with (self.root / "log.jsonl").open("ab") as log:
            command = [sys.executable, "-m", "vmat_rt.cli", "watch", "--config", str(path), *options]
            return subprocess.Popen(command, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}, **popen)

    def reopen(self) -> None:
        """The journal, after it was made anew."""
        self.journal = Journal(self.config.journal)

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.root / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def site(tmp_path: Path, bundle: Path) -> Any:
    (tmp_path / "inbox").mkdir()
    places = {"inbox": tmp_path / "inbox", "outbox": tmp_path / "outbox"}
    protocol = str(write_protocol(tmp_path))
    config = load_config(None, **places, model=str(bundle), protocol=protocol, **QUICK)
    for folder in (config.outbox, config.staging):
        folder.mkdir(parents=True)
    config.save()
    made = Site(tmp_path, config, Journal(config.journal))
    yield made
    for _, reader in made.intakes:
        reader.stop()
    made.journal.close()
