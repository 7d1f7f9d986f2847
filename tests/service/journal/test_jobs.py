"""States, claims and what the journal refuses."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from vmat_rt_service.journal.jobs import Job, JobOutcome, Journal
from vmat_rt_service.journal.states import IllegalTransitionError, State


def ready(journal: Journal, number: int, key: str | None = None) -> Job:
    job = journal.receive(f"source {number}", f"case-{number}", "CT_INCOMPLETE", "waiting")
    content = f"{number:064d}"
    return journal.admit(job.id, key or f"case-{number}", {content: 100}, content, [f"signature {number}"])


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


def test_a_job_goes_its_way_and_every_step_is_noted(journal: Journal) -> None:
    job = ready(journal, 1)
    assert journal.claim("w") == journal.find_job(job.id)
    done = journal.finish(job.id, JobOutcome(State.DONE, model="m 1", seconds=2.5), ["PACS", "TPS"])
    assert (done.state, done.attempts, done.seconds, done.model) == (State.DONE, 1, 2.5, "m 1")
    assert journal.list_transitions(job.id) == (("receiving", "ready"), ("ready", "running"), ("running", "done"))
    with journal.transaction() as db:
        rows = db.execute("SELECT destination, status FROM sends ORDER BY destination").fetchall()
    assert [tuple(row) for row in rows] == [("PACS", "pending"), ("TPS", "pending")]


@pytest.mark.parametrize("new", [State.RUNNING, State.READY, State.FAILED, State.RECEIVING])
def test_what_may_not_follow_is_refused_and_changes_nothing(journal: Journal, new: State) -> None:
    job = ready(journal, 1)
    with pytest.raises(IllegalTransitionError):
        journal.finish(job.id, JobOutcome(State.REFUSED))
    journal.claim("w")
    journal.finish(job.id, JobOutcome(State.DONE))
    with pytest.raises(IllegalTransitionError):
        journal.move(job.id, new)
    assert len(journal.list_transitions(job.id)) == 3


def test_four_processes_claim_forty_jobs_once_each(tmp_path: Path, journal: Journal) -> None:
    for number in range(40):
        ready(journal, number)
    program = (
        "import sys; from pathlib import Path; from vmat_rt_service.journal.jobs import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "while job := journal.claim(sys.argv[2]): print(job.id)\n"
    )
    command = [sys.executable, "-c", program, str(journal.path)]
    processes = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True) for n in range(4)]
    claimed = [int(line) for process in processes for line in process.communicate()[0].split()]
    assert sorted(claimed) == sorted(job.id for job in journal.list_jobs())
    assert all(job.state is State.RUNNING and job.attempts == 1 for job in journal.list_jobs())


def test_the_same_content_is_the_same_job(journal: Journal) -> None:
    first = ready(journal, 1)
    again = journal.receive("elsewhere", "case-x", "CT_INCOMPLETE", "waiting")
    found = journal.admit(again.id, "case-1", {"0" * 63 + "1": 100}, f"{1:064d}", ["other signature"])
    assert found.id == first.id
    assert len(journal.list_jobs()) == 1
    assert journal.find_sighted("other signature") == journal.find_sighted("signature 1") == found


def test_another_content_of_the_same_case_gets_a_folder_of_its_own(journal: Journal) -> None:
    assert ready(journal, 1, "case-a").key == "case-a"
    assert ready(journal, 2, "case-a").key == f"case-a-{2:064d}"[:13]


def test_an_uncounted_return_costs_no_attempt(journal: Journal) -> None:
    job = ready(journal, 1)
    journal.claim("w")
    back = journal.give_back(job.id, "service died", counted=False)
    assert (back.state, back.attempts, back.interruptions) == (State.READY, 0, 1)
    journal.claim("w")
    assert journal.give_back(job.id, "worker died", counted=True).attempts == 1


def test_retry_looks_for_the_files_again_and_keeps_the_job(journal: Journal) -> None:
    job = ready(journal, 1)
    journal.claim("w")
    journal.finish(job.id, JobOutcome(State.REFUSED, "CT_GAP", "see"))
    journal.retry(job.id)
    assert journal.retry_wanted()
    assert journal.find_sighted("signature 1") is None
    again = journal.admit(job.id, "case-1", {"0" * 63 + "1": 100}, f"{1:064d}", ["signature 1"])
    assert (again.id, again.state, again.attempts) == (job.id, State.READY, 0)
    assert not journal.retry_wanted()


def test_a_failed_transaction_leaves_nothing(journal: Journal) -> None:
    job = ready(journal, 1)
    with pytest.raises(sqlite3.IntegrityError), journal.transaction() as db:  # noqa: PT012
        db.execute("UPDATE jobs SET state = 'done' WHERE id = ?", (job.id,))
        db.execute("INSERT INTO inputs VALUES (99, 'x', 1)")  # there is no job 99
    found = journal.find_job(job.id)
    assert found is not None
    assert found.state is State.READY


def of_study(journal: Journal, number: int, key: str, essence: str = "") -> Job:
    job = journal.receive(f"source {number}", f"case-{number}", "COMPLETE", "complete")
    content = f"{number:064d}"
    return journal.admit(job.id, key, {content: 100}, content, [f"signature {number}"], essence)


def test_a_later_content_of_a_study_takes_the_place_of_one_that_has_not_begun(journal: Journal) -> None:
    first, second = of_study(journal, 1, "case"), of_study(journal, 2, "case")
    before = journal.find_job(first.id)
    assert before is not None
    assert (before.state, before.reason_code) == (State.REFUSED, "SUPERSEDED")
    assert second.state is State.READY
    assert of_study(journal, 1, "case").id == first.id
    states = [(job.id, job.state) for job in journal.list_jobs()]
    assert states == [(first.id, State.READY), (second.id, State.REFUSED)], "what came last counts"


def test_what_runs_or_is_done_is_not_superseded(journal: Journal) -> None:
    running = of_study(journal, 1, "case")
    journal.claim("w")
    of_study(journal, 2, "case")
    found = journal.find_job(running.id)
    assert found is not None
    assert found.state is State.RUNNING


def test_a_content_that_gives_the_same_result_makes_no_job(journal: Journal) -> None:
    first = of_study(journal, 1, "case", "essence")
    journal.claim("w")
    journal.finish(first.id, JobOutcome(State.DONE))
    again = of_study(journal, 2, "case", "essence")
    assert (again.id, again.state) == (first.id, State.DONE)
    assert journal.find_sighted("signature 2") == again
    assert len(journal.list_jobs()) == 1


def test_a_result_is_known_by_its_sealed_hashes_only(journal: Journal) -> None:
    files = {"rtdose.dcm": "a" * 64}
    assert not journal.is_ours("c", files)
    assert not journal.is_foreign("c", files)
    journal.expect_result("c", files)
    assert journal.is_ours("c", files)
    assert journal.is_foreign("c", {**files, "x": "b"})
    with journal.transaction() as db:
        db.execute("UPDATE results SET files = replace(files, 'aaaa', 'bbbb')")
    assert not journal.is_ours("c", {"rtdose.dcm": "b" * 64}), "somebody else wrote that"
