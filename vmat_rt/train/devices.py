"""Which processes and devices a run has, through Lightning Fabric."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.distributed
from lightning_fabric import Fabric

from vmat_rt.errors import ConfigError
from vmat_rt.train.precision import precision_plugin
from vmat_rt.train.recipe import Recipe

Item = TypeVar("Item")


def is_first_process() -> bool:
    """Whether this process speaks for the run: the only one, or the first one on the first machine."""
    names = ("RANK", "LOCAL_RANK") if "RANK" in os.environ else ("LOCAL_RANK", "NODE_RANK")
    return all(os.environ.get(name, "0") == "0" for name in names)


def training_device() -> torch.device:
    """The kind of device that runs are trained on here."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def make_fabric(recipe: Recipe, devices: int) -> Fabric:
    """GPUs where there are some, else processes.

    recipe: of settled precision. Raises ConfigError when there are too few, or the batch is uneven.
    """
    started = os.environ.get("WORLD_SIZE") if "TORCHELASTIC_RUN_ID" in os.environ else None
    world = int(started) if started else devices
    devices = int(os.environ["LOCAL_WORLD_SIZE"]) if started else devices
    present = torch.cuda.device_count() if training_device().type == "cuda" else 0
    if present and devices > present:
        raise ConfigError(f"{devices} devices were asked for, but this machine has {present} CUDA devices")
    if devices < 1 or recipe.batch % world:
        raise ConfigError(f"a batch of {recipe.batch} cannot be shared evenly by {world} devices; change batch")
    return Fabric(
        accelerator=training_device().type,
        devices=devices,
        num_nodes=world // devices,
        strategy="ddp" if world > 1 else "auto",
        plugins=precision_plugin(recipe, training_device()),
    )


def gathered(fabric: Fabric, own: Sequence[Item]) -> list[Item]:
    """The items of all devices, on each of them; they must pickle."""
    if fabric.world_size == 1:
        return list(own)
    parts: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(parts, list(own))
    return [item for part in parts for item in part]
