"""What can become of a job, and which change may follow which."""

from __future__ import annotations

from enum import StrEnum

from vmat_rt.errors import VmatError


class State(StrEnum):
    """Where a job stands."""

    RECEIVING = "receiving"  # something of it is in the inbox
    READY = "ready"  # complete, copied and hashed: independent of the inbox from here on
    RUNNING = "running"
    DONE = "done"
    REFUSED = "refused"  # its files cannot be used; the reason is published
    FAILED = "failed"  # three workers died of it, or it passed a limit
    QUARANTINED = "quarantined"  # incomplete for too long; comes back by itself


LEGAL: dict[State, frozenset[State]] = {
    State.RECEIVING: frozenset({State.READY, State.QUARANTINED, State.REFUSED}),
    State.QUARANTINED: frozenset({State.RECEIVING, State.READY, State.REFUSED}),
    State.READY: frozenset({State.RUNNING, State.DONE, State.FAILED}),
    State.RUNNING: frozenset({State.DONE, State.REFUSED, State.FAILED, State.READY}),
    State.REFUSED: frozenset({State.RECEIVING}),
    State.FAILED: frozenset({State.RECEIVING}),
    State.DONE: frozenset(),
}
"""Refused before it was ready: its files cannot be copied or judged. `jobs retry` is the
step back to receiving: the files are fetched from the inbox again."""

INCOMPLETE = frozenset({State.RECEIVING, State.QUARANTINED})


class IllegalTransitionError(VmatError):
    """A change of state that the table does not know: a bug, or two writers at one job."""


def require_legal(old: State, new: State) -> None:
    """Raise IllegalTransitionError unless `new` may follow `old`."""
    if new not in LEGAL[old]:
        raise IllegalTransitionError(f"a job cannot go from {old} to {new}")
