"""The learning rate in closed form; optimisers are in test_muon.py."""

from __future__ import annotations

import math

import pytest

from vmat_rt.train.objective import learning_rate
from vmat_rt.train.recipe import OptimiserSettings


def test_the_learning_rate_warms_up_and_follows_a_cosine() -> None:
    settings = OptimiserSettings(lr=1.0, lowest_lr=0.1, warmup=4)
    rates = [learning_rate(step, 105, settings) for step in range(105)]
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[54] == pytest.approx(0.55)
    assert rates[29] == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi / 4)))
    assert rates[-1] == pytest.approx(0.1)
