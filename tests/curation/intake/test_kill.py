"""What outlives a power cut, a second run, and a worker that dies.

Covers vmat_rt.curation.intake.run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from tests.curation.intake.clinic import added, states, study
from tests.patience import wait_for
from tests.system.workers import Deadly
from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.intake.dicom import _make_entry
from vmat_rt.curation.intake.keys import KeyFile
from vmat_rt.curation.intake.run import _collect_outcomes
from vmat_rt.curation.intake.scan import FolderIndex
from vmat_rt.curation.intake.settings import choose_protocols
from vmat_rt.curation.intake.study import StudyJob, take_in
from vmat_rt.errors import ConfigError, InputError
from vmat_rt.gate.codes import ALLOWABLE
from vmat_rt.system.processes import run_tasks

GRID = "10x24x30@3.5x3.5x3.5"


def test_a_kill_loses_nothing_and_leaves_nothing_partial(tmp_path: Path) -> None:
    for number in range(6):
        study(tmp_path / "in" / f"s{number}", f"P{number}")
    command = [sys.executable, "-m", "vmat_rt.cli", "cohort", "add", str(tmp_path / "in"), "--workers", "2", "--json"]
    run = subprocess.Popen(
        [*command, "--cohort", str(tmp_path / "c"), "--grid", GRID, "--allow", "BODY_SITE"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    cases = tmp_path / "c" / "cases"
    wait_for(lambda: len(list(cases.glob("case-*/record.json"))) >= 2, process=run)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    before = Cohort.open(tmp_path / "c").keys()
    assert 2 <= len(before) < 6, "the run was killed too early or too late to show anything"
    summary = added(tmp_path / "in", tmp_path / "c")
    assert states(summary) == [("added",)] * (6 - len(before)) + [("present",)] * len(before)
    cohort = Cohort.open(tmp_path / "c")
    assert set(before) < set(cohort.keys())
    assert len({record.patient for record in cohort.records()}) == len(cohort.keys()) == 6
    assert not cohort.check()
    assert set(KeyFile(tmp_path / "c.keys.csv").entries()) == set(cohort.keys())
    assert {path.name for path in cases.iterdir()} == {f"{key}.zarr" for key in cohort.keys()}  # noqa: SIM118


def test_a_line_that_was_cut_off_is_no_entry(tmp_path: Path) -> None:
    study(tmp_path / "in", "P1")
    added(tmp_path / "in", tmp_path / "c")
    keys = tmp_path / "c.keys.csv"
    whole = keys.read_bytes()
    keys.write_bytes(whole + b'case-0123456789,"patient-98')
    assert states(added(tmp_path / "in", tmp_path / "c")) == [("present",)]
    assert keys.read_bytes() == whole


def test_a_second_run_with_the_same_keys_is_refused(tmp_path: Path) -> None:
    study(tmp_path / "in", "P1")
    with KeyFile(tmp_path / "c.keys.csv").hold(), pytest.raises(ConfigError, match="another run"):
        added(tmp_path / "in", tmp_path / "c")
    assert states(added(tmp_path / "in", tmp_path / "c")) == [("added",)]


def test_a_study_that_kills_its_worker_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    for number in range(2):
        study(tmp_path / "in" / f"s{number}", f"P{number}")
    added(tmp_path / "in" / "s0", tmp_path / "c")
    keys = KeyFile(tmp_path / "k.csv")
    cohort = Cohort.open(tmp_path / "c")
    with FolderIndex() as index, keys.hold():
        index.fill(tmp_path / "in", workers=2, progress=False)
        first, second = index.groups()
        protocols = choose_protocols(cohort.settings.protocol, ())
        jobs = [
            StudyJob(first, cohort.place.root, keys, Deadly()),  # type: ignore[arg-type]
            StudyJob(second, cohort.place.root, keys, protocols, allowed=frozenset(ALLOWABLE)),
        ]
        with tqdm(disable=True) as bar:
            done = run_tasks(take_in, iter(jobs), 2, queued=2)
            outcomes = list(_collect_outcomes(done, keys, _make_entry, bar))
    assert sorted(outcome.state for outcome in outcomes) == ["added", "refused"]
    (refused,) = (outcome for outcome in outcomes if outcome.state == "refused")
    assert [problem.code for problem in refused.problems] == ["WORKER_DIED"]
    assert keys.entries()[refused.key].PatientID == first.files[0].patient_id


def test_failures_to_write_end_the_run(tmp_path: Path) -> None:
    """A full disk is no study's fault: nothing is noted as refused."""
    study(tmp_path / "in", "P1")
    added(tmp_path / "in", tmp_path / "c")
    study(tmp_path / "in" / "second", "P2")
    (tmp_path / "c" / "cases").rename(tmp_path / "moved")
    (tmp_path / "c" / "cases").write_text("no folder")
    with pytest.raises(InputError, match="cannot be written"):
        added(tmp_path / "in", tmp_path / "c")
    (tmp_path / "c" / "cases").unlink()
    (tmp_path / "moved").rename(tmp_path / "c" / "cases")
    assert "P2" not in (tmp_path / "c" / "refused.csv").read_text()
    assert (tmp_path / "c" / "refused.csv").read_text().count("\n") == 1
    assert states(added(tmp_path / "in", tmp_path / "c")) == [("added",), ("present",)]
