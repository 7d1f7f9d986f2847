"""What the pages read of the journal, against what was done to it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from tests.service.pages import SECONDS, configured, fill, ready, run
from vmat_rt_service.journal.jobs import JobOutcome, Journal
from vmat_rt_service.journal.readings import BUCKETS_SECONDS, Search, reading
from vmat_rt_service.journal.states import State


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    config = configured(tmp_path)
    journal = Journal(config.journal)
    fill(config, journal)
    return journal


def test_jobs_are_counted_by_state(journal: Journal) -> None:
    with reading(journal.path) as look:
        assert look.count_jobs() == {**dict.fromkeys(State, 1), State.DONE: len(SECONDS)}


def test_changes_are_those_of_every_jobs_history(journal: Journal) -> None:
    with reading(journal.path) as look:
        jobs = look.list_oldest(100, *State)
        entered = Counter(step.new for job in jobs for step in look.list_steps(job.id))
        assert look.count_changes() == {state: entered[str(state)] for state in State}
        assert [step.new for step in look.list_steps(look.list_oldest(1, State.DONE)[0].id)] == [
            "ready",
            "running",
            "done",
        ]


def test_the_oldest_are_the_first_and_the_latest_the_last(journal: Journal) -> None:
    with reading(journal.path) as look:
        assert [job.key for job in look.list_oldest(2, State.DONE)] == ["case-done0", "case-done1"]
        assert [job.key for job in look.list_latest(2, State.DONE)] == ["case-done4", "case-done3"]
        assert look.list_oldest(5) == ()


def test_durations_are_a_cumulative_histogram(journal: Journal) -> None:
    with reading(journal.path) as look:
        found = look.count_durations()
        assert found.at_most == tuple(sum(s <= bound for s in SECONDS) for bound in BUCKETS_SECONDS)
        assert (found.count, found.total_seconds) == (len(SECONDS), pytest.approx(sum(SECONDS)))
        assert look.read_latest_seconds(2) == SECONDS[-2:]


def test_inputs_and_sends_of_a_job(journal: Journal) -> None:
    with reading(journal.path) as look:
        (first, *_) = look.list_oldest(1, State.DONE)
        assert look.count_inputs(first.id) == (1, 1000)
        assert look.count_inputs(10**6) == (0, 0)
        assert look.list_sent(first.id) == (("TPS", "pending"),)
        assert look.count_sends() == {("TPS", "pending"): len(SECONDS)}
        assert (look.knows("case-done0"), look.knows("case-done")) == (True, False)
        assert look.find_job(first.id) == first
        assert look.find_job(10**6) is None


def test_a_look_stays_as_it_was_when_it_began(journal: Journal) -> None:
    with reading(journal.path) as look:
        before = look.count_jobs()
        ready(journal, "case-later")
        run(journal, "case-last", JobOutcome(State.DONE))
        assert look.count_jobs() == before
    with reading(journal.path) as look:
        assert look.count_jobs()[State.DONE] == before[State.DONE] + 1


def test_a_look_cannot_write_and_an_absent_journal_is_not_made(journal: Journal, tmp_path: Path) -> None:
    with reading(journal.path) as look, pytest.raises(sqlite3.OperationalError, match="readonly"):
        look._db.execute("DELETE FROM jobs")
    with pytest.raises(sqlite3.Error), reading(tmp_path / "absent.sqlite"):
        pass
    assert not (tmp_path / "absent.sqlite").exists()


def test_a_search_goes_by_key_number_reason_and_source_and_by_page(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    for number in range(30):
        journal.receive(f"source-{number}", f"case-{number:02d}", "CT_GAP", "waiting for 100% of_it")
    journal.close()
    with reading(path) as look:
        assert len(look.search(Search(), 25, 0)[0]) == 25
        rows, total = look.search(Search(), 25, 25)
        assert (len(rows), total) == (5, 30)
        assert [job.key for job in look.search(Search("case-07"), 25, 0)[0]] == ["case-07"]
        assert look.search(Search("100%"), 25, 0)[1] == 30
        assert look.search(Search("%%"), 25, 0)[1] == 0, "no wildcard of SQL's"
        assert look.search(Search("case_0"), 25, 0)[1] == 0
        assert look.search(Search("none", sources=("source-3", "source-4")), 25, 0)[1] == 2
        assert look.search(Search(states=(State.DONE,)), 25, 0)[1] == 0
        (job,) = look.search(Search("case-07"), 25, 0)[0]
        assert look.list_sources([job.id]) == {job.id: "source-7"}
