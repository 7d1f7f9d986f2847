"""The two processes beside the loop: a node that dies comes back, and results are sent after kills and outages."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.dicom_phantom import write_study
from tests.patience import PATIENCE_SECONDS, wait_for
from tests.ports import free_port
from tests.service.conftest import Site
from tests.service.peers import (
    destination,
    echoes,
    jobs,
    modalities,
    node_config,
    run,
    storescp,
)
from vmat_rt.errors import ConfigError
from vmat_rt_service.config import WebConfig
from vmat_rt_service.journal.sends import Ledger
from vmat_rt_service.network.companion import Listener, make_companions


def test_a_node_that_dies_is_started_again_and_ends_with_the_service(tmp_path: Path) -> None:
    port = free_port()
    listener = Listener(node_config(tmp_path, port=port))
    listener.start()
    try:
        wait_for(lambda: echoes(port))
        assert listener.child is not None
        os.kill(listener.child.pid, signal.SIGKILL)
        wait_for(lambda: listener.child is not None and not listener.child.is_alive())
        assert not echoes(port)
        begun = time.monotonic()
        listener.step(begun)
        listener.step(begun + 1)
        assert listener.child is None, "not at once: what killed it could kill it again and again"
        listener.step(begun + 60)
        wait_for(lambda: echoes(port))
    finally:
        listener.stop()
    assert not echoes(port)


NO_PAGE = WebConfig(enabled=False)


def test_an_unusable_certificate_is_said_at_the_start(site: Site) -> None:
    site.reconfigure(destinations=(destination(1, tls={"ca": "/nowhere/ca.pem"}),))
    with pytest.raises(ConfigError, match=r"destinations\.tls"):
        make_companions(site.config)


def test_a_service_that_is_killed_sends_after_the_restart(site: Site, tmp_path: Path) -> None:
    port = free_port()
    site.reconfigure(destinations=(destination(port, "rtplan", "rtdose"),), web=NO_PAGE)
    write_study(site.inbox, seed="send")
    service = site.watch()
    ledger = Ledger(site.config.journal)
    wait_for(lambda: any(send.attempts for (send,) in ledger.group_by_job().values()))
    service.send_signal(signal.SIGKILL)
    service.wait(PATIENCE_SECONDS)
    with storescp(tmp_path / "pacs", port) as log:
        assert site.watch("--once").wait(PATIENCE_SECONDS) == 0
        assert modalities(log) == ["RP", "RD"]
        assert "to pacs: sent" in jobs(site)
        assert site.watch("--once").wait(PATIENCE_SECONDS) == 0
        assert modalities(log) == ["RP", "RD"]
    found = json.loads(run("jobs", "--json", "--state", site.config.state).stdout)
    assert found["jobs"][0]["sends"][0]["status"] == "sent"


def test_once_ends_though_a_destination_is_down(site: Site) -> None:
    site.reconfigure(destinations=(destination(free_port()),), web=NO_PAGE)
    write_study(site.inbox, seed="send")
    assert site.watch("--once").wait(PATIENCE_SECONDS) == 0
    assert "pending, 1 attempts failed: no connection" in jobs(site)
    assert "not sent" in {line["event"] for line in site.log()}


def test_options_that_contradict_each_other(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    both = run("watch", tmp_path / "in", "--out", tmp_path / "out", "--once", "--listen", 0)
    assert both.returncode == 2
    alone = run("watch", tmp_path / "in", "--out", tmp_path / "out", "--ae", "NODE")
    assert alone.returncode == 2
