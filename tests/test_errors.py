"""Exceptions keep their problems and exit codes; only errors are raised, and all of them at once."""

from __future__ import annotations

import pickle

import pytest

from vmat_rt.errors import (
    ConfigError,
    GeometryError,
    InputError,
    ModelError,
    Problem,
    VmatError,
    raise_errors,
    warning,
)

GAP = Problem("CT_GAP", "Two slices are 6 mm apart.", "Export the complete series.")
NOTE = warning("CT_INCOMPLETE", "One slice is missing.", "Look at the ends.")


@pytest.mark.parametrize(
    ("kind", "code"), [(VmatError, 4), (InputError, 3), (ConfigError, 2), (GeometryError, 4), (ModelError, 4)]
)
def test_every_exception_has_its_exit_code_and_one_root(kind: type[VmatError], code: int) -> None:
    assert kind.exit_code == code
    assert issubclass(kind, VmatError)


def test_a_refusal_says_all_of_its_problems_and_keeps_them_between_processes() -> None:
    error = InputError([GAP, NOTE])
    assert str(error).splitlines() == [str(GAP), str(NOTE)]
    assert pickle.loads(pickle.dumps(error)).problems == (GAP, NOTE)
    assert InputError(GAP).problems == (GAP,)


def test_only_errors_are_raised_and_all_of_them_at_once() -> None:
    raise_errors([NOTE, NOTE])
    other = Problem("NO_CT", "There is no CT.", "Add it.")
    with pytest.raises(InputError) as caught:
        raise_errors([GAP, NOTE, other])
    assert caught.value.problems == (GAP, other)
