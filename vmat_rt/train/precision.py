"""Where 16 bits must not be used."""

from __future__ import annotations

import math

from vmat_rt.errors import ConfigError
from vmat_rt.grid import Shape

_BROKEN_DEPTH = 2


def require_true_gradients(precision: str, device: str, shape: Shape, levels: int) -> None:
    """Refuse bfloat16 on a CPU where the lowest level of a U-Net is two voxels deep (z); shape is its input's.

    torch 2.13 on CPUs with bfloat16 instructions then takes the weights' gradients of a padded 3 x 3 x 3 convolution
    partly from memory that nobody wrote: training is spoiled now and then without a word. Other depths are right.
    """
    depth = math.ceil(shape[0] / 2**levels)
    if device == "cpu" and precision != "32-true" and depth == _BROKEN_DEPTH:
        raise ConfigError(
            f"{precision} on a CPU gives wrong gradients for {shape[0]} voxels along z and {levels} levels; "
            "set precision=32-true, or take other unet.levels"
        )
