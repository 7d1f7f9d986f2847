"""Who is simulated: shares of plan types, nodes and implants. No image is drawn.

Covers vmat_rt.phantom.anatomy.traits.
"""

from __future__ import annotations

import pytest

from vmat_rt.errors import ConfigError
from vmat_rt.phantom.anatomy.traits import draw_sizes, draw_traits


@pytest.mark.parametrize("seed", [0, 1, 77])
def test_any_hundred_consecutive_patients_hold_the_shares(seed: int) -> None:
    population = [draw_traits(seed, index) for index in range(260)]
    for start in range(161):
        hundred = population[start : start + 100]
        assert sum(t.plan_type == "sib" for t in hundred) >= 70
        assert sum(t.nodal for t in hundred) >= 10
        assert sum(bool(t.flags) for t in hundred) >= 5
        assert any(t.hip_prosthesis for t in hundred)
        assert any(t.rectal_spacer for t in hundred)


def test_nodes_are_treated_in_sib_plans_only_and_a_prosthesis_has_a_side() -> None:
    for traits in (draw_traits(1, index) for index in range(200)):
        assert not traits.nodal or traits.plan_type == "sib"
        assert traits.hip_prosthesis == (traits.prosthesis_side in ("L", "R"))
    sides = {draw_traits(1, index).prosthesis_side for index in range(200)}
    assert sides == {None, "L", "R"}


def test_seeds_shuffle_the_order_and_every_patient_is_his_own() -> None:
    def order(seed: int) -> list[str]:
        return [str(draw_traits(seed, i)) for i in range(40)]

    assert order(1) != order(2)
    assert len({draw_sizes(seed, index) for seed in (1, 2) for index in range(50)}) == 100


def test_sizes_stay_in_the_ranges_of_men() -> None:
    for sizes in (draw_sizes(3, index) for index in range(300)):
        assert 25 <= sizes.prostate_cc <= 90
        assert 8 <= sizes.vesicles_cc <= 14
        assert 90 <= sizes.bladder_cc <= 500
        assert 50 <= sizes.rectum_cc <= 130
        assert 3 <= sizes.bulb_cc <= 8
        assert 24 <= sizes.head_radius <= 26
        assert 1.2 <= sizes.pixel <= 2
        assert 2 <= sizes.slice <= 3
        assert 5 <= sizes.margin_low <= 7


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="negative"):
        draw_traits(-1, 0)
    with pytest.raises(ConfigError, match="negative"):
        draw_traits(1, -1)
