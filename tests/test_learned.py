"""The range of a few made treatments, counted by hand."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from vmat_rt.errors import ConfigError
from vmat_rt.learned import Learned, Range, Treatment, cc, in_words, learned_from

SINGLE = Treatment({"PTV_7000": 70.0}, {"PTV_7000": 80.0}, 28)
SIB = Treatment({"PTV_7000": 70.0, "PTV_5600": 56.0}, {"PTV_7000": 120.5, "PTV_5600": 900.0}, 28)
THREE = Treatment(
    {"PTV_7000": 66.0, "PTV_6300": 59.4, "PTV_5600": 52.8, "PTVn": 52.6},
    {"PTV_7000": 60.0, "PTV_6300": 200.0, "PTV_5600": 300.0, "PTVn": 40.0},
    33,
)


@pytest.fixture
def learned() -> Learned:
    return learned_from("prostate", [SINGLE, SIB, THREE])


def test_the_range_is_that_of_the_cases(learned: Learned) -> None:
    assert (learned.site, learned.cases) == ("prostate", 3)
    assert learned.fractions == Range(low=28, high=33)
    assert learned.gy_per_fraction == Range(low=2.0, high=2.5)
    assert learned.dose_levels == Range(low=1, high=3)
    assert [(level.share.low, level.share.high, level.cases) for level in learned.levels] == [
        (1.0, 1.0, 3),
        (0.9, 0.9, 1),
        (0.797, 0.8, 2),
    ]
    assert [(level.volumes_cc.low, level.volumes_cc.high) for level in learned.levels] == [
        (60.0, 120.5),
        (200.0, 200.0),
        (40.0, 900.0),
    ]
    assert learned.volumes_cc == Range(low=40.0, high=900.0)


def test_doses_that_rounding_tells_apart_are_one_level() -> None:
    assert [treatment.dose_levels for treatment in (SINGLE, SIB, THREE)] == [1, 2, 3]


@pytest.mark.parametrize(("share", "level"), [(1.0, 0), (0.905, 1), (0.79, 2), (0.86, None), (0.72, None)])
def test_a_level_is_found_by_its_share(learned: Learned, share: float, level: int | None) -> None:
    assert learned.level_at(share) == (None if level is None else learned.levels[level])


def test_the_range_in_words(learned: Learned) -> None:
    assert learned.sentences() == (
        "site prostate, 3 cases",
        "2 to 2.5 Gy per fraction in 28 to 33 fractions (highest dose level)",
        "one to three dose levels per case",
        "targets of the highest level: 60 to 120 cc",
        "90 % of the highest, in 1 case: 200 cc",
        "79.7 to 80 % of the highest, in 2 cases: 40 to 900 cc",
    )
    assert learned.card_section().startswith("## What it learned\n\n- Site prostate, 3 cases.\n- 2 to 2.5 Gy")


def test_numbers_for_people() -> None:
    assert [cc(volume) for volume in (0.0, 2.602, 42.319, 1245.126)] == ["0", "2.6", "42.3", "1245"]
    assert [in_words(count) for count in (1, Range(low=2, high=2), Range(low=1, high=9))] == ["one", "two", "one to 9"]


def test_it_comes_back_from_json_as_it_was(learned: Learned) -> None:
    assert Learned.model_validate_json(learned.model_dump_json()) == learned


def test_a_range_upside_down_and_a_training_without_targets_are_refused() -> None:
    with pytest.raises(ValidationError, match="lies above high"):
        Range(low=2, high=1)
    with pytest.raises(ConfigError, match="no training case"):
        learned_from("prostate", [Treatment({}, {}, 28)])
