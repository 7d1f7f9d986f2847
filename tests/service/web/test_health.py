"""Health: what is well, what is stuck, and what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.service.pages import Clock, Served, configured, serve
from vmat_rt_service.journal.jobs import Journal
from vmat_rt_service.web.health import Pulse


def test_health_is_200_while_all_is_well(served: Served) -> None:
    reply = served.get("/healthz")
    assert reply.status == 200
    assert json.loads(reply.body)["status"] == "ok"


@pytest.mark.parametrize(
    ("beat", "waited", "failing"),
    [((1, 5.0), 100, set()), ((1, 5.0), 130, {"supervisor", "scan"}), ((1, 600.0), 130, {"supervisor"})],
)
def test_a_stuck_loop_or_scan_is_503(tmp_path: Path, beat: tuple[int, float], waited: float, failing: set[str]) -> None:
    clock = Clock()
    pulse = Pulse(clock)
    pulse.beat(*beat)
    clock.now += waited
    config = configured(tmp_path)
    Journal(config.journal).close()
    for site in serve(config, pulse):
        reply = site.get("/healthz")
        assert {c["name"] for c in json.loads(reply.body)["checks"] if not c["ok"]} == failing
        assert reply.status == (503 if failing else 200)


def test_a_scan_that_never_comes_is_found_while_the_loop_goes_round() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    pulse.beat(4, 5.0)
    for _ in range(50):
        clock.now += 5.0
        pulse.beat(4, 0.0)
    assert pulse.age_seconds() == 0.0
    assert pulse.scan_age_seconds() == 250.0


def test_low_disk_and_a_vanished_inbox_are_503_and_stand_on_the_page(tmp_path: Path) -> None:
    config = configured(tmp_path).model_copy(update={"min_free_gb": 1e9})
    Journal(config.journal).close()
    config.inbox.rmdir()
    for site in serve(config):
        reply = site.get("/healthz")
        assert reply.status == 503
        assert {c["name"] for c in json.loads(reply.body)["checks"] if not c["ok"]} == {"disk", "inbox"}
        page = site.get("/").text
        assert "Needs attention" in page
        assert "the inbox is gone" in page
        assert "vmat_rt_healthy 0.0" in site.get("/metrics").text


def test_a_journal_that_cannot_be_read_is_503_everywhere(tmp_path: Path) -> None:
    config = configured(tmp_path)
    config.state.mkdir(parents=True)
    config.journal.write_bytes(b"this is no database, and long enough to be looked at as one" * 50)
    for site in serve(config):
        assert [site.get(path).status for path in ("/", "/healthz", "/metrics", "/jobs/1")] == [503] * 4
