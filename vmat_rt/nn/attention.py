"""Attention for the U-Net: gates on the skips, self-attention at the bottleneck."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class AttentionGate(nn.Module):
    """Additive gate on a skip (Oktay et al., "Attention U-Net", MIDL 2018): what comes from below says what may pass.

    forward(skip, below), both (n, c, z, y, x) of one size -> the skip, each voxel times a weight in (0, 1).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // 2, 1)
        self.of_skip = nn.Conv3d(channels, inner, 1, bias=False)
        self.of_below = nn.Conv3d(channels, inner, 1)
        self.weight = nn.Conv3d(inner, 1, 1)

    def forward(self, skip: Tensor, below: Tensor) -> Tensor:
        agreement = functional.relu(self.of_skip(skip) + self.of_below(below))
        return skip * torch.sigmoid(self.weight(agreement))


class SelfAttention(nn.Module):
    """Multi-head self-attention over all voxels (Vaswani et al., 2017), added to its input; starts as the identity.

    forward((n, c, z, y, x)) -> the same shape. Cost grows with the square of the voxels: for the coarsest level only.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        parts = self.query_key_value(self.norm(tokens)).chunk(3, dim=2)
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        attended: Tensor = self.out(mixed).transpose(1, 2).unflatten(2, x.shape[2:])
        return x + attended
