"""What a missing target's message says: the names that are there, the nearest aliases, the way on; never too long."""

from __future__ import annotations

import pytest

from vmat_rt.assembly.required import choose_protocol, missing_structures, no_target
from vmat_rt.errors import InputError, Problem
from vmat_rt.naming import map_names
from vmat_rt.protocol import load_protocol, packaged_protocols

PROTOCOL = load_protocol("prostate_sib_70_56")
PACKAGED = [load_protocol(name) for name in packaged_protocols()]
FOUND = ["PTV_Boost70", "Rektum", "Blase", "Koerper"]


def _chosen(names: list[str]) -> Problem:
    with pytest.raises(InputError) as caught:
        choose_protocol(names, PACKAGED)
    return caught.value.problems[0]


def _every_target_missing(names: list[str]) -> list[Problem]:
    told = [_chosen(names), no_target(["PTV_7000"], PROTOCOL, names), *missing_structures(set(), PROTOCOL, names)]
    return [problem for problem in told if problem.code == "TARGET_MISSING"]


def test_the_names_found_and_the_way_on_stand_in_each_message() -> None:
    problems = _every_target_missing(FOUND)
    assert len(problems) >= 3
    for problem in problems:
        assert all(name in problem.message for name in FOUND)
        assert "'PTV_Boost70' is near the alias" in problem.message
        assert "--protocol my.yaml" in problem.remedy
        assert "`protocol: my.yaml`" in problem.remedy


def test_nothing_contoured_is_said() -> None:
    assert all("No ROI has contours" in problem.message for problem in _every_target_missing([]))


@pytest.mark.parametrize(
    "names",
    [
        [f"ROI {k} " + "x" * 64 for k in range(5000)],
        ["y" * 100_000],
        [f"PTV 70 copy {k}" for k in range(5000)],
        ["\u00e4\u4f60'\"\\" * 200] * 3,
    ],
    ids=["many", "endless", "many near", "odd letters"],
)
def test_messages_stay_short_whatever_the_names(names: list[str]) -> None:
    for problem in _every_target_missing(names):
        assert len(problem.message) < 600
        assert len(problem.remedy) < 600
        assert "Looked for" in problem.message
        if len(names) > 100:
            assert "more" in problem.message


def test_thousands_of_rois_of_one_name_are_told_in_short() -> None:
    names = [f"PTV{' ' * k}7000" for k in range(5000)]
    (problem,) = map_names(names, PROTOCOL).problems
    assert len(problem.message) < 600
    assert "4994 more" in problem.message
