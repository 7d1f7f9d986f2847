"""Losses of single voxels and of their gradients, in closed form and against one dense convolution."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from tests.train.batches import MM, SHAPE, loss, noise, patient
from vmat_rt.train.losses.voxel import sobel


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
