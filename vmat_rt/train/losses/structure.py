"""Losses that weigh voxels by the structures that they lie in or near. They need no whole structure."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from vmat_rt.train.batch import Batch
from vmat_rt.train.losses.term import Term, TermSettings, union, weighted_mean

INSIDE = 0.5
"""Area fraction from which a voxel counts as inside an organ, as in vmat_rt.nn.scene."""

ErrorKind = Literal["squared", "absolute"]


class StructureWeightSettings(TermSettings):
    """Weights of a voxel in a target, of one within rim_mm of an organ's surface (on either side), and elsewhere."""

    target: float = Field(default=2.0, ge=0)
    rim: float = Field(default=1.5, ge=0)
    rim_mm: float = Field(default=5.0, ge=0)
    elsewhere: float = Field(default=0.5, ge=0)
    error: ErrorKind = "squared"

    @model_validator(mode="after")
    def _some_voxel_counts(self) -> StructureWeightSettings:
        if not (self.target or self.rim or self.elsewhere):
            raise ValueError("one of target, rim and elsewhere must be above 0")
        return self


class StructureWeighted(Term):
    """Error of the relative dose inside the body as a weighted mean: the weights say where, not how much.

    A uniform error costs what it costs without weights. A voxel that is partly target has that part of its weight.
    """

    Settings = StructureWeightSettings

    def forward(self, predicted: Tensor, batch: Batch) -> Tensor:
        return weighted_mean(error(predicted - batch.dose, self.settings.error), self.weights(batch) * batch.body)

    @torch.no_grad()
    def weights(self, batch: Batch) -> Tensor:
        """(n, 1, z, y, x), the body not yet considered."""
        own = self.settings
        near = rim(batch.structures[:, list(self.table.of_role("oar"))], batch.voxel_mm, own.rim_mm)
        targets = union(batch, self.table, "target")
        beside = torch.where(near, own.rim, own.elsewhere).to(targets.dtype)
        return torch.lerp(beside, torch.full_like(beside, own.target), targets)


class AsymmetricSettings(TermSettings):
    """Factors of a dose below the clinical one and of one above it."""

    under: float = Field(default=2.5, ge=0)
    over: float = Field(default=1.0, ge=0)
    error: ErrorKind = "squared"

    @model_validator(mode="after")
    def _some_error_counts(self) -> AsymmetricSettings:
        if not (self.under or self.over):
            raise ValueError("one of under and over must be above 0")
        return self


class Asymmetric(Term):
    """Error of the relative dose inside the targets, where too little dose costs more than too much."""

    Settings = AsymmetricSettings

    def forward(self, predicted: Tensor, batch: Batch) -> Tensor:
        difference = predicted - batch.dose
        factor = torch.where(difference.detach() < 0, self.settings.under, self.settings.over)
        targets = union(batch, self.table, "target") * batch.body
        return weighted_mean(factor * error(difference, self.settings.error), targets)


def error(difference: Tensor, kind: ErrorKind) -> Tensor:
    """Squared or absolute."""
    return difference.square() if kind == "squared" else difference.abs()


def rim(fractions: Tensor, voxel_mm: Tensor, reach_mm: float) -> Tensor:
    """Voxels (n, 1, z, y, x), bool, whose centres lie within reach_mm of the surface of one of fractions (n, s, ...).

    The surface runs along voxel faces, where a fraction crosses one half. Exact for planes along the axes, for others
    within half a voxel; the two layers of voxels that touch a surface are always part.
    """
    edge = _edges(fractions >= INSIDE)
    return torch.cat(
        [_grown(one, spacing, reach_mm) for one, spacing in zip(edge.split(1), voxel_mm.tolist(), strict=True)]
    )


def _edges(inside: Tensor) -> Tensor:
    """Voxels with a neighbour on the other side of some structure's surface."""
    n, _, *size = inside.shape
    edge = torch.zeros((n, 1, *size), dtype=torch.bool, device=inside.device)
    for axis, length in zip((2, 3, 4), size, strict=True):
        crossed = inside.narrow(axis, 0, length - 1) ^ inside.narrow(axis, 1, length - 1)
        faces = crossed.any(dim=1, keepdim=True)
        edge.narrow(axis, 0, length - 1).logical_or_(faces)
        edge.narrow(axis, 1, length - 1).logical_or_(faces)
    return edge


def _grown(edge: Tensor, spacing_mm: list[float], reach_mm: float) -> Tensor:
    """Dilation by an ellipsoid: an edge voxel's centre already lies half a voxel off the surface.

    Axis by axis, as a distance transform by parabolas (Felzenszwalb & Huttenlocher 2012) within that reach.
    """
    far = 2.0
    cost = torch.where(edge, 0.0, far)
    for axis, spacing in zip((2, 3, 4), spacing_mm, strict=True):
        radius = max(reach_mm - spacing / 2, 0.0) / spacing
        length = edge.shape[axis]
        grown = cost.clone()
        for step in range(1, min(math.floor(radius + 1e-6), length - 1) + 1):
            dearer = (step / radius) ** 2
            for to, start in ((step, 0), (0, step)):
                place = grown.narrow(axis, to, length - step)
                torch.minimum(place, cost.narrow(axis, start, length - step) + dearer, out=place)
        cost = grown
    return cost <= 1 + 1e-6
