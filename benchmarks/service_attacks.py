"""A running service under attack by peers and browsers: what is lost, and for how long it does not answer.

    python benchmarks/service_attacks.py --times 3

While each attack goes on an honest peer of another address sends a study by C-STORE, and /healthz and C-ECHO are asked
all the time. Studies are phantoms, predictions are real (a small geometric bundle). Exit code 1 when a study was lost,
partial or there twice, or the service did not answer.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from pydicom import dcmread
from pydicom.uid import CTImageStorage, RTStructureSetStorage
from pynetdicom import AE

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.dicom_phantom import write_study
from tests.ports import free_port
from tests.service.attackers import echo_from, empty_items, holding, silent, trickling
from tests.service.model import tiny_bundle, write_protocol
from tests.service.peers import CT, answers, associated, store_raw
from tests.service.web.test_upload import BAD
from vmat_rt_service.outbox.publishing import hash_folder, read_record

TOKEN = "a token for the benchmark only"
HONEST = "127.0.0.2"
_SLOW_SECONDS = 5.0
"""An answer later than this counts as none."""


@dataclass
class Site:
    """A service with page and node, as it runs."""

    root: Path
    web: int = field(default_factory=free_port)
    dicom: int = field(default_factory=free_port)
    service: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (self.root / "inbox").mkdir()
        settings = {
            "inbox": str(self.root / "inbox"), "outbox": str(self.root / "outbox"), "min_free_gb": 0,
            "model": str(tiny_bundle(self.root / "bundle").folder), "protocol": str(write_protocol(self.root)),
            "stable_seconds": 0.3, "scan_seconds": 1.0, "web": {"port": self.web, "token": TOKEN, "max_upload_mb": 1},
            "listen": {"port": self.dicom},
        }  # fmt: skip
        (self.root / "service.yaml").write_text(json.dumps(settings))
        command = [sys.executable, "-m", "vmat_rt.cli", "watch", "--config", str(self.root / "service.yaml")]
        with (self.root / "log.jsonl").open("wb") as log:
            self.service = subprocess.Popen(command, stderr=log)
        answers(self.web, 60)
        answers(self.dicom, 60)

    def results(self) -> list[Path]:
        return sorted(self.root.glob("outbox/case-*"))

    def memory_mb(self) -> float:
        """The node's and the service's memory, the larger."""
        assert self.service is not None
        family = [psutil.Process(self.service.pid), *psutil.Process(self.service.pid).children()]
        family = [one for one in family if "worker" not in " ".join(one.cmdline())]
        return max(one.memory_info().rss for one in family) / 1e6


class Watch(threading.Thread):
    """Asks for health and an echo all the time; adds up how long either is not answered, and the longest answer."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self.site, self.down_s, self.slowest_s, self.memory_mb = site, 0.0, 0.0, 0.0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.2):
            begun = time.monotonic()
            well = self._is_healthy() and echo_from(self.site.dicom, HONEST, _SLOW_SECONDS) is not None
            took = time.monotonic() - begun
            self.slowest_s = max(self.slowest_s, took)
            self.down_s += 0.0 if well else took + 0.2
            with contextlib.suppress(psutil.Error):
                self.memory_mb = max(self.memory_mb, self.site.memory_mb())

    def _is_healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.site.web, timeout=_SLOW_SECONDS)
        try:
            connection.request("GET", "/healthz", headers={"Authorization": f"Bearer {TOKEN}"})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def send_study(site: Site, number: int) -> bool:
    """An honest sender: one study over one association, tried again where it is refused. Whether all was stored."""
    entity = AE("HONEST")
    for sop_class in (CTImageStorage, RTStructureSetStorage):
        entity.add_requested_context(sop_class)
    with tempfile.TemporaryDirectory() as scratch:
        write_study(Path(scratch), seed=f"study {number}", patient=f"P{number}")
        for _ in range(5):
            peer = entity.associate("127.0.0.1", site.dicom, ae_title="VMATRT", bind_address=(HONEST, 0))
            if peer.is_established:
                statuses = [peer.send_c_store(dcmread(path)) for path in Path(scratch).rglob("*.dcm")]
                peer.release()
                return all(getattr(status, "Status", None) == 0 for status in statuses)
            time.sleep(1)
    return False


def attack_items(site: Site, over: threading.Event) -> None:
    """Four at a time send an object of 1.5 million empty items."""

    def send(number: int) -> None:
        with contextlib.suppress(AssertionError), associated(site.dicom, CT) as association:
            store_raw(association, CT[0], f"1.2.{number}", empty_items(1_500_000, f"1.2.{number}"))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    over.wait(15)
    for thread in threads:
        thread.join(60)


def attack_silent(site: Site, over: threading.Event) -> None:
    """150 connections to the node that ask for nothing, from two addresses."""
    with silent(site.dicom, 100), silent(site.dicom, 50, "127.0.0.3"):
        over.wait(15)


def attack_holding(site: Site, over: threading.Event) -> None:
    """One host opens as many associations as it gets."""
    with holding(site.dicom, 15):
        over.wait(15)


def attack_trickling(site: Site, over: threading.Event) -> None:
    """60 browsers send a request byte by byte, and come again when they are cut off."""
    with trickling(site.web, 60, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 2000, pause_seconds=0.5):
        over.wait(15)


def attack_deaf(site: Site, over: threading.Event) -> None:
    """36 clients with the token ask for the metrics and the page and read nothing."""
    text = f"GET / HTTP/1.0\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        for number in range(36):
            host = f"127.0.0.{3 + number // 12}"
            peer = socket.socket()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            stack.enter_context(peer)
            peer.bind((host, 0))
            peer.connect(("127.0.0.1", site.web))
            peer.sendall(text)
        over.wait(15)


def attack_uploads(site: Site, over: threading.Event) -> None:
    """Zips that are bombs, lie about their size, hold links or are none."""
    for content in random.Random(1).sample(list(BAD.values()), len(BAD)):
        connection = http.client.HTTPConnection("127.0.0.1", site.web, timeout=30)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/zip"}
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("POST", "/upload", content, headers)
            assert connection.getresponse().status == 400
        connection.close()
    over.wait(5)


ATTACKS: dict[str, Callable[[Site, threading.Event], None]] = {
    "4 x 1.5 million empty items by C-STORE": attack_items,
    "150 silent DICOM connections": attack_silent,
    "one host asks for every association": attack_holding,
    "60 browsers trickle": attack_trickling,
    "36 browsers do not read": attack_deaf,
    f"{len(BAD)} bad zips are uploaded": attack_uploads,
}


def run(site: Site, attack: Callable[[Site, threading.Event], None], times: int, first: int) -> dict[str, float]:
    """One attack, several times, each with a study that arrives meanwhile."""
    watch = Watch(site)
    watch.start()
    before, stored = {path.name for path in site.results()}, 0
    for number in range(first, first + times):
        over = threading.Event()
        attacker = threading.Thread(target=attack, args=(site, over))
        attacker.start()
        time.sleep(1.0)
        stored += send_study(site, number)
        deadline = time.monotonic() + 120
        while len({p.name for p in site.results()} - before) < stored and time.monotonic() < deadline:
            time.sleep(0.2)
        over.set()
        attacker.join()
    time.sleep(3)
    watch.over.set()
    watch.join()
    records = [(path, read_record(path)) for path in site.results() if path.name not in before]
    contents = {record.content_hash for _, record in records if record is not None}
    return {
        "times": times,
        "lost": times - len(contents),
        "partial": sum(record is None or hash_folder(path) != record.files for path, record in records),
        "duplicated": len(records) - len(contents),
        "down, s": round(watch.down_s, 1),
        "slowest answer, s": round(watch.slowest_s, 2),
        "memory, MB": round(watch.memory_mb),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    faults = 0.0
    with tempfile.TemporaryDirectory(prefix="vmat-rt-attacks-") as folder:
        site = Site(Path(folder))
        site.start()
        assert site.service is not None
        try:
            for place, (name, attack) in enumerate(ATTACKS.items()):
                found = run(site, attack, options.times, place * options.times)
                print(f"{name:<42}" + "".join(f"{key} {value:g}   " for key, value in found.items()), flush=True)
                faults += sum(found[key] for key in ("lost", "partial", "duplicated", "down, s"))
            alive = site.service.poll() is None
        finally:
            site.service.terminate()
            site.service.wait(60)
        print("the service lived throughout" if alive else "the service ended")
    return int(bool(faults) or not alive)


if __name__ == "__main__":
    sys.exit(main())
