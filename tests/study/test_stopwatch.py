"""Seconds of the steps of a run."""

from __future__ import annotations

import logging
import time

import pytest

from vmat_rt.study.stopwatch import Stopwatch


def test_steps_are_timed_in_order_and_added_up() -> None:
    watch = Stopwatch()
    for name in ("read", "predict", "read"):
        with watch.step(name):
            time.sleep(0.01)
    assert list(watch.seconds) == ["read", "predict"]
    assert watch.seconds["read"] >= 0.02


def test_seconds_that_were_taken_do_not_grow() -> None:
    watch = Stopwatch()
    with watch.step("read"):
        pass
    taken = watch.seconds
    with watch.step("predict"):
        pass
    assert list(taken) == ["read"]
    assert list(watch.seconds) == ["read", "predict"]


def test_a_step_that_fails_is_not_counted() -> None:
    watch = Stopwatch()
    with pytest.raises(ValueError, match="broken"), watch.step("read"):
        raise ValueError("broken")
    assert watch.seconds == {}


def test_a_step_is_logged_with_the_jobs_key(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "vmat_rt"), Stopwatch().step("read", "case-1"):
        pass
    assert caplog.messages == ["case-1 read 0.00 s"]
