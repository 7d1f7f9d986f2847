"""The watcher under fire: SIGKILL at random instants over many small studies, then its speed and what it costs idle.

    python benchmarks/service.py --studies 200 --kill-every 2

Studies are phantoms, predictions are real (a small geometric bundle, fitted first). Every result that ever becomes
visible is checked at once: whole, and every file with the hash that its record states. Exit code 1 when anything was
lost, partial or there twice.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.dicom_phantom import write_study
from tests.service.model import tiny_bundle, write_protocol
from vmat_rt_service.journal import audit
from vmat_rt_service.journal.jobs import Journal
from vmat_rt_service.journal.states import State
from vmat_rt_service.outbox.publishing import hash_folder, read_record


@dataclass
class Site:
    """Folders of one run."""

    root: Path
    workers: int
    killed: Counter[str] = field(default_factory=Counter)

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def outbox(self) -> Path:
        return self.root / "outbox"

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "vmat_rt.cli", "watch", "--config", str(self.root / "service.yaml")]
        with (self.root / "log.jsonl").open("ab") as log:
            return subprocess.Popen(command, stderr=log)

    def results(self) -> list[Path]:
        return sorted(path for path in self.outbox.glob("case-*") if path.is_dir()) if self.outbox.is_dir() else []


class Checker(threading.Thread):
    """Looks at the outbox all the time, as a reader would; counts what was not whole when it was first seen."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self.site, self.partial = site, 0
        self.seen: dict[str, float] = {}
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.01):
            for path in self.site.results():
                if path.name not in self.seen:
                    self.seen[path.name] = time.monotonic()
                    record = read_record(path)
                    self.partial += record is None or hash_folder(path) != record.files


def make_site(root: Path, workers: int) -> Site:
    site = Site(root, workers)
    site.inbox.mkdir(parents=True)
    bundle = tiny_bundle(root / "bundle").folder
    settings = {
        "inbox": str(site.inbox), "outbox": str(site.outbox), "model": str(bundle), "workers": workers,
        "protocol": str(write_protocol(root)), "stable_seconds": 0.3, "scan_seconds": 1.0, "min_free_gb": 0,
        "web": {"port": 0},
    }  # fmt: skip
    (root / "service.yaml").write_text(json.dumps(settings))
    return site


def feed(site: Site, studies: int, ahead: int, checker: Checker) -> None:
    """Drop studies in, flat or nested, files in random order, never many ahead of the service."""
    dice = random.Random(1)
    for number in range(studies):
        while number - len(checker.seen) > ahead and not checker.over.is_set():
            time.sleep(0.05)
        with tempfile.TemporaryDirectory() as scratch:
            write_study(Path(scratch), seed=f"study {number}", patient=f"P{number}")
            files = list(Path(scratch).rglob("*.dcm"))
            dice.shuffle(files)
            flat = number % 3 == 0
            folder = site.inbox / ("flat" if flat else f"patient {number}/ü ..")
            folder.mkdir(parents=True, exist_ok=True)
            for path in files:
                target = folder / f"{number} {path.name}"
                shutil.copyfile(path, target.with_suffix(".part"))
                target.with_suffix(".part").rename(target)


def strike(site: Site, service: subprocess.Popen[bytes], dice: random.Random) -> subprocess.Popen[bytes]:
    """SIGKILL the service, a worker or the reader; a killed service is started again, as systemd would."""
    time.sleep(dice.uniform(0, 1.5))
    children = psutil.Process(service.pid).children()
    kinds = {"worker": [c for c in children if "worker" in " ".join(c.cmdline())],
             "reader": [c for c in children if "reader" in " ".join(c.cmdline())]}  # fmt: skip
    wish = dice.choice(["service", "service", "worker", "worker", "reader"])
    victims = kinds.get(wish, [])
    if victims:
        dice.choice(victims).kill()
        site.killed[wish] += 1
        return service
    service.kill()
    service.wait()
    site.killed["service"] += 1
    return site.start()


def run_under_fire(site: Site, studies: int, kill_every: int, limit_s: float) -> dict[str, int]:
    dice = random.Random(2)
    checker = Checker(site)
    checker.start()
    feeder = threading.Thread(target=feed, args=(site, studies, 12, checker), daemon=True)
    feeder.start()
    service = site.start()
    struck = 0
    deadline = time.monotonic() + limit_s
    while len(checker.seen) < studies and time.monotonic() < deadline:
        if struck < len(checker.seen) // kill_every + 1:
            service = strike(site, service, dice)
            struck += 1
        time.sleep(0.05)
    time.sleep(3)  # a second result would come now
    checker.over.set()
    feeder.join()
    service.send_signal(signal.SIGTERM)
    service.wait(60)
    checker.join()
    return count_faults(site, studies, checker)


def count_faults(site: Site, studies: int, checker: Checker) -> dict[str, int]:
    journal = Journal(site.outbox / ".vmat-rt" / "journal.sqlite")
    records = [read_record(path) for path in site.results()]
    contents = Counter(record.content_hash for record in records if record is not None)
    done = {job.content_hash for job in journal.list_jobs(State.DONE)}
    lines = audit.read_entries(site.outbox / ".vmat-rt" / "audit.jsonl")
    audited = Counter(line["content_hash"] for line in lines if line["event"] == "done")
    broken = audit.verify(site.outbox / ".vmat-rt" / "audit.jsonl", audit.read_head(journal)).fault
    return {
        "lost": studies - len(contents),
        "partial": checker.partial,
        "duplicated": sum(contents.values()) - len(contents),
        "not done in the journal": len(set(contents) ^ done)
        + len(journal.list_jobs())
        - len(journal.list_jobs(State.DONE)),
        "audited other than once": sum(n != 1 for n in audited.values()) + len(set(contents) ^ set(audited)),
        "audit chain broken": int(bool(broken)),
    }


def measure_speed(site: Site, studies: int) -> tuple[float, float]:
    """(studies per hour with all of them waiting, median seconds from last file to result when it is idle)."""
    checker = Checker(site)
    feed(site, studies, studies + 1, checker)
    checker.start()
    begun = time.monotonic()
    service = site.start()
    while len(checker.seen) < studies:
        time.sleep(0.05)
    rate = 3600 * studies / (time.monotonic() - begun)
    waits = []
    for number in range(3):
        write_study(site.inbox / f"late {number}", seed=f"late {number}", patient=f"L{number}")
        copied = time.monotonic()
        while len(checker.seen) <= studies + number:
            time.sleep(0.01)
        waits.append(time.monotonic() - copied)
    checker.over.set()
    service.send_signal(signal.SIGTERM)
    service.wait(60)
    return rate, sorted(waits)[1]


def measure_idle(site: Site, seconds: float) -> tuple[float, float]:
    """(percent of one core, MB resident) of the service with all its processes, nothing to do."""
    service = site.start()
    time.sleep(70 if seconds > 20 else 45)  # until the reader has looked at everything and left
    process = psutil.Process(service.pid)
    family = [process, *process.children(recursive=True)]
    before = sum(sum(p.cpu_times()[:2]) for p in family)
    time.sleep(seconds)
    used = sum(sum(p.cpu_times()[:2]) for p in family) - before
    memory = sum(p.memory_info().rss for p in family) / 1e6
    service.send_signal(signal.SIGTERM)
    service.wait(60)
    return 100 * used / seconds, memory


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--kill-every", type=int, default=3, metavar="K", help="one SIGKILL every K finished studies")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--idle-seconds", type=float, default=60.0)
    parser.add_argument("--limit-s", type=float, default=7200.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vmat-rt-service-") as folder:
        site = make_site(Path(folder, "fire"), options.workers)
        found = run_under_fire(site, options.studies, options.kill_every, options.limit_s)
        killed = ", ".join(f"{n} x {name}" for name, n in sorted(site.killed.items()))
        print(f"SIGKILL over {options.studies} studies: {killed}")
        for name, count in found.items():
            print(f"  {name:<26} {count}")
        calm = make_site(Path(folder, "calm"), options.workers)
        rate, latency = measure_speed(calm, min(options.studies, 20))
        print(f"studies an hour ({options.workers} workers): {rate:.0f}; last file to result: {latency:.1f} s")
        percent, memory = measure_idle(calm, options.idle_seconds)
        print(f"idle: {percent:.2f} % of a core, {memory:.0f} MB")
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main())
