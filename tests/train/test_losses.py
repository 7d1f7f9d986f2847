"""Losses that weigh voxels, and the weights that are learned: closed forms, derivatives, invariances."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.train.batches import TABLE, batch_of, fractions
from vmat_rt.errors import ConfigError
from vmat_rt.nn.unet import UNet, UNetSettings
from vmat_rt.train.batch import Batch, collate
from vmat_rt.train.losses import LOSSES, LossSpec, WeightedLosses, build_losses
from vmat_rt.train.losses.structure import rim
from vmat_rt.train.losses.uncertainty import UncertaintySettings
from vmat_rt.train.losses.voxel import sobel
from vmat_rt.train.objective import Objective, build_optimiser
from vmat_rt.train.recipe import OptimiserSettings, load_recipe

SHAPE = (7, 9, 11)
MM = (3.0, 2.0, 1.5)


def loss(name: str, predicted: Tensor, batch: Batch, **settings: object) -> Tensor:
    losses = build_losses([LossSpec.model_validate({"name": name, **settings})], TABLE)
    total: Tensor = losses(predicted, batch)[0]
    return total


def noise(seed: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def patient(seed: int = 0) -> Batch:
    """Two targets and two organs of random fractions in a random dose, float64."""
    parts = {name: noise(seed + i)[0, 0] for i, name in enumerate(("PTV_7000", "PTV_5600", "Rectum", "Bladder"))}
    return batch_of(noise(seed + 10), fractions(SHAPE, parts), MM)


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


def test_gradients_of_a_linear_dose_are_its_slopes_a_mm() -> None:
    z, y, x = torch.meshgrid(*(torch.arange(n) * mm for n, mm in zip(SHAPE, MM, strict=True)), indexing="ij")
    ramp = (0.01 * z - 0.02 * y + 0.03 * x).double()[None, None]
    slopes = sobel(ramp, torch.tensor([MM]).double())
    for found, wanted in zip(slopes, (0.01, -0.02, 0.03), strict=True):
        torch.testing.assert_close(found, torch.full_like(found, wanted))
    case = patient()
    assert float(loss("gradient", case.dose + ramp, case)) == pytest.approx(0.06, rel=1e-6)
    assert float(loss("gradient", case.dose + 0.4, case)) == pytest.approx(0, abs=1e-12)


def test_the_gradient_is_sobels() -> None:
    """Against one dense convolution of 3 x 3 x 3."""
    values, smooth, steep = noise(9), torch.tensor([1.0, 2.0, 1.0]), torch.tensor([-1.0, 0.0, 1.0])
    for axis, found in enumerate(sobel(values, torch.ones(1, 3))):
        parts = [steep if i == axis else smooth for i in range(3)]
        kernel = torch.einsum("i,j,k->ijk", *parts).double()[None, None] / 32
        torch.testing.assert_close(found, functional.conv3d(values, kernel))


def test_a_rim_of_five_millimetres_on_either_side_of_a_wall() -> None:
    for axis, spacing in enumerate((3.0, 2.0, 1.5)):
        wall = torch.zeros(1, 1, 20, 20, 20)
        wall.narrow(2 + axis, 10, 10).fill_(1)
        near = rim(wall, torch.tensor([[3.0, 2.0, 1.5]]), 5.0)
        centres = (torch.arange(20) + 0.5 - 10).abs() * spacing
        line = near.movedim(2 + axis, -1)[0, 0, 3, 7]
        assert torch.equal(line, centres <= 5)
    coarse = rim(wall, torch.full((1, 3), 20.0), 5.0)
    assert int(coarse[0, 0, 3, 3].sum()) == 2


def test_the_rim_of_a_ball_is_a_shell() -> None:
    mm = torch.tensor([2.0, 1.5, 1.0])
    place = torch.stack(torch.meshgrid(*((torch.arange(40) - 19.7) * m for m in mm), indexing="ij"))
    radius = place.square().sum(0).sqrt()
    near = rim((radius < 14).double()[None, None], mm[None], 5.0)[0, 0]
    off = (radius - 14).abs()
    assert bool(near[off <= 5 - 1.4].all())
    assert not bool(near[off > 5 + 1.4].any())
    assert rim(torch.zeros(1, 2, 4, 5, 6), mm[None], 5.0).sum() == 0


def test_where_an_error_lies_decides_what_it_costs() -> None:
    shape = (12, 12, 24)
    target, organ = torch.zeros(shape), torch.zeros(shape)
    target[..., :6] = 1
    organ[..., 18:] = 1
    case = batch_of(torch.zeros(1, 1, *shape), fractions(shape, {"PTV_7000": target, "Rectum": organ}), (2.0, 2.0, 2.0))
    cost = [float(loss("structure_weighted", _at(shape, column), case)) for column in (2, 10, 17, 15, 14, 20, 21)]
    weights = torch.full((24,), 0.5)
    weights[:6], weights[15:21] = 2.0, 1.5
    # Within 5 mm of the face between columns 17 and 18 lie the centres at 1, 3 and 5 mm, on either side.
    wanted = [float(weights[c] / weights.sum()) for c in (2, 10, 17, 15, 14, 20, 21)]
    assert cost == pytest.approx(wanted, rel=1e-5)
    even = torch.full((1, 1, *shape), 0.3)
    assert float(loss("structure_weighted", even, case)) == pytest.approx(0.09)
    assert float(loss("structure_weighted", -even, case, error="absolute")) == pytest.approx(0.3)


def _at(shape: tuple[int, int, int], column: int) -> Tensor:
    error = torch.zeros(1, 1, *shape)
    error[..., column] = 1
    return error


def test_too_little_costs_more_than_too_much_in_targets_only() -> None:
    shape = (4, 5, 6)
    half = torch.full(shape, 0.5)
    case = batch_of(torch.ones(1, 1, *shape), fractions(shape, {"PTV_5600": half}), MM)
    assert float(loss("asymmetric", case.dose - 0.2, case)) == pytest.approx(2.5 * 0.04)
    assert float(loss("asymmetric", case.dose + 0.2, case)) == pytest.approx(0.04)
    other = {"under": 3.0, "over": 0.5, "error": "absolute"}
    assert float(loss("asymmetric", case.dose - 0.2, case, **other)) == pytest.approx(0.6)
    assert float(loss("asymmetric", case.dose + 0.2, case, **other)) == pytest.approx(0.1)
    organ = batch_of(case.dose, fractions(shape, {"Rectum": half}), MM)
    assert float(loss("asymmetric", case.dose - 0.2, organ)) == 0


@pytest.mark.parametrize(
    ("name", "settings"),
    [("dvh", {"targets": ["V70Gy"]}), ("dvh", {"band": 1}), ("asymmetric", {"error": "cubic"}), ("gradient", {"p": 1})],
)
def test_settings_that_are_none(name: str, settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        build_losses([LossSpec.model_validate({"name": name, **settings})], TABLE)


def uncertain(**settings: object) -> WeightedLosses:
    specs = [LossSpec(name="mse", weight=2.0), LossSpec(name="gradient"), LossSpec(name="dvh")]
    return build_losses(specs, TABLE, UncertaintySettings.model_validate(settings))


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


def test_given_starts_and_their_mistakes() -> None:
    given = {"mse": 0.25, "gradient": 0.5, "dvh": 0.125}
    _, said = uncertain(calibrate=0, starts=given)(noise(20), patient())
    assert [float(said[f"factor_{name}"]) for name in given] == pytest.approx([4, 2, 8])
    for wrong, words in (
        ({"starts": {"l1": 1.0}}, "l1"),
        ({"starts": {"mse": 0.0}}, "positive"),
        ({"calibrate": 0, "starts": {"mse": 1.0}}, "gradient"),
    ):
        with pytest.raises(ConfigError, match=words):
            uncertain(**wrong)


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


@pytest.mark.parametrize("twin", ["", "_cpu"])
def test_the_combined_recipes_are_the_baselines_but_for_the_loss(twin: str) -> None:
    baseline, combined = load_recipe(f"baseline_mse{twin}"), load_recipe(f"combined_loss{twin}")
    assert combined.uncertainty is not None
    assert {spec.name for spec in combined.losses} >= {"mse", "gradient", "structure_weighted", "asymmetric", "dvh"}
    same = {name: getattr(baseline, name) for name in ("name", "title", "losses", "uncertainty", "bundle")}
    assert combined.model_copy(update=same) == baseline
