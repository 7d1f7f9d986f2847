"""Steps are told to the listener of the moment, in order, and to nobody where there is none."""

from __future__ import annotations

import pytest

from vmat_rt.system.steps import announced, listening


class _Notes:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, step: str) -> None:
        self.lines.append(f"begin {step}")

    def end(self, step: str, seconds: float) -> None:
        assert seconds >= 0
        self.lines.append(f"end {step}")


def test_steps_are_heard_in_order() -> None:
    notes = _Notes()
    with listening(notes):
        with announced("read"):
            pass
        with announced("predict"):
            pass
    assert notes.lines == ["begin read", "end read", "begin predict", "end predict"]


def test_a_step_that_fails_has_no_end() -> None:
    notes = _Notes()
    with listening(notes), pytest.raises(ValueError, match="no dose"), announced("read"):
        raise ValueError("no dose")
    assert notes.lines == ["begin read"]


def test_nobody_is_told_outside_of_listening() -> None:
    notes = _Notes()
    with listening(notes):
        pass
    with announced("read"):
        pass
    assert notes.lines == []
