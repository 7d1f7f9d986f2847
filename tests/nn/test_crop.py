"""The box round the body holds all of it, is made of whole multiples, and changes nothing that is inside."""

from __future__ import annotations

import pytest
import torch

from vmat_rt.nn.crop import body_box
from vmat_rt.nn.infer import Crop, Plan, run_network


def bodies(*places: tuple[int, int, int], shape: tuple[int, int, int] = (40, 64, 30)) -> torch.Tensor:
    body = torch.zeros(len(places), *shape)
    for index, place in enumerate(places):
        body[(index, *place)] = 0.01
    return body


def lengths(box: tuple[slice, slice, slice]) -> list[int]:
    return [side.stop - side.start for side in box]


@pytest.mark.parametrize("multiple", [1, 4, 8])
def test_all_bodies_are_inside(multiple: int) -> None:
    body = bodies((3, 20, 1), (30, 63, 2))
    box = body_box(body, multiple)
    assert body[(..., *box)].sum() == body.sum()
    assert lengths(box)[0] == max(28, 3 * multiple) if 28 % multiple == 0 else lengths(box)[0] % multiple == 0
    assert all(length <= size for length, size in zip(lengths(box), body.shape[1:], strict=True))


def test_a_small_body_gets_three_multiples_and_a_small_grid_all_of_itself() -> None:
    assert body_box(bodies((20, 20, 15)), 8) == (slice(8, 32), slice(8, 32), slice(3, 27))
    assert lengths(body_box(bodies((0, 63, 0)), 16)) == [40, 48, 30]
    assert body_box(torch.full((1, 4, 4, 4), 0.001), 2) == (slice(0, 4),) * 3, "a trace of body is none"


def test_the_network_sees_the_box_and_nothing_else_is_predicted() -> None:
    body = bodies((20, 20, 15))
    x = torch.stack([torch.randn(body.shape), body], dim=1)
    seen = []

    def network(part: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        seen.append(part)
        return part[:, :1] + 7

    condition = torch.zeros(1, 1)
    found = run_network(network, x, condition, Plan(crop=Crop(body_channel=1, multiple=8)))
    box = (..., *body_box(body, 8))
    assert torch.equal(seen[0], x[box])
    assert torch.equal(found[box], x[:, :1][box] + 7)
    found[box] = 0
    assert not found.any()
