"""The 3-D U-Net that predicts dose, conditioned on the prescription through FiLM. Variants are values of UNetSettings.

Architecture: Çiçek et al., MICCAI 2016 (3-D U-Net), with residual blocks (He et al., CVPR 2016), group normalisation
(Wu & He, ECCV 2018) and FiLM (Perez et al., AAAI 2018). Every stage is one residual block of two convolutions:

    encoder level i    in -> width * 2^i, its output is the skip; then max pooling by 2
    bottleneck         the deepest level's channels, optionally followed by self-attention
    decoder level i    trilinear upsampling by 2, concatenated with the skip -> the channels of level i - 1

Width 48 with 4 levels (48, 96, 192, 384), 14 channels and 15 condition values has 23.7 million parameters.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from vmat_rt.nn.attention import AttentionGate, SelfAttention
from vmat_rt.strict import Strict

_SHARPNESS = (
    10.0  # of the softplus: the bend at zero dose is then a few per cent of the prescription wide, not all of it
)


class UNetSettings(Strict):
    """What a network is built from, besides its number of channels and condition values.

    width: channels of the first level, doubled at each of `levels`. embedding: width of the FiLM embedding. groups: the
    most groups of a normalisation. attention_gates: gate every skip. bottleneck_heads: heads of self-attention at the
    bottleneck, 0 for none. residual_channel: the input channel (a relative dose) that the network corrects.
    positive: how the output is kept from being negative. "softplus" always; "clamp" at inference only, so that
    gradients reach voxels of no dose in training.
    """

    width: int = Field(default=48, ge=1)
    levels: int = Field(default=4, ge=1, le=6)
    embedding: int = Field(default=256, ge=1)
    groups: int = Field(default=8, ge=1)
    attention_gates: bool = False
    bottleneck_heads: int = Field(default=0, ge=0)
    residual_channel: int | None = Field(default=None, ge=0)
    positive: Literal["softplus", "clamp"] = "clamp"

    @model_validator(mode="after")
    def _heads_and_residual_fit(self) -> UNetSettings:
        deepest = self.channels[-1]
        if self.bottleneck_heads and deepest % self.bottleneck_heads:
            raise ValueError(f"{self.bottleneck_heads} heads do not divide {deepest} bottleneck channels")
        if self.residual_channel is not None and self.positive == "softplus":
            raise ValueError("a residual needs positive: clamp, for softplus would lift every dose that is near zero")
        return self

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each level, finest first."""
        return tuple(self.width * 2**level for level in range(self.levels))


class FilmBlock(nn.Module):
    """Residual block of two 3x3x3 convolutions; the second one's normalised output is scaled and shifted by FiLM."""

    def __init__(self, before: int, after: int, settings: UNetSettings) -> None:
        super().__init__()
        groups = max(n for n in range(1, settings.groups + 1) if after % n == 0)
        self.first = nn.Conv3d(before, after, 3, padding=1)
        self.first_norm = nn.GroupNorm(groups, after)
        self.second = nn.Conv3d(after, after, 3, padding=1)
        self.second_norm = nn.GroupNorm(groups, after)
        self.film = nn.Linear(settings.embedding, 2 * after)
        self.shortcut = nn.Identity() if before == after else nn.Conv3d(before, after, 1)
        # Zero modulation at the start: the condition changes nothing until training finds that it should.
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        hidden = _silu(self.first_norm(self.first(x)))
        hidden = self.second_norm(self.second(hidden))
        scale, shift = self.film(embedding)[:, :, None, None, None].chunk(2, dim=1)
        hidden = torch.addcmul(shift, hidden, 1 + scale)
        return _silu(hidden + self.shortcut(x))


class UNet(nn.Module):
    """forward((n, c, z, y, x), (n, k)) -> (n, 1, z, y, x): dose relative to the highest prescription.

    Any spatial size: sizes that 2^levels does not divide are padded by repeating the border, and cropped back.
    """

    def __init__(self, settings: UNetSettings, channels: int, condition_size: int) -> None:
        super().__init__()
        if settings.residual_channel is not None and settings.residual_channel >= channels:
            raise ValueError(f"residual_channel {settings.residual_channel} of {channels} input channels")
        self.settings = settings
        self.in_channels = channels
        self.condition_size = condition_size
        sizes = settings.channels
        self.embed = nn.Sequential(
            nn.Linear(condition_size, settings.embedding),
            nn.SiLU(),
            nn.Linear(settings.embedding, settings.embedding),
            nn.SiLU(),
        )
        self.encoder = nn.ModuleList(FilmBlock(a, b, settings) for a, b in pairwise((channels, *sizes)))
        self.bottleneck = FilmBlock(sizes[-1], sizes[-1], settings)
        heads = settings.bottleneck_heads
        self.attention = SelfAttention(sizes[-1], heads) if heads else nn.Identity()
        outputs = (sizes[0], *sizes[:-1])
        self.decoder = nn.ModuleList(FilmBlock(2 * a, b, settings) for a, b in zip(sizes, outputs, strict=True))
        gated = settings.attention_gates
        self.gates = nn.ModuleList(AttentionGate(c) for c in sizes) if gated else None
        self.head = nn.Conv3d(sizes[0], 1, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        size = x.shape[2:]
        padded = _pad(x, 2**self.settings.levels)
        features = self._features(padded, condition)
        # In full precision: bfloat16 has 8 bits, and a step of it is a quarter of a gray near 70 Gy. As a product of
        # matrices, which CUDA does not round to 10 bits unasked, as it does convolutions.
        with torch.autocast(x.device.type, enabled=False):
            weight = self.head.weight.flatten(1)
            dose: Tensor = functional.linear(features.float().movedim(1, -1), weight, self.head.bias).movedim(-1, 1)
        dose = dose[..., : size[0], : size[1], : size[2]]
        if self.settings.residual_channel is not None:
            index = self.settings.residual_channel
            dose = dose + x[:, index : index + 1]
        if self.settings.positive == "softplus":
            dose = functional.softplus(dose, beta=_SHARPNESS)
        return dose if self.training else dose.clamp_min(0)

    def _features(self, x: Tensor, condition: Tensor) -> Tensor:
        embedding = self.embed(condition)
        skips = []
        for block in self.encoder:
            x = block(x, embedding)
            skips.append(x)
            x = functional.max_pool3d(x, 2)
        x = self.attention(self.bottleneck(x, embedding))
        for level in reversed(range(self.settings.levels)):
            x = functional.interpolate(x, scale_factor=2.0, mode="trilinear", align_corners=False)
            skip = skips.pop() if self.gates is None else self.gates[level](skips.pop(), x)
            x = torch.cat((skip, x), dim=1)
            del skip  # at the finest level each of these is hundreds of megabytes
            x = self.decoder[level](x, embedding)
        return x


def _silu(x: Tensor) -> Tensor:
    """SiLU, in place where no gradient needs its input."""
    return functional.silu(x, inplace=not torch.is_grad_enabled())


def _pad(x: Tensor, multiple: int) -> Tensor:
    """Repeat the far borders until every spatial size is a multiple."""
    z, y, x_size = (math.ceil(n / multiple) * multiple - n for n in x.shape[2:])
    return functional.pad(x, (0, x_size, 0, y, 0, z), mode="replicate") if z or y or x_size else x


def parameter_count(network: nn.Module) -> int:
    """Number of trained values."""
    return sum(p.numel() for p in network.parameters())
