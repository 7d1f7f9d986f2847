"""From files to ready jobs, with real files and the real reader.

Covers vmat_rt_service.intake.examine, vmat_rt_service.intake.reader, vmat_rt_service.intake.reader_process and
vmat_rt_service.intake.survey.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dicom_phantom import Options, cut_short, edited, write_study
from tests.service.conftest import Site
from vmat_rt_service.intake import readiness, taking
from vmat_rt_service.intake.catalogue import Catalogue
from vmat_rt_service.journal.states import State


def deliver(source: Path, inbox: Path, site: Site, intake: object) -> None:
    """Copy every file under a working name, in random order and with pauses, and rename it in the end."""
    files = sorted(path for path in source.rglob("*") if path.is_file())
    random.Random(3).shuffle(files)
    for path in files:
        target = inbox / path.name
        content = path.read_bytes()
        part = target.with_suffix(".part")
        part.write_bytes(content[:500])
        site.step(intake, 0.2)  # type: ignore[arg-type]
        part.write_bytes(content)
        part.rename(target)


def test_files_in_any_order_make_one_job_that_is_done_once(site: Site, tmp_path: Path) -> None:
    write_study(tmp_path / "study", seed="one", plan=True)
    intake = site.intake()
    deliver(tmp_path / "study", site.inbox, site, intake)
    site.step(intake, 30, until=lambda: site.states() == ["ready"])
    site.work()
    intake.reconsider()
    site.step(intake, 10)
    (job,) = site.jobs()
    assert job.state is State.DONE
    assert [path.name for path in site.results()] == [job.key]
    assert len(site.journal.list_inputs(job.id)) == 13
    assert not list(site.config.staging.iterdir())


def test_what_is_missing_is_said_and_after_the_patience_published(site: Site) -> None:
    study = write_study(site.inbox / "a b" / "ü" / "x..", seed="late")
    kept = {path: path.read_bytes() for path in (study.ct_files[3], study.ct_files[4])}
    for path in kept:
        path.unlink()
    site.reconfigure(patience_minutes=2.0)
    intake = site.intake()
    site.step(intake, 60)
    (job,) = site.jobs()
    sentence = "waiting for 2 of 11 CT slices (z = -22.5, -19.5 mm)"
    assert (job.state, job.reason) == (State.RECEIVING, sentence)
    site.step(intake, 70)
    assert site.states() == ["quarantined"]
    assert "2 of 11" in (site.outbox / "refused" / job.key / "reason.html").read_text()
    for path, content in kept.items():
        path.write_bytes(content)
    site.step(intake, 30, until=lambda: site.states() == ["ready"])
    assert site.states() == ["ready"]
    assert site.jobs()[0].id == job.id
    assert not (site.outbox / "refused" / job.key).exists()


def test_the_same_content_again_makes_no_job_and_a_new_version_makes_one(site: Site) -> None:
    study = write_study(site.inbox / "first", seed="v")
    site.take_in()
    shutil.copytree(site.inbox / "first", site.inbox / "copy")
    os.utime(site.inbox / "first" / "rs.dcm")
    site.take_in()
    assert site.states() == ["ready"]
    with edited(study.structures_file) as ds:
        ds.SOPInstanceUID += ".1"
        ds.StructureSetLabel = "NEW"
    shutil.rmtree(site.inbox / "copy")
    site.take_in()
    assert site.states() == ["ready", "ready"]
    assert len({job.key for job in site.jobs()}) == 2


def test_a_restart_takes_nothing_in_again(site: Site) -> None:
    write_study(site.inbox, seed="once")
    site.take_in()
    site.work()
    for _ in range(2):
        site.take_in()
        assert site.states() == ["done"]


def test_inputs_that_are_taken_away_after_success_leave_no_ghost(site: Site) -> None:
    study = write_study(site.inbox, seed="tidy")
    site.take_in()
    site.work()
    for path in study.ct_files:
        path.unlink()
    site.take_in()
    study.structures_file.unlink()
    site.take_in()
    assert site.states() == ["done"]


def test_an_incomplete_study_that_is_taken_away_is_forgotten(site: Site) -> None:
    study = write_study(site.inbox, seed="gone")
    study.ct_files[0].unlink()
    site.take_in()
    assert site.states() == ["receiving"]
    shutil.rmtree(site.inbox)
    site.inbox.mkdir()
    site.take_in()
    assert site.states() == []


def test_ten_thousand_unrelated_files_do_not_hide_a_study(site: Site) -> None:
    for number in range(10_000):
        (site.inbox / f"note {number}.txt").write_bytes(b"not DICOM")
    write_study(site.inbox / "study", seed="needle")
    site.take_in()
    assert site.states() == ["ready"]


def test_archive_moves_the_inputs_only_after_success(site: Site, tmp_path: Path) -> None:
    site.reconfigure(after_success="archive", archive=tmp_path / "archive")
    good, bad = write_study(site.inbox / "good", seed="good"), write_study(site.inbox / "bad", seed="bad")
    cut_short(bad.structures_file, 500)
    site.take_in()
    assert all(path.exists() for path in good.ct_files)
    site.work()
    site.take_in()
    assert not any(path.exists() for path in (*good.ct_files, good.structures_file))
    assert bad.structures_file.exists()
    done = next(job for job in site.jobs() if job.state is State.DONE)
    assert len(list((tmp_path / "archive" / done.key).iterdir())) == 12
    assert sorted(site.states()) == ["done", "refused"]


def test_delete_keeps_what_another_study_still_needs(site: Site) -> None:
    site.reconfigure(after_success="delete")
    study = write_study(site.inbox, seed="shared")
    with edited(study.structures_file, site.inbox / "second.dcm") as ds:
        ds.SOPInstanceUID += ".2"
    cut_short(site.inbox / "second.dcm", 300)
    site.take_in()
    site.work()
    site.take_in()
    assert sorted(site.states()) == ["done", "refused"]
    assert not study.structures_file.exists()
    assert all(path.exists() for path in study.ct_files), "the refused study can still be retried"


def test_retry_of_a_refused_job(site: Site) -> None:
    study = write_study(site.inbox, seed="again")
    cut_short(study.ct_files[2], 300)
    site.take_in()
    site.work()
    (job,) = site.jobs()
    assert job.state is State.REFUSED
    site.journal.retry(job.id)
    site.take_in()
    site.work()
    assert [(j.id, str(j.state), j.attempts) for j in site.jobs()] == [(job.id, "refused", 1)]


def test_low_disk_stops_before_copying(site: Site) -> None:
    write_study(site.inbox, seed="full")
    site.reconfigure(min_free_gb=1e6)
    intake = site.intake()
    site.step(intake, 10)
    assert intake.blocked
    assert site.jobs()[0].reason.endswith("waiting for disk space")
    assert not list(site.config.staging.iterdir())


def test_few_are_copied_ahead_however_many_wait(site: Site) -> None:
    for number in range(8):
        write_study(site.inbox / str(number), Options(seed=f"n{number}"))
    intake = site.intake()
    site.step(intake, 40)
    assert sorted(site.states()) == ["ready"] * 5 + ["receiving"] * 3
    assert len(list(site.config.staging.iterdir())) == 5


def test_a_file_that_may_not_be_read_waits_until_it_may(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs the right to become another user")
    (tmp_path / "x.dcm").write_bytes(b"DICOM")
    tmp_path.chmod(0o755)
    (tmp_path / "x.dcm").chmod(0o600)
    program = (
        "import os, sys; from pathlib import Path\n"
        "from vmat_rt_service.intake.examine import make_digest, examine\n"
        "folder = os.open(sys.argv[1], os.O_RDONLY)\n"
        "os.setuid(65534); os.fchdir(folder)\n"
        "print(examine(Path('x.dcm'), make_digest('00')).kind)\n"
    )
    found = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "unreadable", found.stderr


def test_what_one_study_leads_to_is_its_own_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = write_study(site.inbox / "bad", seed="bad", patient="BAD")
    write_study(site.inbox / "good", seed="good", patient="GOOD")
    judge = readiness._judge_structures

    def fail_over_one(catalogue: Catalogue, path: str) -> readiness.Verdict:
        if path == str(bad.structures_file):
            raise OverflowError("cannot convert float infinity to integer")
        return judge(catalogue, path)

    monkeypatch.setattr(readiness, "_judge_structures", fail_over_one)
    for _ in range(2):
        site.take_in()
        site.work()
        assert sorted(site.states()) == ["done", "refused"]
    (refused,) = (job for job in site.jobs() if job.state is State.REFUSED)
    assert refused.reason_code == "INTAKE_FAILED"
    assert (site.outbox / "refused" / refused.key / "reason.html").is_file()


def test_staging_that_fails_over_one_study_is_its_own_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("bad", "good"):
        write_study(site.inbox / name, seed=name, patient=name)
    stage = taking.Taking.stage

    def fail_over_one(self: taking.Taking, group: taking.Group, files: tuple[str, ...], now: float) -> None:
        if "/bad/" in group.assessment.anchor:
            raise ZeroDivisionError
        stage(self, group, files, now)

    monkeypatch.setattr(taking.Taking, "stage", fail_over_one)
    site.take_in()
    site.work()
    assert sorted(site.states()) == ["done", "refused"]


def test_a_refusal_at_the_door_can_be_retried(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    write_study(site.inbox, seed="door")
    monkeypatch.setattr(readiness, "_judge_structures", lambda *_: 1 / 0)
    site.take_in()
    refused = next(job for job in site.jobs() if job.state is State.REFUSED)
    monkeypatch.undo()
    site.journal.retry(refused.id)
    site.take_in()
    site.work()
    assert [(job.id, job.state) for job in site.jobs()] == [(refused.id, State.DONE)]
