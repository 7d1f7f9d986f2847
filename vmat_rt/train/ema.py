"""Moving average of weights: what is validated and kept (Polyak & Juditsky, SIAM J. Control Optim. 30 (1992) 838)."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """A copy of a network whose weights follow it: w <- d w + (1 - d) new, with d = min(decay, (1 + n) / (10 + n)).

    n counts the updates: the first ones count more, or the average would long remember its random start.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.updates = 0
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the network's weights after a step."""
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for ours, theirs in zip(self.network.parameters(), network.parameters(), strict=True):
            ours.lerp_(theirs, 1 - decay)
