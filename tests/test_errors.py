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
    listed,
    listed_within,
    raise_errors,
    shortened,
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


def test_a_long_text_keeps_both_ends() -> None:
    assert shortened("a name") == "a name"
    text = shortened("PTV " + "x" * 500 + " left", 40)
    assert len(text) == 40
    assert text.startswith("PTV xx")
    assert text.endswith("xx left")


def test_lists_name_the_first_and_count_the_rest() -> None:
    names = [f"ROI {k}" for k in range(5000)]
    assert listed(names, most=2) == "ROI 0, ROI 1 and 4998 more"
    assert listed(["a", "b", "c"], last=" and ") == "a, b and c"
    assert listed_within(names, 30) == "ROI 0, ROI 1, ROI 2, ROI 3 and 4996 more"
    assert listed_within(["y" * 900], 30) == shortened("y" * 900)
    assert listed_within([], 30) == ""


@pytest.mark.parametrize("length", [10, 599, 600, 100_000])
def test_texts_of_a_problem_stay_under_600_characters(length: int) -> None:
    problem = Problem("CT_GAP", "m" * length, "r" * length)
    assert len(problem.message) == len(problem.remedy) == min(length, 599)
