"""Weights that are learned with the network, after Kendall, Gal & Cipolla (CVPR 2018): uncertainty by log-variances.

A term L with the log-variance s counts exp(-s) L + s. At the minimum exp(s) = L: all terms then contribute alike, in
whatever units they come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.distributed
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vmat_rt.errors import ConfigError

SMALLEST = 1e-8
"""What a term starts from that is zero in every batch of the calibration."""


class UncertaintySettings(BaseModel):
    """calibrate: the first batches, whose mean of each term gives its start, s = log(mean): all begin with equal
    contributions (times their weights in the recipe). starts: values by the name of the loss that are taken instead.
    limit: s stays within this of its start, a factor of exp(limit) either way.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    calibrate: int = Field(default=8, ge=0)
    starts: Mapping[str, float] = {}
    limit: float = Field(default=3.0, gt=0)


class Uncertainty(nn.Module):
    """forward(values (k,) of the terms, their weights (k,)) -> weighted sum of exp(-s) L + (s - start).

    The start is left out of what is added: a constant, and the loss then begins at the sum of the weights. `change` is
    learned, without weight decay, and bounded smoothly so that it can come back. The rest is kept in buffers, so that a
    checkpoint taken while calibrating goes on calibrating.
    """

    starts: Tensor
    sums: Tensor
    seen: Tensor

    def __init__(self, settings: UncertaintySettings, names: Sequence[str]) -> None:
        """Raises ConfigError for a start of no loss, one that is not positive, or none where nothing is calibrated."""
        super().__init__()
        _check(settings, names)
        self.settings = settings
        self.change = nn.Parameter(torch.zeros(len(names)))
        given = torch.tensor([settings.starts.get(name, 1.0) for name in names])
        self.calibrated = tuple(name not in settings.starts for name in names)
        self.register_buffer("starts", given.log())
        self.register_buffer("sums", torch.zeros(len(names)))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, values: Tensor, weights: Tensor) -> Tensor:
        # Not where somebody only looks at a loss.
        if self.training and torch.is_grad_enabled():
            self.calibrate(values.detach())
        drift = self.drift()
        return (weights * (torch.exp(-self.starts - drift) * values + drift)).sum()

    def drift(self) -> Tensor:
        """How far each s is from its start."""
        return self.settings.limit * torch.tanh(self.change / self.settings.limit)

    def factors(self) -> Tensor:
        """exp(-s): what each term is multiplied with at present."""
        return torch.exp(-self.starts - self.drift()).detach()

    @torch.no_grad()
    def calibrate(self, values: Tensor) -> None:
        """Take one more batch into the means that are the starts; afterwards nothing."""
        if int(self.seen) >= self.settings.calibrate:
            return
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # Every device must have the same weights.
            values = values.clone()
            torch.distributed.all_reduce(values)
            values /= torch.distributed.get_world_size()
        self.seen += 1
        self.sums += values
        chosen = torch.tensor(self.calibrated, device=values.device)
        means = (self.sums / self.seen).clamp_min(SMALLEST)
        self.starts.copy_(torch.where(chosen, means.log(), self.starts))


def _check(settings: UncertaintySettings, names: Sequence[str]) -> None:
    strange = [name for name in settings.starts if name not in names]
    if strange:
        raise ConfigError(f"uncertainty.starts has {', '.join(strange)}, but the losses are {', '.join(names)}")
    flat = [name for name, value in settings.starts.items() if not value > 0]
    if flat:
        raise ConfigError(f"uncertainty.starts must be positive; they are not for {', '.join(flat)}")
    missing = [name for name in names if name not in settings.starts]
    if missing and not settings.calibrate:
        raise ConfigError(f"with uncertainty.calibrate 0 every loss needs a start; there is none for {missing}")
