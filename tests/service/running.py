"""A service that runs while a test does something to it, and what that cost; real file systems to do it with."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.dicom_phantom import Phantom, write_study
from tests.patience import PATIENCE_SECONDS, wait_for
from tests.service.conftest import Site
from vmat_rt_service.journal.jobs import Job
from vmat_rt_service.outbox.publishing import hash_folder, read_record


class CannotMountError(Exception):
    """This machine does not let us mount what the fault needs."""


@dataclass
class Cost:
    """What a fault cost: results lost, partial, there twice; seconds in which no service process ran."""

    lost: int = 0
    partial: int = 0
    duplicated: int = 0
    down_s: float = 0.0


@dataclass
class Running:
    """A service that runs, and is started again where it ends, as systemd would."""

    site: Site
    process: subprocess.Popen[bytes] = field(init=False)
    ends: int = 0
    down_s: float = 0.0

    def __post_init__(self) -> None:
        self.process = self.site.watch()

    def look(self) -> None:
        """Note where it ended by itself."""
        if self.process.poll() is not None:
            self.ends += 1
            begun = time.monotonic()
            self.process = self.site.watch()
            wait_for(lambda: "service started" in self.events()[-5:])
            self.down_s += time.monotonic() - begun

    def restart(self) -> None:
        """Stop it and start it, on purpose."""
        self.stop()
        self.process = self.site.watch()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_SECONDS)

    def events(self) -> list[str]:
        return [str(line.get("event")) for line in self.site.log()]

    def wait(self, condition: Callable[[], bool], seconds: float = 240.0) -> None:
        """Until it holds; the service is started again meanwhile where it ends."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.look()
            assert time.monotonic() < deadline, f"{self.site.states()} {self.events()[-8:]}"
            time.sleep(0.1)

    def cost(self, expected: int) -> Cost:
        """Against so many results that must be there."""
        self.look()
        folders = sorted(self.site.outbox.glob("case-*"))
        records = [read_record(folder) for folder in folders]
        partial = sum(r is None or hash_folder(f) != r.files for f, r in zip(folders, records, strict=True))
        contents = {record.content_hash for record in records if record is not None}
        return Cost(expected - len(contents), partial, len(folders) - len(contents), round(self.down_s, 1))


@contextlib.contextmanager
def running(site: Site) -> Iterator[Running]:
    service = Running(site)
    try:
        yield service
    finally:
        service.process.kill()
        service.process.wait()


@contextlib.contextmanager
def mounted(where: Path, *options: str, kind: str = "tmpfs", device: str = "tmpfs") -> Iterator[None]:
    """A real file system at a folder. Raises CannotMountError."""
    where.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", kind, *(["-o", ",".join(options)] if options else []), device, str(where)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        raise CannotMountError
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(where)], check=False, capture_output=True)


def put(site: Site, name: str) -> Phantom:
    """A healthy study of its own patient."""
    return write_study(site.inbox / name, seed=name, patient=f"P{name}")


def job_of(site: Site, code: str) -> list[Job]:
    return [job for job in site.jobs() if job.reason_code == code]


def break_from(image: Path, tail: bytes) -> None:
    """The disk ends before the last bytes of a file: reading them is an input/output error."""
    position = image.read_bytes().rfind(tail)
    assert position > 0
    os.truncate(image, position // 4096 * 4096)


def forget_pages(path: Path) -> None:
    """Have the file read from its disk again."""
    Path("/proc/sys/vm/drop_caches").write_text("3")
    with contextlib.suppress(OSError), path.open("rb") as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def fill(place: Path) -> list[Path]:
    """Small hidden files until the file system takes no more."""
    made = []
    with contextlib.suppress(OSError):
        for number in range(100_000):
            path = place / f".filler{number}"
            made.append(path)
            path.write_bytes(b"x" * 4096)
    return made
