"""Batch: what one step of training sees, and StructureTable: what its structure channels are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
from torch import Tensor

from vmat_rt.grid import Box
from vmat_rt.protocol import Protocol

Role = Literal["target", "oar"]


@dataclass(frozen=True)
class StructureTable:
    """A run's structures, the same in every batch: TG-263 names, roles, and a target's usual dose (Gy, or None)."""

    names: tuple[str, ...]
    roles: tuple[Role, ...]
    dose_gy: tuple[float | None, ...]

    def of_role(self, role: Role) -> tuple[int, ...]:
        """Indices of the structures of one role."""
        return tuple(index for index, own in enumerate(self.roles) if own == role)


def structure_table(protocol: Protocol) -> StructureTable:
    """Targets, then organs at risk, in the protocol's order."""
    targets, organs = protocol.with_role("target"), protocol.with_role("oar")
    roles: list[Role] = ["target"] * len(targets)
    roles += ["oar"] * len(organs)
    return StructureTable(
        names=tuple(spec.name for spec in (*targets, *organs)),
        roles=tuple(roles),
        dose_gy=tuple(spec.dose_gy for spec in (*targets, *organs)),
    )


@dataclass(frozen=True)
class Batch:
    """n cases, or patches of cases, of one shape.

    array: network inputs (n, c, z, y, x). condition: (n, k). dose: relative to highest_gy (n, 1, z, y, x). body and
    structures: area fractions (n, 1, z, y, x) and (n, s, z, y, x), s as in the run's StructureTable. present (n, s):
    the case has the structure; whole (n, s): and all of it lies within this (patch of the) grid. highest_gy (n,): Gy
    that a relative dose of 1 stands for. voxel_mm (n, 3): spacing (z, y, x). keys: whose.

    array and dose may arrive in half precision and fractions in bytes; `to` turns all into float32 on the device.
    """

    array: Tensor
    condition: Tensor
    dose: Tensor
    body: Tensor
    structures: Tensor
    present: Tensor
    whole: Tensor
    highest_gy: Tensor
    voxel_mm: Tensor
    keys: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.keys)

    def tensors(self) -> dict[str, Tensor]:
        """Everything but the keys, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "keys"}

    def to(self, device: torch.device | str) -> Batch:
        """The batch on a device: float32, fractions in [0, 1]."""
        moved = {name: _real(tensor.to(device, non_blocking=True)) for name, tensor in self.tensors().items()}
        return Batch(**moved, keys=self.keys)

    def within(self, box: Box) -> Batch:
        """The part of it in a box (z, y, x) that holds all of the body."""
        names = ("array", "dose", "body", "structures")
        return replace(self, **{name: getattr(self, name)[(..., *box)] for name in names})

    def case(self, index: int) -> Batch:
        """One of its cases, as a batch of one."""
        parts = {name: tensor[index : index + 1] for name, tensor in self.tensors().items()}
        return Batch(**parts, keys=self.keys[index : index + 1])


def _real(tensor: Tensor) -> Tensor:
    if tensor.dtype == torch.uint8:
        return tensor.float() / 255
    return tensor.float() if tensor.is_floating_point() else tensor


def collate(batches: Sequence[Batch]) -> Batch:
    """Several batches of one shape as one."""
    parts = [batch.tensors() for batch in batches]
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return Batch(**joined, keys=tuple(key for batch in batches for key in batch.keys))
