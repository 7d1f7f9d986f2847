"""Weights of terms that are learned: where they start, where they go, and that training goes on as if never stopped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.train.batches import noise, patient, uncertain
from vmat_rt.errors import ConfigError
from vmat_rt.nn.unet import UNet, UNetSettings
from vmat_rt.train.objective import Objective, build_optimiser
from vmat_rt.train.recipe import OptimiserSettings


def test_terms_start_with_equal_contributions_and_their_best_factor_is_the_inverse() -> None:
    losses = uncertain(calibrate=2)
    first, second = patient(1), patient(2)
    total, said = losses(noise(20), first)
    assert float(total.detach()) == pytest.approx(4.0)  # weights 2 + 1 + 1
    for name in ("mse", "gradient", "dvh"):
        assert float(said[name] * said[f"factor_{name}"]) == pytest.approx(1, rel=1e-5)
    total.backward()
    assert losses.uncertainty is not None
    assert losses.uncertainty.change.grad is not None
    assert losses.uncertainty.change.grad.abs().max() < 1e-5
    _, later = losses(noise(21), second)
    for name in ("mse", "gradient", "dvh"):
        mean = (float(said[name]) + float(later[name])) / 2
        assert float(later[f"factor_{name}"]) == pytest.approx(1 / mean, rel=1e-5)
    _, third = losses(noise(22), patient(5))
    assert third["factor_mse"] == later["factor_mse"]


def test_looking_at_a_loss_does_not_calibrate_it() -> None:
    losses = uncertain()
    with torch.no_grad():
        losses(noise(20), patient())
    losses.eval()(noise(20), patient())
    assert losses.uncertainty is not None
    assert losses.uncertainty.seen.tolist() == [0, 0, 0]


def test_a_term_is_calibrated_on_batches_in_which_it_is_not_zero() -> None:
    """Small patches cut every structure: the DVH loss is zero there, and zero says nothing of its size."""
    losses = uncertain(calibrate=2)
    cut = replace(patient(1), whole=torch.zeros_like(patient(1).whole))
    for _ in range(3):
        _, said = losses(noise(20), cut)
        assert float(said["dvh"]) == 0
        assert float(said["factor_dvh"]) == 1
    total, said = losses(noise(20), patient(1))
    assert float(said["dvh"] * said["factor_dvh"]) == pytest.approx(1, rel=1e-5)
    assert 0 < float(total.detach()) < 20
    assert losses.uncertainty is not None
    assert losses.uncertainty.seen.tolist() == [2, 2, 1]


def test_given_starts_are_the_factors() -> None:
    given = {"mse": 0.25, "gradient": 0.5, "dvh": 0.125}
    _, said = uncertain(calibrate=0, starts=given)(noise(20), patient())
    assert [float(said[f"factor_{name}"]) for name in given] == pytest.approx([4, 2, 8])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"starts": {"l1": 1.0}}, "l1"),
        ({"starts": {"mse": 0.0}}, "positive"),
        ({"calibrate": 0, "starts": {"mse": 1.0}}, "gradient"),
    ],
)
def test_starts_that_cannot_be_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        uncertain(**settings)


def test_learned_factors_approach_the_inverse_of_their_terms_and_stay_bounded() -> None:
    losses = uncertain(calibrate=0, starts={"mse": 1.0, "gradient": 1.0, "dvh": 1.0}, limit=3.0)
    case, guess = patient(), noise(20)
    optimiser = torch.optim.Adam(losses.parameters(), lr=0.1)
    for _ in range(150):
        total, said = losses(guess, case)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    for name in ("mse", "gradient", "dvh"):
        found, best, most = float(said[f"factor_{name}"]), 1 / float(said[name]), float(np.exp(3.0))
        if best < most:
            assert found == pytest.approx(best, rel=0.03)
        else:
            assert 0.85 * most < found < most
    assert 1 / float(said["mse"]) < most < 1 / float(said["dvh"])  # both happen


def test_training_with_learned_weights_goes_on_as_if_it_had_not_stopped() -> None:
    """Stopped within the calibration; and no decay is on the log-variances."""

    def fresh() -> tuple[Objective, torch.optim.AdamW]:
        torch.manual_seed(0)
        objective = Objective(UNet(UNetSettings(width=2, levels=2, embedding=4), 3, 4), uncertain(calibrate=4))
        return objective, build_optimiser(objective, OptimiserSettings(lr=1e-2))

    def steps(objective: Objective, optimiser: torch.optim.AdamW, numbers: range) -> list[float]:
        totals = []
        for number in numbers:
            case = patient(number)
            inputs = torch.cat([case.dose, case.body, case.dose], dim=1)
            case = replace(case, array=inputs, condition=torch.ones(1, 4)).to("cpu")
            total, _ = objective(case.tensors())
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
            totals.append(float(total.detach()))
        return totals

    wanted = steps(*fresh(), range(6))
    objective, optimiser = fresh()
    found = steps(objective, optimiser, range(2))
    states = objective.state_dict(), optimiser.state_dict()
    resumed, its_optimiser = fresh()
    resumed.load_state_dict(states[0])
    its_optimiser.load_state_dict(states[1])
    assert found + steps(resumed, its_optimiser, range(2, 6)) == wanted
    assert resumed.losses.uncertainty is not None
    decays = {id(p): group["weight_decay"] for group in its_optimiser.param_groups for p in group["params"]}
    assert decays[id(resumed.losses.uncertainty.change)] == 0
    assert decays[id(resumed.network.head.weight)] > 0
