"""Losses by name, and their weighted sum. A loss is added by one class and one line of LOSSES."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vmat_rt.errors import ConfigError
from vmat_rt.strict import checked
from vmat_rt.train.batch import Batch, StructureTable
from vmat_rt.train.losses.dvh import Dvh, OpenKbpDvh
from vmat_rt.train.losses.structure import Asymmetric, StructureWeighted
from vmat_rt.train.losses.term import Term
from vmat_rt.train.losses.uncertainty import Uncertainty, UncertaintySettings
from vmat_rt.train.losses.voxel import Absolute, Gradient, Squared

LOSSES: dict[str, type[Term]] = {
    "mse": Squared,
    "l1": Absolute,
    "gradient": Gradient,
    "structure_weighted": StructureWeighted,
    "asymmetric": Asymmetric,
    "dvh": Dvh,
    "openkbp_dvh": OpenKbpDvh,
}


class LossSpec(BaseModel):
    """One term of a recipe's loss: its name, its weight, and whatever its class's Settings has besides.

    after: the share of the steps that are taken without it.
    """

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    name: str
    weight: float = Field(default=1.0, gt=0)
    after: float = Field(default=0.0, ge=0, lt=1)

    @property
    def own(self) -> dict[str, Any]:
        """The settings that belong to this loss alone."""
        return dict(self.model_extra or {})


class WeightedLosses(nn.Module):
    """forward(predicted (n, 1, z, y, x) relative, batch) -> (weighted sum, each term by name, before its weight).

    Every term is a mean over cases of a value a case: then n cases on one device, or n / k on each of k, weigh alike.
    With uncertainty the sum is that of vmat_rt.train.losses.uncertainty, and `factor_NAME` says what each term is
    multiplied with besides its weight. A term counts once `done`, the share of the steps that are taken, reaches its
    `after`; it is computed before as well, so that it can be watched.
    """

    weights: Tensor
    after: Tensor

    def __init__(
        self, terms: Mapping[str, nn.Module], specs: Mapping[str, LossSpec], uncertainty: UncertaintySettings | None
    ) -> None:
        super().__init__()
        self.terms = nn.ModuleDict(terms)
        self.done = 0.0
        self.register_buffer("weights", torch.tensor([specs[name].weight for name in terms]), persistent=False)
        self.register_buffer("after", torch.tensor([specs[name].after for name in terms]), persistent=False)
        self.uncertainty = None if uncertainty is None else Uncertainty(uncertainty, tuple(terms))

    def forward(self, predicted: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        values = torch.stack([term(predicted, batch) for term in self.terms.values()])
        weights = torch.where(self.after <= self.done, self.weights, 0)
        said = dict(zip(self.terms, values.detach(), strict=True))
        if self.uncertainty is None:
            return (weights * values).sum(), said
        total = self.uncertainty(values, weights)
        factors = zip(self.terms, self.uncertainty.factors(), strict=True)
        return total, said | {f"factor_{name}": factor for name, factor in factors}


def build_losses(
    specs: Sequence[LossSpec], table: StructureTable, uncertainty: UncertaintySettings | None = None
) -> WeightedLosses:
    """The losses of a recipe. Raises ConfigError for an unknown name, a name twice, or a setting that it lacks."""
    names = [spec.name for spec in specs]
    if not names or len(set(names)) != len(names):
        raise ConfigError(f"losses must be named, each once, not {names}")
    terms = {spec.name: _built(spec, table) for spec in specs}
    if not any(spec.after == 0 for spec in specs):
        raise ConfigError("losses: one term at least must count from the first step, with after: 0")
    return WeightedLosses(terms, {spec.name: spec for spec in specs}, uncertainty)


def _built(spec: LossSpec, table: StructureTable) -> nn.Module:
    kind = LOSSES.get(spec.name)
    if kind is None:
        raise ConfigError(f"no loss is called {spec.name!r}; there are {', '.join(LOSSES)}")
    return kind(checked(kind.Settings, spec.own, f"loss {spec.name}"), table)
