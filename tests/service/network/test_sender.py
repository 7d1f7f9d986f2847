"""Results on their way: to dcmtk's storescp, and where that cannot play the part to a node with answers of its own.

Covers vmat_rt_service.journal.sends.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import CTImageStorage, RTDoseStorage, RTPlanStorage
from pynetdicom import AE, evt

from tests.dicom_phantom import write_study
from tests.ports import free_port
from tests.service.conftest import QUICK, Site
from tests.service.model import write_protocol
from tests.service.peers import certificate, destination, jobs, modalities, run, same_content, storescp
from vmat_rt_service.config import load_config
from vmat_rt_service.journal.jobs import Journal
from vmat_rt_service.journal.sends import Ledger, SendStatus
from vmat_rt_service.network.sender import Backoff, Dispatcher

RESULTS = (RTPlanStorage, RTDoseStorage)


class Clock:
    """Monotonic seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Path:
    """A site with one study done by the real pipeline, its result queued for `pacs`."""
    root = tmp_path_factory.mktemp("predicted")
    write_study(root / "inbox", seed="send")
    protocol = str(write_protocol(root))
    settings = {
        "model": str(bundle),
        "protocol": protocol,
        "isodose_percent": [50.0],
        "destinations": [destination(1).model_dump()],
        **QUICK,
    }
    config = load_config(None, inbox=root / "inbox", outbox=root / "outbox", **settings)
    for folder in (config.outbox, config.staging):
        folder.mkdir(parents=True)
    site = Site(root, config, Journal(config.journal))
    site.take_in()
    site.work()
    for _, reader in site.intakes:
        reader.stop()
    site.journal.close()
    return root


@pytest.fixture
def done(predicted: Path, tmp_path: Path, bundle: Path) -> Iterator[Site]:
    """A copy of that site."""
    root = tmp_path / "site"
    shutil.copytree(predicted, root)
    settings = {"model": str(bundle), "protocol": str(root / "phantom.yaml"), **QUICK}
    config = load_config(None, inbox=root / "inbox", outbox=root / "outbox", **settings)
    config.save()
    site = Site(root, config, Journal(config.journal))
    yield site
    for _, reader in site.intakes:
        reader.stop()
    site.journal.close()


def dispatcher(site: Site, clock: Clock | None = None) -> tuple[Dispatcher, Ledger]:
    """As after a start of the program: own connections, nothing remembered."""
    ledger = Ledger(site.config.journal)
    return Dispatcher(site.config, ledger, Journal(site.config.journal), clock=clock or Clock()), ledger


def the_send(ledger: Ledger) -> Any:
    ((send,),) = ledger.group_by_job().values()
    return send


@contextlib.contextmanager
def scp(port: int, answers: Sequence[int] = (), classes: Sequence[str] = RESULTS) -> Iterator[list[str]]:
    """A node that answers with these statuses, then with success; yields the modalities it was sent."""
    left, got = list(answers), []

    def stored(event: evt.Event) -> int:
        got.append(str(event.dataset.Modality))
        return left.pop(0) if left else 0x0000

    entity = AE("PACS")
    for sop_class in classes:
        entity.add_supported_context(sop_class)
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, stored)])
    assert server is not None
    try:
        yield got
    finally:
        server.shutdown()


def test_plan_then_dose_then_isodoses_arrive_once(done: Site, tmp_path: Path) -> None:
    port = free_port()
    done.reconfigure(destinations=(destination(port, "isodose", "rtdose", "rtplan"),))
    (folder,) = done.results()
    sender, ledger = dispatcher(done)
    with storescp(tmp_path / "pacs", port) as log:
        assert sender.step() == 0.0
        assert sender.step() is None
        again, _ = dispatcher(done)
        assert again.step() is None
        assert modalities(log) == ["RP", "RD", "RS"]
    assert the_send(ledger).status is SendStatus.SENT
    (dose,) = (tmp_path / "pacs").glob("RD.*")
    assert same_content(dose, folder / "rtdose.dcm")
    (plan,) = (tmp_path / "pacs").glob("RP.*")
    referenced = pydicom.dcmread(dose).ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID
    assert pydicom.dcmread(plan).SOPInstanceUID == referenced


def test_a_destination_that_is_down_gets_it_when_it_is_up(done: Site, tmp_path: Path) -> None:
    port, clock = free_port(), Clock()
    done.reconfigure(destinations=(destination(port),))
    sender, ledger = dispatcher(done, clock)
    sender.step()
    send = the_send(ledger)
    assert (send.status, send.attempts, send.detail) == (SendStatus.PENDING, 1, "no connection")
    pause = sender.step()
    assert pause is not None
    assert 1.0 <= pause <= 2.0
    with storescp(tmp_path / "pacs", port) as log:
        clock.now += pause / 2
        assert sender.step() == pytest.approx(pause / 2)
        clock.now += pause
        sender.step()
        assert modalities(log) == ["RD"]
    assert the_send(ledger).status is SendStatus.SENT


def test_an_outage_is_met_once_for_all_that_waits_for_it(done: Site) -> None:
    done.reconfigure(destinations=(destination(free_port()),))
    write_study(done.inbox / "second", seed="second")
    done.take_in()
    done.work()
    sender, ledger = dispatcher(done)
    assert sender.step() == 0.0
    assert sender.step() > 0.5  # type: ignore[operator]
    assert sorted(send.attempts for (send,) in ledger.group_by_job().values()) == [0, 1]


def test_what_was_acknowledged_is_not_sent_again(done: Site) -> None:
    port = free_port()
    done.reconfigure(destinations=(destination(port, "rtplan", "rtdose"),))
    sender, ledger = dispatcher(done)
    with scp(port, answers=[0x0000, 0xA700]) as got:
        sender.step()
        send = the_send(ledger)
        assert (send.status, send.attempts) == (SendStatus.PENDING, 1)
        assert send.detail == "it refused the rtdose with status 0xA700"
        assert ledger.list_acknowledged(send.id) == {"rtplan"}
        restarted, _ = dispatcher(done)
        restarted.step()
    assert got == ["RTPLAN", "RTDOSE", "RTDOSE"]
    assert the_send(ledger).status is SendStatus.SENT


@pytest.mark.parametrize("status", [0xB000, 0xB007, 0x0111])
def test_stored_with_a_warning_is_stored(done: Site, status: int) -> None:
    port = free_port()
    done.reconfigure(destinations=(destination(port),))
    sender, ledger = dispatcher(done)
    with scp(port, answers=[status]) as got:
        sender.step()
        assert sender.step() is None
    assert got == ["RTDOSE"]
    assert the_send(ledger).status is SendStatus.SENT


def test_refused_ten_times_is_given_up_and_can_be_sent_again_by_hand(done: Site) -> None:
    port, clock = free_port(), Clock()
    done.reconfigure(destinations=(destination(port),))
    sender, ledger = dispatcher(done, clock)
    with scp(port, answers=[0xC000] * 10) as got:
        while (pause := sender.step()) is not None:
            clock.now += pause
        assert len(got) == 10
        send = the_send(ledger)
        assert send.status is SendStatus.FAILED
        assert "0xC000" in jobs(done)
        assert run("jobs", "resend", str(send.job), "--state", done.config.state).returncode == 0
        sender.step()
    assert the_send(ledger).status is SendStatus.SENT
    assert run("jobs", "resend", str(send.job), "--state", done.config.state).returncode == 2


def test_a_destination_that_takes_no_doses_says_so(done: Site) -> None:
    port = free_port()
    done.reconfigure(destinations=(destination(port),))
    sender, ledger = dispatcher(done)
    with scp(port, classes=[CTImageStorage]):
        sender.step()
    assert the_send(ledger).detail == "it accepts none of the kinds of objects"


def test_a_destination_under_another_title_says_so(done: Site, tmp_path: Path) -> None:
    port = free_port()
    done.reconfigure(destinations=(destination(port),))
    sender, ledger = dispatcher(done)
    entity = AE("OTHER")
    entity.require_called_aet = True
    entity.add_supported_context(RTDoseStorage)
    server = entity.start_server(("127.0.0.1", port), block=False)
    assert server is not None
    sender.step()
    server.shutdown()
    assert the_send(ledger).detail == "it rejects an association of VMATRT with PACS"


def test_a_result_that_was_changed_or_taken_away_is_not_sent(done: Site, tmp_path: Path) -> None:
    port, clock = free_port(), Clock()
    done.reconfigure(destinations=(destination(port),))
    (folder,) = done.results()
    sender, ledger = dispatcher(done, clock)
    with storescp(tmp_path / "pacs", port) as log:
        content = (folder / "rtdose.dcm").read_bytes()
        (folder / "rtdose.dcm").write_bytes(content[:-1] + b"\1")
        sender.step()
        assert the_send(ledger).detail == "the result in the outbox was changed"
        folder.rename(tmp_path / "elsewhere")
        clock.now += 1000
        sender.step()
        assert the_send(ledger).detail == "the result is no longer in the outbox"
        assert modalities(log) == []


def test_tls_to_a_destination_whose_certificate_is_known(done: Site, tmp_path: Path) -> None:
    port, clock = free_port(), Clock()
    known, key = certificate(tmp_path, "pacs")
    other, _ = certificate(tmp_path, "other")
    done.reconfigure(destinations=(destination(port, tls={"ca": str(other)}),))
    with storescp(tmp_path / "received", port, "+tls", str(key), str(known), "-ic") as log:
        sender, ledger = dispatcher(done, clock)
        sender.step()
        assert the_send(ledger).status is SendStatus.PENDING
        done.reconfigure(destinations=(destination(port, tls={"ca": str(known)}),))
        sender, ledger = dispatcher(done, clock)
        sender.step()
        assert modalities(log) == ["RD"]
    assert the_send(ledger).status is SendStatus.SENT


def test_backoff_doubles_up_to_a_cap_and_never_comes_at_once() -> None:
    backoff = Backoff(first_seconds=2.0, cap_seconds=60.0)
    for failures, whole in [(1, 2.0), (2, 4.0), (5, 32.0), (6, 60.0), (10_000, 60.0)]:
        drawn = [backoff.after(failures) for _ in range(200)]
        assert whole / 2 <= min(drawn) < max(drawn) <= whole
