"""Threads give results in the order of the items, THREADS at a time, and raise when what has begun has ended."""

from __future__ import annotations

import threading
import time

import pytest

from vmat_rt.system.threads import THREADS, run_threads


def test_results_keep_their_order_and_threads_their_number() -> None:
    lock, running, most = threading.Lock(), 0, 0

    def work(item: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01 * (item % 3))
        with lock:
            running -= 1
        return item * item

    assert run_threads(work, range(12)) == [n * n for n in range(12)]
    assert 1 <= most <= THREADS
    assert run_threads(work, []) == []


def test_an_exception_is_raised_when_all_that_have_begun_have_ended() -> None:
    begun, ended = [], []

    def work(item: int) -> None:
        begun.append(item)
        time.sleep(0.05 * item)
        ended.append(item)
        if item == 0:
            raise ValueError("zero")

    with pytest.raises(ValueError, match="zero"):
        run_threads(work, range(6))
    assert sorted(begun) == sorted(ended)
