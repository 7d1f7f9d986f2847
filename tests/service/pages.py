"""A journal with a job in every state and a status server over it."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmat_rt.errors import Problem
from vmat_rt_service.config import ServiceConfig, load_config
from vmat_rt_service.journal.jobs import Job, JobOutcome, Journal
from vmat_rt_service.journal.states import State
from vmat_rt_service.outbox.refusal import publish_refusal
from vmat_rt_service.web.health import Pulse
from vmat_rt_service.web.server import StatusServer

SECONDS = (0.5, 3.0, 4.0, 7.0, 45.0)
"""Run times of the jobs that are done, in order."""

REPORT = """<!DOCTYPE html><title>report</title><p id="p">not drawn</p><script>
let cookie; try { cookie = document.cookie || "empty"; } catch (error) { cookie = error.name; }
document.getElementById("p").textContent = "drawn, cookie " + cookie;
</script>"""


@dataclass
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Served:
    """A running status server; get() sends the path as it is, so that nothing tidies it up on the way."""

    config: ServiceConfig
    pulse: Pulse
    server: StatusServer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def get(self, path: str, method: str = "GET", content: bytes = b"", **headers: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(content or None)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()


def configured(root: Path, **values: Any) -> ServiceConfig:
    (root / "inbox").mkdir(exist_ok=True)
    web = {"port": 0, **values.pop("web", {})}
    return load_config(None, inbox=root / "inbox", outbox=root / "outbox", web=web, min_free_gb=0.0, **values)


def fill(config: ServiceConfig, journal: Journal) -> dict[State, Job]:
    """One job or more in every state, their results and reasons in the outbox; the last of each."""
    jobs: dict[State, Job] = {}
    for number, seconds in enumerate(SECONDS):
        job = run(journal, f"case-done{number}", JobOutcome(State.DONE, model="tiny 1", seconds=seconds), ("TPS",))
        (config.outbox / job.key).mkdir(parents=True)
        (config.outbox / job.key / "report.html").write_text(REPORT)
        (config.outbox / job.key / "rtdose.dcm").write_bytes(b"dose")
        jobs[State.DONE] = job
    jobs[State.REFUSED] = run(journal, "case-refused", JobOutcome(State.REFUSED, "CT_GAP", "see its reason"))
    gap = Problem("CT_GAP", "CT slices 41 and 43 are 6 mm apart, the others 3 mm.", "Export the complete series.")
    publish_refusal(config.outbox, "case-refused", State.REFUSED, [gap])
    jobs[State.FAILED] = run(journal, "case-failed", JobOutcome(State.FAILED, "TIMEOUT", "took too long"))
    jobs[State.RUNNING] = run(journal, "case-running", None)
    jobs[State.READY] = ready(journal, "case-ready")
    sentence = "waiting for 3 of 120 CT slices (z = 10, 12.5, 15 mm)"
    jobs[State.RECEIVING] = journal.receive("source-receiving", "case-receiving", "CT_INCOMPLETE", sentence)
    lost = journal.receive("source-lost", "case-lost", "NO_CT", "waiting for 80 of 80 CT slices")
    jobs[State.QUARANTINED] = journal.move(lost.id, State.QUARANTINED, "NO_CT")
    return jobs


def ready(journal: Journal, key: str) -> Job:
    job = journal.receive(f"source-{key}", key, "COMPLETE", "complete")
    return journal.admit(job.id, key, {f"sha-{key}": 1000}, f"hash-{key}", [f"signature-{key}"])


def run(journal: Journal, key: str, outcome: JobOutcome | None, destinations: tuple[str, ...] = ()) -> Job:
    ready(journal, key)
    job = journal.claim("worker")
    assert job is not None
    return journal.finish(job.id, outcome, destinations) if outcome else job


TOKEN = "a token of enough characters"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def serve(config: ServiceConfig, pulse: Pulse | None = None) -> Iterator[Served]:
    pulse = pulse or Pulse()
    server = StatusServer(config, pulse)
    server.start()
    try:
        yield Served(config, pulse, server)
    finally:  # it takes up to half a second to hear of it; the next test need not wait
        threading.Thread(target=server.stop).start()
