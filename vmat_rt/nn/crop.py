"""The box round the body: most of a grid is air, of which a network need not think. For training and prediction."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from vmat_rt.grid import Box

_TRACE: Final = 0.5 / 255
"""Training keeps fractions as bytes: less body than this is none there, so it is none in prediction either."""

_FEWEST: Final = 3
"""Voxels a side at a network's lowest level, where the grid has them."""


def body_box(body: Tensor, multiple: int) -> Box:
    """The smallest box (z, y, x) round all that is body in (n, z, y, x), in whole multiples where the grid allows.

    At least three multiples a side, centred on the body. Without any body it is the whole grid.
    """
    found = (body > _TRACE).any(dim=0)
    return _side(found, 0, multiple), _side(found, 1, multiple), _side(found, 2, multiple)


def _side(found: Tensor, axis: int, multiple: int) -> slice:
    size = found.shape[axis]
    others = [a for a in range(3) if a != axis]
    places = torch.nonzero(found.any(dim=others[1]).any(dim=others[0])).flatten()
    if not places.numel():
        return slice(0, size)
    first, last = int(places[0]), int(places[-1])
    length = min(max(-(-(last - first + 1) // multiple), _FEWEST) * multiple, size)
    start = min(max((first + last + 1 - length) // 2, 0), size - length)
    return slice(start, start + length)
