"""What the pages read of the journal, against what was done to it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from tests.service.pages import SECONDS, configured, fill, ready, run
from vmat_rt_service.journal.jobs import JobOutcome, Journal
from vmat_rt_service.journal.readings import BUCKETS_SECONDS, reading
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
