"""What holds for every loss: a perfect prediction costs nothing, derivatives, invariances; and how they are summed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.train.batches import MM, TABLE, batch_of, fractions, loss, noise, patient
from vmat_rt.errors import ConfigError
from vmat_rt.train.batch import Batch, collate
from vmat_rt.train.losses import LOSSES, LossSpec, build_losses


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_perfect_prediction_costs_nothing_and_moves_nothing(name: str) -> None:
    case = patient()
    predicted = case.dose.clone().requires_grad_()
    value = loss(name, predicted, case)
    value.backward()
    assert float(value.detach()) == 0
    assert predicted.grad is not None
    assert float(predicted.grad.abs().max()) == 0


@pytest.mark.parametrize("name", list(LOSSES))
def test_derivatives(name: str) -> None:
    case = patient(3)
    # Distinct doses, far from every kink: sorting has one order within the step of the check.
    order = torch.randperm(case.dose.numel(), generator=torch.Generator().manual_seed(5)).double()
    predicted = (0.1 + 1.7 * order / order.numel()).view_as(case.dose).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: loss(name, p, case), (predicted,), eps=1e-7, atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_case_counts_alike_alone_and_beside_others(name: str) -> None:
    one, two = patient(1), patient(7)
    guesses = noise(30), noise(31)
    alone = [float(loss(name, guess, case)) for guess, case in zip(guesses, (one, two), strict=True)]
    together = float(loss(name, torch.cat(guesses), collate([one, two])))
    assert together == pytest.approx(np.mean(alone), rel=1e-9)
    assert min(alone) > 1e-4


@pytest.mark.parametrize("name", list(LOSSES))
def test_left_and_right_cost_the_same(name: str) -> None:
    case, guess = patient(2), noise(40)
    mirrored = replace(case, dose=case.dose.flip(-1), body=case.body.flip(-1), structures=case.structures.flip(-1))
    assert float(loss(name, guess.flip(-1), mirrored)) == pytest.approx(float(loss(name, guess, case)), rel=1e-9)


@pytest.mark.parametrize("name", list(LOSSES))
def test_what_is_predicted_outside_the_body_does_not_matter(name: str) -> None:
    case, guess = patient(4), noise(41)
    body = torch.zeros_like(case.body)
    body[..., 2:9] = 1
    case = replace(case, body=body)
    wild = torch.where(body > 0, guess, 100.0)
    assert float(loss(name, wild, case)) == pytest.approx(float(loss(name, guess, case)), rel=1e-9)


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_patch_of_air_costs_nothing_but_belongs_to_the_graph(name: str) -> None:
    empty = batch_of(torch.zeros(1, 1, 4, 4, 2), fractions((4, 4, 2), {}), MM)
    predicted = torch.rand(1, 1, 4, 4, 2, requires_grad=True)
    value = loss(name, predicted, replace(empty, body=torch.zeros_like(empty.body)))
    value.backward()
    assert float(value.detach()) == 0
    assert predicted.grad is not None


@pytest.mark.parametrize(
    ("name", "settings"),
    [("dvh", {"targets": ["V70Gy"]}), ("dvh", {"band": 1}), ("asymmetric", {"error": "cubic"}), ("gradient", {"p": 1})],
)
def test_settings_that_are_none(name: str, settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        build_losses([LossSpec.model_validate({"name": name, **settings})], TABLE)


def test_losses_are_means_over_cases_of_means_over_the_body() -> None:
    losses = build_losses((LossSpec(name="mse", weight=2.0), LossSpec(name="l1")), TABLE)
    small, large = _batch(body_voxels=10, error=0.5), _batch(body_voxels=200, error=-0.1)
    both = collate([small, large])
    total, terms = losses(torch.zeros_like(both.dose), both)
    assert float(terms["mse"]) == pytest.approx((0.25 + 0.01) / 2)
    assert float(terms["l1"]) == pytest.approx((0.5 + 0.1) / 2)
    assert float(total) == pytest.approx(2 * 0.13 + 0.3)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([], "each once"),
        ([{"name": "mse"}, {"name": "mse"}], "each once"),
        ([{"name": "dice"}], "no loss is called"),
        ([{"name": "mse", "power": 3}], "power"),
    ],
)
def test_losses_that_cannot_be_built_are_refused(specs: list[dict[str, object]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_losses([LossSpec.model_validate(spec) for spec in specs], TABLE)


def _batch(body_voxels: int, error: float) -> Batch:
    """Errors outside the body are a thousand times as large."""
    body = torch.zeros(1, 1, 6, 7, 8)
    body.flatten()[:body_voxels] = 1
    empty = torch.zeros(1, len(TABLE.names), 6, 7, 8)
    flags = torch.zeros(1, len(TABLE.names), dtype=torch.bool)
    dose = torch.where(body > 0, error, 1000 * error)
    return Batch(
        torch.zeros(1, 2, 6, 7, 8), torch.zeros(1, 3), dose, body, empty, flags, flags, torch.ones(1),
        torch.ones(1, 3), ("a",),
    )  # fmt: skip


def test_a_term_counts_after_its_share_of_the_steps_and_is_told_before() -> None:
    case = patient()
    predicted = noise(20)
    losses = build_losses([LossSpec(name="l1"), LossSpec(name="mse", weight=0.5, after=0.25)], TABLE)
    _, terms = losses(predicted, case)
    for done, weight in ((0.0, 0.0), (0.2499, 0.0), (0.25, 0.5), (1.0, 0.5)):
        losses.done = done
        total, told = losses(predicted, case)
        assert float(total) == pytest.approx(float(terms["l1"] + weight * terms["mse"]))
        assert told == terms
    with pytest.raises(ConfigError, match="from the first step"):
        build_losses([LossSpec(name="l1", after=0.1)], TABLE)
    with pytest.raises(ValueError, match="after"):
        LossSpec(name="l1", after=1.0)
