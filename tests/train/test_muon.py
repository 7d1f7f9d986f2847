"""Muon: orthogonal steps, AdamW for the rest, and a state that survives a checkpoint."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from vmat_rt.nn.unet import UNet, UNetSettings
from vmat_rt.train.losses import WeightedLosses
from vmat_rt.train.muon import Muon, orthogonalised
from vmat_rt.train.objective import Objective, build_optimiser
from vmat_rt.train.recipe import OptimiserSettings

SETTINGS = OptimiserSettings(lr=1e-3, matrix_lr=2e-2, weight_decay=1e-2)


def objective() -> Objective:
    torch.manual_seed(0)
    return Objective(UNet(UNetSettings(width=4, levels=1, embedding=8), 3, 2), WeightedLosses({}, {}, None))


@pytest.mark.parametrize("shape", [(8, 54), (54, 8), (16, 16)])
def test_singular_values_end_near_one_and_directions_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    matrix = torch.randn(shape) * 1e-3
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalised(matrix)
    inner = u.T @ found @ v.T
    assert found.shape == shape
    large = s > 0.05 * s.max()
    assert ((inner.diag()[large] > 0.6) & (inner.diag()[large] < 1.3)).all()
    assert (inner - inner.diag().diag()).abs().max() < 1e-3


def test_no_gradient_is_no_step() -> None:
    assert torch.equal(orthogonalised(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_every_parameter_is_in_one_group_and_only_hidden_matrices_are_orthogonal() -> None:
    own = objective()
    optimiser = build_optimiser(own, SETTINGS)
    grouped = [id(p) for group in optimiser.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in own.parameters())
    orthogonal = {id(p) for group in optimiser.param_groups if group["orthogonal"] for p in group["params"]}
    named = {name for name, p in own.network.named_parameters() if id(p) in orthogonal}
    assert "encoder.0.first.weight" in named
    assert "decoder.0.film.weight" in named
    assert not any(name.startswith(("head", "embed")) or name.endswith("bias") for name in named)


def test_the_input_channels_and_film_can_be_left_to_adamw() -> None:
    own = objective()
    optimiser = build_optimiser(own, SETTINGS.model_copy(update={"matrix_ends": False}))
    grouped = [id(p) for group in optimiser.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in own.parameters())
    orthogonal = {id(p) for group in optimiser.param_groups if group["orthogonal"] for p in group["params"]}
    named = {name for name, p in own.network.named_parameters() if id(p) in orthogonal}
    assert named == {
        *(f"{block}.{one}.weight" for block in ("bottleneck", "decoder.0") for one in ("first", "second")),
        "encoder.0.second.weight",
        "decoder.0.shortcut.weight",
    }


def test_without_a_matrix_lr_it_is_adamw() -> None:
    optimiser = build_optimiser(objective(), OptimiserSettings(lr=1e-3))
    assert type(optimiser) is torch.optim.AdamW


def test_groups_that_are_not_orthogonal_step_as_adamw_does() -> None:
    weights = [nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2)]
    group = {"params": [weights[0]], "orthogonal": False}
    ours, theirs = Muon([group], lr=0.1), torch.optim.AdamW([weights[1]], lr=0.1)
    for _ in range(5):
        for weight, optimiser in zip(weights, (ours, theirs), strict=True):
            optimiser.zero_grad()
            (weight**2).sum().backward()
            optimiser.step()
    assert torch.equal(weights[0], weights[1])


def test_a_step_has_its_size_in_every_direction_whatever_the_gradient() -> None:
    torch.manual_seed(2)
    steps = []
    for scale in (1e-4, 1e4):
        weight = nn.Parameter(torch.zeros(4, 2, 3, 3, 3))
        torch.manual_seed(3)
        weight.grad = scale * torch.randn_like(weight)
        Muon([{"params": [weight], "orthogonal": True, "weight_decay": 0.0}], lr=0.5).step()
        steps.append(weight.detach().reshape(4, -1))
    values = torch.linalg.svdvals(steps[0])
    assert ((values > 0.3) & (values < 0.65)).all()
    torch.testing.assert_close(steps[0], steps[1], rtol=1e-2, atol=1e-3)


def test_it_goes_on_after_a_checkpoint_as_if_nothing_had_happened(tmp_path) -> None:  # type: ignore[no-untyped-def]
    whole = objective()
    optimiser = build_optimiser(whole, SETTINGS)
    inputs = [torch.randn(1, 3, 8, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(6)]

    def advance(own: Objective, through: torch.optim.Optimizer, x: torch.Tensor) -> None:
        through.zero_grad()
        own.network(x, torch.ones(1, 2)).square().mean().backward()
        through.step()

    for x in inputs[:3]:
        advance(whole, optimiser, x)
    torch.save({"network": whole.state_dict(), "optimiser": optimiser.state_dict()}, tmp_path / "c.pt")
    resumed = objective()
    again = build_optimiser(resumed, SETTINGS)
    state = torch.load(tmp_path / "c.pt", weights_only=True)
    resumed.load_state_dict(state["network"])
    again.load_state_dict(copy.deepcopy(state["optimiser"]))
    for x in inputs[3:]:
        advance(whole, optimiser, x)
        advance(resumed, again, x)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
