"""Losses that weigh voxels by how much body they hold."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from vmat_rt.train.batch import Batch, StructureTable


class Term(nn.Module):
    """A loss: forward(predicted (n, 1, z, y, x) relative, batch) -> the mean over cases of a value a case.

    Settings: what a recipe may say of it besides name and weight.
    """

    Settings: type[BaseModel]

    def __init__(self, settings: Any, table: StructureTable) -> None:
        super().__init__()
        self.settings, self.table = settings, table


class NoSettings(BaseModel):
    """A loss without settings of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Squared(Term):
    """Mean squared error of the relative dose inside the body: mean over the body of a case, then over cases."""

    Settings = NoSettings

    def forward(self, predicted: Tensor, batch: Batch) -> Tensor:
        return body_mean((predicted - batch.dose).square(), batch)


class Absolute(Term):
    """Mean absolute error of the relative dose inside the body: mean over the body of a case, then over cases."""

    Settings = NoSettings

    def forward(self, predicted: Tensor, batch: Batch) -> Tensor:
        return body_mean((predicted - batch.dose).abs(), batch)


def body_mean(values: Tensor, batch: Batch) -> Tensor:
    """Mean over cases of each case's mean over its body, of values (n, 1, z, y, x); a patch of air counts as zero."""
    axes = (1, 2, 3, 4)
    return ((values * batch.body).sum(axes) / batch.body.sum(axes).clamp_min(1)).mean()
