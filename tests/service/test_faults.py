"""Nothing is lost, partial or there twice: kills at named instants, limits, full disks, two services.

Covers vmat_rt_service.supervisor, vmat_rt_service.work.closing, vmat_rt_service.work.crew and
vmat_rt_service.work.worker.
"""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.dicom_phantom import write_study
from tests.patience import PATIENCE_SECONDS, wait_for
from tests.service.conftest import Site
from tests.service.killed_worker import INSTANTS
from vmat_rt_service.journal import audit
from vmat_rt_service.journal.jobs import JobOutcome, Journal
from vmat_rt_service.journal.states import State
from vmat_rt_service.places import Places
from vmat_rt_service.supervisor import Supervisor
from vmat_rt_service.work import closing


def run_to_the_kill(site: Site, instant: str) -> None:
    path = site.root / "service.yaml"
    path.write_text(site.config.model_dump_json())
    command = [sys.executable, "-m", "tests.service.killed_worker", str(path), instant]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize("instant", INSTANTS)
def test_a_kill_at_any_instant_leaves_one_whole_result(site: Site, instant: str) -> None:
    write_study(site.inbox, seed="kill")
    site.take_in()
    run_to_the_kill(site, instant)
    site.results()  # whole already, if there at all
    site.journal.count_jobs()
    for job in site.journal.list_running("doomed"):
        closing.recover(site.config, site.journal, job, counted=False)
    site.work()
    (job,) = site.jobs()
    assert (job.state, job.attempts) == (State.DONE, 1)
    assert [path.name for path in site.results()] == [job.key]
    done = [entry for entry in audit.read_entries(site.config.audit) if entry["event"] == "done"]
    assert [entry["content_hash"] for entry in done] == [job.content_hash]
    assert audit.verify(site.config.audit, audit.read_head(site.journal)).fault == ""
    assert not list((site.outbox / ".publishing").glob("*"))


def test_three_dead_workers_fail_a_job_and_the_reason_is_published(site: Site) -> None:
    write_study(site.inbox, seed="deadly")
    site.take_in()
    for _ in range(3):
        run_to_the_kill(site, "claimed")
        (job,) = site.journal.list_running("doomed")
        closing.recover(site.config, site.journal, job, counted=True)
    (job,) = site.jobs()
    assert (job.state, job.attempts, job.reason_code) == (State.FAILED, 3, "WORKER_DIED")
    assert (site.outbox / "refused" / job.key / "reason.json").is_file()
    assert site.results() == []


def test_kills_that_strike_whatever_runs_are_not_held_against_a_job(site: Site) -> None:
    for number in range(4):
        write_study(site.inbox / str(number), seed=f"o{number}", patient=f"P{number}")
    site.take_in()
    victim = site.jobs()[0].id
    for _ in range(3):
        assert site.journal.claim("doomed")
        (job,) = site.journal.list_running("doomed")
        assert job.id == victim
        back = closing.recover(site.config, site.journal, job, counted=True, killed=True)
        assert back.state is State.READY
        assert site.journal.claim("doomed")  # the victim again, set aside while another one ends
        with site.journal.transaction() as db:
            db.execute("UPDATE jobs SET state = 'waiting aside' WHERE id = ?", (victim,))
        other = site.journal.claim("lucky")
        assert other is not None
        site.journal.finish(other.id, JobOutcome(State.DONE))
        with site.journal.transaction() as db:
            db.execute("UPDATE jobs SET state = 'ready', attempts = attempts - 1 WHERE id = ?", (victim,))
    assert site.jobs()[0].attempts == 1


def test_services_and_workers_killed_at_random_instants(site: Site) -> None:
    # One job may be hit more often than a job may crash: so many kills over so few studies are the test's doing.
    site.reconfigure(workers=2, max_attempts=10)
    studies = 5
    for number in range(studies):
        write_study(site.inbox / f"p {number}", seed=f"r{number}", patient=f"P{number}")
    dice = random.Random(5)
    service = site.watch()
    for _ in range(6):
        time.sleep(dice.uniform(0.2, 2.5))
        victims = [psutil.Process(service.pid), *psutil.Process(service.pid).children()]
        victim = dice.choice(victims)
        site.results()
        with suppress(psutil.NoSuchProcess):  # it was reaped meanwhile
            victim.kill()
        if victim.pid == service.pid:
            service.wait()
            service = site.watch()
    wait_for(lambda: site.states().count("done") == studies)
    service.send_signal(signal.SIGTERM)
    assert service.wait(PATIENCE_SECONDS) == 0
    assert len(site.results()) == studies
    assert site.states() == ["done"] * studies


def test_sigterm_finishes_the_job_in_hand(site: Site) -> None:
    for number in range(3):
        write_study(site.inbox / str(number), seed=f"t{number}", patient=f"P{number}")
    service = site.watch()
    wait_for(lambda: "running" in site.states())
    service.send_signal(signal.SIGTERM)
    assert service.wait(PATIENCE_SECONDS) == 0
    assert site.states()[0] == "done"
    assert set(site.states()[1:]) <= {"ready", "receiving"}, "it began another one"
    assert len(site.results()) == 1


def test_two_services_on_one_inbox_and_outbox(site: Site) -> None:
    write_study(site.inbox, seed="two")
    first = site.watch()
    wait_for(lambda: (site.config.state / "audit.jsonl").exists())
    second = site.watch("--state", str(site.root / "other state"))
    assert second.wait(60) == 2
    wait_for(lambda: site.states() == ["done"])
    first.send_signal(signal.SIGTERM)
    assert first.wait(PATIENCE_SECONDS) == 0
    assert len(site.results()) == 1


def test_a_lost_state_folder_makes_no_second_result(site: Site) -> None:
    write_study(site.inbox, seed="lost state")
    site.take_in()
    site.work()
    (folder,) = site.results()
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    site.reconfigure(state=site.root / "fresh")
    site.config.staging.mkdir(parents=True)
    site.journal = Journal(site.config.journal)
    site.take_in()
    site.work()
    assert site.states() == ["done"]
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert site.results() == [folder]


def test_a_job_over_its_time_takes_itself_only(site: Site) -> None:
    site.reconfigure(job_timeout_seconds=0.05)
    write_study(site.inbox, seed="slow")
    assert site.watch("--once").wait(PATIENCE_SECONDS) == 0
    (job,) = site.jobs()
    assert (job.state, job.reason_code) == (State.FAILED, "TIMEOUT")
    assert site.results() == []


def test_a_job_over_its_memory_takes_itself_only(site: Site) -> None:
    site.reconfigure(job_memory_gb=0.12)
    write_study(site.inbox, seed="big")
    assert site.watch("--once").wait(PATIENCE_SECONDS) == 0
    (job,) = site.jobs()
    assert (job.state, job.reason_code) in {(State.REFUSED, "MEMORY_LIMIT"), (State.FAILED, "WORKER_DIED")}


def test_a_full_disk_loses_nothing(site: Site) -> None:
    mount = site.root / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small tmpfs can only be mounted with the right to do so")
    try:
        write_study(site.inbox, seed="full")
        site.reconfigure(outbox=mount)
        site.take_in()
        (mount / "filler").write_bytes(b"x" * 550_000)
        said = site.work()
        assert said[-1] == {"idle": True, "blocked": True}
        assert site.states() == ["ready"]
        assert site.results() == []
        (mount / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,size=50m", str(mount)], check=True)
        site.work()
        assert site.states() == ["done"]
        assert len(site.results()) == 1
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_once_ends_with_a_word_when_the_disk_is_low(site: Site) -> None:
    site.reconfigure(min_free_gb=1e6)
    write_study(site.inbox, seed="low")
    assert site.watch("--once").wait(PATIENCE_SECONDS) == 4
    assert site.states() == ["receiving"]


def test_idle_costs_little_and_loads_nothing_heavy(site: Site) -> None:
    write_study(site.inbox / "waiting", seed="idle", structures=False)
    service = site.watch()
    try:
        wait_for(lambda: site.states() == ["receiving"])
        time.sleep(2)
        process = psutil.Process(service.pid)
        before = sum(process.cpu_times()[:2])
        time.sleep(5)
        assert sum(process.cpu_times()[:2]) - before < 0.05 * 5
        assert process.memory_info().rss < 150e6
        loaded = Path(f"/proc/{service.pid}/maps").read_text()
        assert not [name for name in ("libtorch", "lib_lightgbm", "numpy", "SimpleITK") if name in loaded]
    finally:
        service.kill()
        service.wait()


def test_a_killed_service_takes_its_children_along(site: Site) -> None:
    write_study(site.inbox, seed="orphans")
    service = site.watch()
    wait_for(lambda: "running" in site.states())
    children = psutil.Process(service.pid).children()
    service.kill()
    service.wait()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


def test_a_share_that_went_while_a_job_waits_is_not_written_to(site: Site) -> None:
    site.reconfigure(state=site.root / "state")
    site.config.staging.mkdir(parents=True)
    site.journal = Journal(site.config.journal)
    assert Places(site.config).remember() is None
    write_study(site.inbox, seed="share")
    site.take_in()
    site.outbox.rename(site.root / "share")
    site.outbox.mkdir()
    said = site.work()
    assert said[0]["fault"]["code"] == "FOLDER_CHANGED"
    assert (site.states(), list(site.outbox.iterdir())) == (["ready"], [])
    site.outbox.rmdir()
    (site.root / "share").rename(site.outbox)
    site.work()
    assert site.states() == ["done"]


def test_results_honour_the_umask(site: Site) -> None:
    write_study(site.inbox, seed="umask")
    assert site.watch("--once", umask=0o027).wait(PATIENCE_SECONDS) == 0
    (folder,) = site.results()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o640}
    private = [path for path in site.config.state.rglob("*") if path.is_file()]
    assert stat.S_IMODE(site.config.state.stat().st_mode) == 0o700
    assert not [path.name for path in private if "sqlite" in path.name and path.stat().st_mode & 0o077]


def test_a_companion_that_fails_ends_nothing(site: Site) -> None:
    class Failing:
        busy = False
        steps = 0

        def start(self) -> None: ...

        def step(self, _now: float) -> None:
            self.steps += 1
            raise RuntimeError

        def stop(self) -> None: ...

    write_study(site.inbox, seed="companion")
    companion = Failing()
    assert Supervisor(site.config, once=True, companions=[companion]).run()
    assert companion.steps > 1
    assert site.states() == ["done"]
