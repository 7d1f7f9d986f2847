"""Gaussian-weighted sliding window: a network applied patch by patch, where a whole grid does not fit or a bundle asks.

The weighting is that of nnU-Net (Isensee et al., Nature Methods 18 (2021) 203): the middle of a patch, which sees most
of its surroundings, counts most.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import torch
from pydantic import model_validator
from torch import Tensor

from vmat_rt.grid import Shape
from vmat_rt.strict import Strict

_SIGMA_SHARE = 1 / 8
_LEAST_WEIGHT = 1e-4  # so that a corner that one patch alone covers is still divided by more than rounding


class Window(Strict):
    """Size of a patch and how far neighbouring patches overlap at least, voxels (z, y, x)."""

    patch: Shape = (128, 128, 128)
    overlap: Shape = (64, 64, 64)

    @model_validator(mode="after")
    def _patches_advance(self) -> Window:
        if any(not 0 <= o < p for p, o in zip(self.patch, self.overlap, strict=True)):
            raise ValueError(f"the overlap {self.overlap} must be at least 0 and less than the patch {self.patch}")
        return self


def slide(network: Callable[[Tensor], Tensor], x: Tensor, window: Window) -> Tensor:
    """Apply a network to x (n, c, z, y, x) in patches -> (n, c', z, y, x), float32; weights sum to one in every voxel.

    It takes and gives patches of one spatial size. Where the grid is smaller than a patch, the patch is the grid.
    """
    size = (x.shape[2], x.shape[3], x.shape[4])
    patch = (min(window.patch[0], size[0]), min(window.patch[1], size[1]), min(window.patch[2], size[2]))
    weight = gaussian_weight(patch).to(x.device)
    total: Tensor | None = None
    covered = torch.zeros(size, device=x.device)
    for z, y, left in corners(size, patch, window):
        place = (..., slice(z, z + patch[0]), slice(y, y + patch[1]), slice(left, left + patch[2]))
        part = network(x[place]).float() * weight
        if total is None:
            total = x.new_zeros((*part.shape[:2], *size), dtype=torch.float32)
        total[place] += part
        covered[place] += weight
    assert total is not None  # a grid has at least one patch
    return total / covered


def corners(size: Shape, patch: Shape, window: Window) -> Iterator[tuple[int, int, int]]:
    """First voxels (z, y, x) of the patches: evenly spread, from border to border, overlapping at least as asked."""
    z, y, x = (_starts(n, p, o) for n, p, o in zip(size, patch, window.overlap, strict=True))
    return itertools.product(z, y, x)


def gaussian_weight(patch: Shape) -> Tensor:
    """Weight of each voxel of a patch (z, y, x), 1 in the middle; sigma is an eighth of the patch along each axis."""
    z, y, x = (_bell(n) for n in patch)
    return (z[:, None, None] * y[:, None] * x).clamp_min(_LEAST_WEIGHT)


def _bell(size: int) -> Tensor:
    offset = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    return torch.exp(-0.5 * (offset / (size * _SIGMA_SHARE)) ** 2)


def _starts(size: int, patch: int, overlap: int) -> list[int]:
    last = size - patch
    # A patch that the grid cut down may be no longer than the overlap: it covers the axis alone.
    steps = math.ceil(last / (patch - overlap)) if last else 0
    return [round(last * i / steps) for i in range(steps + 1)] if steps else [0]
