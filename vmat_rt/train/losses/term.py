"""What every loss is: a term that gives one number a case, in relative dose."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from vmat_rt.strict import Strict
from vmat_rt.train.batch import Batch, Role, StructureTable


class Term(nn.Module):
    """A loss: forward(predicted (n, 1, z, y, x) relative, batch) -> the mean over cases of a value a case.

    Settings: what a recipe may say of it besides name and weight.
    """

    Settings: type[BaseModel]

    def __init__(self, settings: Any, table: StructureTable) -> None:
        super().__init__()
        self.settings, self.table = settings, table


class TermSettings(Strict):
    """Settings of a loss; unknown keys are errors."""

    model_config = ConfigDict(allow_inf_nan=False)


class NoSettings(TermSettings):
    """A loss without settings of its own."""


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean over cases of each case's weighted mean, both (n, 1, z, y, x).

    A case of less than one voxel in all (a patch of air, a case without targets) counts as zero.
    """
    axes = (1, 2, 3, 4)
    return ((values * weights).sum(axes) / weights.sum(axes).clamp_min(1)).mean()


def union(batch: Batch, table: StructureTable, role: Role) -> Tensor:
    """Fraction (n, 1, z, y, x) of each voxel that is in some structure of the role: the largest of theirs."""
    chosen = list(table.of_role(role))
    if not chosen:
        return torch.zeros_like(batch.body)
    return batch.structures[:, chosen].amax(dim=1, keepdim=True)
