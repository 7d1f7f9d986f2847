"""Weights that are learned with the network, after Kendall, Gal & Cipolla (CVPR 2018): uncertainty by log-variances.

A term L with the log-variance s counts exp(-s) L + s. At the minimum exp(s) = L: all terms then contribute alike, in
whatever units they come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.distributed
from pydantic import Field
from torch import Tensor, nn

from vmat_rt.errors import ConfigError
from vmat_rt.strict import Strict


class UncertaintySettings(Strict):
    """calibrate: for each term the first batches in which it is not zero. Their mean gives its start, s = log(mean), so
    that all begin with equal contributions (times their weights in the recipe). starts: values by the name of the loss
    that are taken instead. limit: s stays within this of its start, a factor of exp(limit) either way.
    """

    calibrate: int = Field(default=8, ge=0)
    starts: Mapping[str, float] = {}
    limit: float = Field(default=3.0, gt=0)


class Uncertainty(nn.Module):
    """forward(values (k,) of the terms, their weights (k,)) -> weighted sum of exp(-s) L + (s - start).

    The start is left out of what is added: a constant, and the loss then begins at the sum of the weights. `change` is
    learned, without weight decay, and bounded smoothly so that it can come back. The rest is kept in buffers, so that a
    checkpoint taken while calibrating goes on calibrating. seen: batches that a term's start is the mean of.
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
        self.register_buffer("starts", given.log())
        self.register_buffer("sums", torch.zeros(len(names)))
        # Terms with a start of their own have seen enough.
        seen = [settings.calibrate if name in settings.starts else 0 for name in names]
        self.register_buffer("seen", torch.tensor(seen, dtype=torch.int64))

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
        """Take one more batch into the means that are the starts, as far as they have not seen enough.

        A term that is zero (no structure lies whole in any patch) says nothing of its size.
        """
        if bool((self.seen >= self.settings.calibrate).all()):
            return
        told = torch.stack([values, (values > 0).to(values.dtype)])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # Every device must have the same weights.
            torch.distributed.all_reduce(told)
        mean, devices = told[0] / told[1].clamp_min(1), told[1]
        new = (devices > 0) & (self.seen < self.settings.calibrate)
        self.seen += new
        self.sums += torch.where(new, mean, 0)
        self.starts.copy_(torch.where(new, (self.sums / self.seen.clamp_min(1)).log(), self.starts))


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
