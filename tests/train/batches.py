"""Batches of one made-up patient, for tests of losses."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vmat_rt.protocol import load_protocol
from vmat_rt.train.batch import Batch, structure_table

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
