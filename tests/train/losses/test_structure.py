"""Losses that weigh voxels by their structures: rims, weights, targets, in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.train.batches import MM, batch_of, fractions, loss
from vmat_rt.train.losses.structure import rim


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
