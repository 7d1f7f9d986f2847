"""Losses that weigh voxels by how much body they hold."""

from __future__ import annotations

import torch
from torch import Tensor

from vmat_rt.train.batch import Batch
from vmat_rt.train.losses.term import NoSettings, Term, weighted_mean


class Squared(Term):
    """Mean squared error of the relative dose inside the body: mean over the body of a case, then over cases."""

    Settings = NoSettings

    def forward(self, predicted: Tensor, batch: Batch) -> Tensor:
        return weighted_mean((predicted - batch.dose).square(), batch.body)


class Absolute(Term):
    """Mean absolute error of the relative dose inside the body: mean over the body of a case, then over cases."""

    Settings = NoSettings

    def forward(self, predicted: Tensor, batch: Batch) -> Tensor:
        return weighted_mean((predicted - batch.dose).abs(), batch.body)


class Gradient(Term):
    """Absolute difference of the dose gradients, relative dose per mm: the sum over z, y and x, mean over the body.

    Gradients are those of a 3-D Sobel filter (Sobel & Feldman 1968) in physical units, exact for a dose that is linear
    in mm, whatever the spacing. A voxel counts as far as its whole neighbourhood of 3 x 3 x 3 is body: what a network
    says of the air beyond the skin, or a patch of what lies beyond it, does not matter.
    """

    Settings = NoSettings

    def forward(self, predicted: Tensor, batch: Batch) -> Tensor:
        # The filter is linear: that of the difference is the difference of the two.
        slopes = sobel(predicted - batch.dose, batch.voxel_mm)
        total = slopes[0].abs() + slopes[1].abs() + slopes[2].abs()
        return weighted_mean(total, _inner(batch.body))


def sobel(values: Tensor, voxel_mm: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Slopes along z, y and x of values (n, 1, z, y, x), a mm, each (n, 1, z - 2, y - 2, x - 2): no voxel is made up.

    voxel_mm (n, 3). Empty where an axis has fewer than three voxels.
    """
    if min(values.shape[2:]) < 3:
        empty = values[:, :, :0, :0, :0]
        return empty, empty, empty
    smooth_x, steep_x = _smoothed(values, 4), _slope(values, 4)
    smooth_yx, steep_y = _smoothed(smooth_x, 3), _slope(smooth_x, 3)
    slopes = _slope(smooth_yx, 2), _smoothed(steep_y, 2), _smoothed(_smoothed(steep_x, 3), 2)
    # Smoothing in two directions weighs 4 * 4, and the slope spans two voxels.
    z, y, x = (1 / (32 * voxel_mm.to(values.dtype))).view(-1, 3, 1, 1, 1, 1).unbind(1)
    return slopes[0] * z, slopes[1] * y, slopes[2] * x


def _slope(values: Tensor, axis: int) -> Tensor:
    inner = values.shape[axis] - 2
    return values.narrow(axis, 2, inner) - values.narrow(axis, 0, inner)


def _smoothed(values: Tensor, axis: int) -> Tensor:
    pairs = values.narrow(axis, 0, values.shape[axis] - 1) + values.narrow(axis, 1, values.shape[axis] - 1)
    return pairs.narrow(axis, 0, pairs.shape[axis] - 1) + pairs.narrow(axis, 1, pairs.shape[axis] - 1)


def _inner(fraction: Tensor) -> Tensor:
    """The smallest of each 3 x 3 x 3 neighbourhood that lies within the array."""
    if min(fraction.shape[2:]) < 3:
        return fraction[:, :, :0, :0, :0]
    for axis in (2, 3, 4):
        inner = fraction.shape[axis] - 2
        first, second, third = (fraction.narrow(axis, start, inner) for start in range(3))
        fraction = torch.minimum(torch.minimum(first, second), third)
    return fraction
