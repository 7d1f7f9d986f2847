"""Batches of one made-up patient, for tests of losses."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vmat_rt.protocol import load_protocol
from vmat_rt.train.batch import Batch, structure_table
from vmat_rt.train.losses import LossSpec, WeightedLosses, build_losses
from vmat_rt.train.losses.uncertainty import UncertaintySettings

TABLE = structure_table(load_protocol("prostate_sib_70_56"))


def fractions(shape: tuple[int, ...], parts: Mapping[str, Tensor]) -> Tensor:
    """(1, s, z, y, x): the named structures, the others empty."""
    empty = torch.zeros(shape)
    return torch.stack([parts.get(name, empty) for name in TABLE.names])[None]


def batch_of(dose: Tensor, structures: Tensor, voxel_mm: tuple[float, float, float]) -> Batch:
    """All of the grid is body, and every structure that is there is whole."""
    present = structures.flatten(2).sum(2) > 0
    return Batch(
        array=torch.zeros(1, 1, *dose.shape[2:]),
        condition=torch.zeros(1, 1),
        dose=dose,
        body=torch.ones_like(dose),
        structures=structures.to(dose.dtype),
        present=present,
        whole=present,
        highest_gy=torch.full((1,), 70.0),
        voxel_mm=torch.tensor([voxel_mm]),
        keys=("a",),
    )


SHAPE = (7, 9, 11)
MM = (3.0, 2.0, 1.5)


def loss(name: str, predicted: Tensor, batch: Batch, **settings: object) -> Tensor:
    losses = build_losses([LossSpec.model_validate({"name": name, **settings})], TABLE)
    total: Tensor = losses(predicted, batch)[0]
    return total


def noise(seed: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def patient(seed: int = 0) -> Batch:
    """Two targets and two organs of random fractions in a random dose, float64."""
    parts = {name: noise(seed + i)[0, 0] for i, name in enumerate(("PTV_7000", "PTV_5600", "Rectum", "Bladder"))}
    return batch_of(noise(seed + 10), fractions(SHAPE, parts), MM)


def uncertain(**settings: object) -> WeightedLosses:
    specs = [LossSpec(name="mse", weight=2.0), LossSpec(name="gradient"), LossSpec(name="dvh")]
    return build_losses(specs, TABLE, UncertaintySettings.model_validate(settings))
