"""The table of changes: every state is there, done is final, and every other can be left."""

from __future__ import annotations

import itertools

import pytest

from vmat_rt_service.journal.states import INCOMPLETE, LEGAL, IllegalTransitionError, State, require_legal


@pytest.mark.parametrize(("old", "new"), list(itertools.product(State, State)))
def test_a_change_passes_exactly_where_the_table_has_it(old: State, new: State) -> None:
    if new in LEGAL[old]:
        require_legal(old, new)
        return
    with pytest.raises(IllegalTransitionError, match=f"from {old} to {new}"):
        require_legal(old, new)


def test_every_state_can_be_reached_from_the_first_and_only_done_is_final() -> None:
    reached, waiting = set(), [State.RECEIVING]
    while waiting:
        state = waiting.pop()
        reached.add(state)
        waiting += LEGAL[state] - reached
    assert reached == set(State) == set(LEGAL)
    assert {state for state in State if not LEGAL[state]} == {State.DONE}
    assert all(State.READY in LEGAL[state] for state in INCOMPLETE)
