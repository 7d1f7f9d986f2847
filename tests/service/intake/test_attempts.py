"""Failed attempts: growing pauses, a last one, and others' turns first."""

from __future__ import annotations

from vmat_rt_service.intake.attempts import Attempts


def test_pauses_double_and_the_last_attempt_is_said() -> None:
    attempts = Attempts(3)
    assert not attempts.note_failure("a", 0.0)
    assert not attempts.may_try("a", 4.9)
    assert attempts.may_try("a", 5.0)
    assert attempts.may_try("b", 0.0)
    assert not attempts.note_failure("a", 5.0)
    assert not attempts.may_try("a", 14.9)
    assert attempts.note_failure("a", 15.0)


def test_a_pause_is_never_longer_than_five_minutes() -> None:
    attempts = Attempts(100)
    for _ in range(50):
        attempts.note_failure("a", 0.0)
    assert attempts.may_try("a", 300.0)


def test_other_files_begin_anew() -> None:
    attempts = Attempts(2)
    attempts.note_failure("a", 0.0)
    attempts.keep_only({"b"})
    assert attempts.count("a") == 0
