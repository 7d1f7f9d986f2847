"""Windows that cover a grid, and how their outputs are put together."""

from __future__ import annotations

import itertools

import pytest
import torch

from vmat_rt.nn.windows import Window, corners, gaussian_weight, slide

SIZES = [(17, 23, 31), (8, 8, 8), (5, 40, 9), (16, 12, 33)]
WINDOWS = [
    Window(patch=(8, 10, 12), overlap=(4, 5, 6)),
    Window(patch=(8, 10, 12), overlap=(0, 0, 0)),
    Window(patch=(9, 9, 9), overlap=(8, 1, 5)),
    Window(),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", WINDOWS)
def test_the_identity_comes_back(size: tuple[int, int, int], window: Window) -> None:
    """Up to 9 x 2 x 3 patches meet in a voxel: 54 float32 summands and a division, each rounding by 6e-8 of |x| < 6."""
    torch.manual_seed(1)
    x = torch.randn(1, 2, *size)
    torch.testing.assert_close(slide(lambda part: part, x, window), x, rtol=0, atol=55 * 6e-8 * 6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", WINDOWS)
def test_patches_reach_every_border_and_overlap_as_asked(size: tuple[int, int, int], window: Window) -> None:
    patch = tuple(min(p, n) for p, n in zip(window.patch, size, strict=True))
    found = list(corners(size, (patch[0], patch[1], patch[2]), window))
    for axis in range(3):
        starts = sorted({corner[axis] for corner in found})
        assert starts[0] == 0
        assert starts[-1] + patch[axis] == size[axis]
        steps = [b - a for a, b in itertools.pairwise(starts)]
        assert all(step <= patch[axis] - window.overlap[axis] or step == 1 for step in steps)


def test_a_pointwise_network_gives_the_same_in_windows_as_at_once() -> None:
    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Conv3d(3, 8, 1), torch.nn.SiLU(), torch.nn.Conv3d(8, 1, 1))
    x = torch.randn(2, 3, 19, 21, 37)
    with torch.inference_mode():
        torch.testing.assert_close(slide(network, x, WINDOWS[0]), network(x), rtol=1e-5, atol=1e-6)


def test_the_middle_of_a_patch_counts_most() -> None:
    weight = gaussian_weight((16, 8, 24))
    assert weight[8, 4, 12] == weight.max()
    assert weight.min() > 0
    torch.testing.assert_close(weight, weight.flip(0, 1, 2))
    # One sigma, an eighth of the patch, from the middle: exp(-1/2).
    along = gaussian_weight((81, 1, 1))[:, 0, 0]
    assert along[40 + 10] / along[40] == pytest.approx(torch.exp(torch.tensor(-0.5 * (10 / (81 / 8)) ** 2)).item())


def test_seams_are_blended() -> None:
    """Patches that disagree by a constant meet in a ramp, not a step."""
    seen = iter(range(100))
    x = torch.zeros(1, 1, 4, 4, 24)
    output = slide(lambda part: part + next(seen), x, Window(patch=(4, 4, 16), overlap=(0, 0, 8)))[0, 0, 2, 2]
    assert output[0] == 0
    assert output[-1] == 1
    assert (output.diff() >= 0).all()
    assert output.diff().max() < 0.5


def test_an_overlap_as_long_as_the_patch_is_refused() -> None:
    with pytest.raises(ValueError, match="less than the patch"):
        Window(patch=(8, 8, 8), overlap=(4, 8, 4))
