"""In which precision a run is trained, and where 16 bits must not be used."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from lightning_fabric.plugins.precision import MixedPrecision, Precision

from vmat_rt.errors import ConfigError
from vmat_rt.grid import Shape
from vmat_rt.nn.device import sixteen_bit_types
from vmat_rt.train.recipe import Recipe

log = logging.getLogger("vmat_rt")
_MIXED = {torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}
_BROKEN_DEPTH = 2


def settle_precision(recipe: Recipe, device: torch.device) -> Recipe:
    """The recipe with `auto` replaced by the first 16 bits that the device has hardware for, or else by 32-true.

    Raises ConfigError for 16 bits, asked for by name, that it has no hardware for.
    """
    there = [_MIXED[dtype] for dtype in sixteen_bit_types(device)]
    if recipe.precision == "auto":
        precision = there[0] if there else "32-true"
        log.info("precision auto: %s on this %s", precision, _name(device))
        return recipe.model_copy(update={"precision": precision})
    if recipe.precision not in ("32-true", *there):
        remedy = " or ".join(f"precision={name}" for name in ("auto", *there, "32-true"))
        raise ConfigError(f"this {_name(device)} does not compute in {recipe.precision}: set {remedy}")
    return recipe


def _name(device: torch.device) -> str:
    return "processor" if device.type == "cpu" else torch.cuda.get_device_name(device)


class SixteenBitLayers(MixedPrecision):
    """Layers compute in 16 bits by autocast; what goes into a step keeps its type.

    Fabric's own would round inputs, too, and with them the clinical dose, the body and the structures that the losses
    compare: 70 Gy by up to a quarter of a gray in bfloat16, and sums over a body overflow in float16.
    """

    def convert_input(self, data: Any) -> Any:
        return data


def precision_plugin(recipe: Recipe, device: torch.device) -> Precision:
    """Lightning Fabric's plugin for a recipe of settled precision."""
    assert recipe.precision != "auto"
    if recipe.precision == "32-true":
        return Precision()
    return SixteenBitLayers(recipe.precision, device.type)


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
