"""Losses on dose-volume histograms of whole structures, from sorted doses: no bins, no soft thresholds.

Each voxel counts by the fraction of it that the structure fills. Order and volumes are taken as they are; the gradient
flows through the doses, which is the exact derivative of a quantile. A structure that a patch cuts does not count.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from vmat_rt.metrics.grammar import parse_metric
from vmat_rt.metrics.openkbp_score import TARGET_PERCENTILES
from vmat_rt.train.batch import Batch, Role
from vmat_rt.train.losses.structure import INSIDE
from vmat_rt.train.losses.term import NoSettings, Term, TermSettings

CURVE: Final = "curve"
"""The area between the two cumulative DVHs: every V and every D at once."""


@dataclass(frozen=True)
class Doses:
    """One structure's voxels: relative doses predicted and clinical (m,), and the volume of each, in voxels (m,)."""

    predicted: Tensor
    clinical: Tensor
    volumes: Tensor
    voxel_cc: float


class StructureTerm(Term, ABC):
    """Mean over a case's entries, pooled over its whole structures, then over cases; a case without any counts as 0."""

    def forward(self, predicted: Tensor, batch: Batch) -> Tensor:
        values = []
        for index in range(predicted.shape[0]):
            entries = [self.entries(role, doses) for role, doses in self._structures(predicted, batch, index)]
            # Without entries the value must still belong to the graph: its gradient is zero, not missing.
            known = torch.cat(entries) if entries else predicted[index][:0]
            values.append(known.mean() if known.numel() else predicted[index].sum() * 0)
        return torch.stack(values).mean()

    @abstractmethod
    def entries(self, role: Role, doses: Doses) -> Tensor:
        """Absolute differences (k,) of what is measured of a structure."""

    def _structures(self, predicted: Tensor, batch: Batch, index: int) -> Iterator[tuple[Role, Doses]]:
        """Those that count, without voxels outside the body, where nothing is predicted."""
        chosen = batch.whole[index].nonzero().flatten().tolist()
        if not chosen:
            return
        fractions = batch.structures[index, chosen].flatten(1)
        fractions = fractions * (batch.body[index].flatten() >= INSIDE)
        # What lies in any structure is taken out of the grid once; each structure then picks from that little.
        place = fractions.amax(dim=0).nonzero().flatten()
        found, wanted = predicted[index].flatten()[place], batch.dose[index].flatten()[place]
        voxel_cc = math.prod(batch.voxel_mm[index].tolist()) / 1000
        for structure, volumes in zip(chosen, fractions[:, place], strict=True):
            own = volumes.nonzero().flatten()
            if own.numel():
                yield self.table.roles[structure], Doses(found[own], wanted[own], volumes[own], voxel_cc)


class DvhSettings(TermSettings):
    """What is compared of targets and of organs: D95%, D0.03cc, Dmean and the like, and "curve".

    band_percent: a D_x is the mean dose between x - band and x + band percent of the volume (but at least one voxel),
    so that its gradient reaches more than two voxels.
    """

    targets: tuple[str, ...] = ("D98%", "D95%", "D50%", "D2%", CURVE)
    organs: tuple[str, ...] = ("Dmean", "D0.03cc", CURVE)
    band_percent: float = Field(default=0.5, ge=0, le=10)

    @field_validator("targets", "organs")
    @classmethod
    def _measurable(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name != CURVE:
                _level(name)
        return names


class Dvh(StructureTerm):
    """Mean absolute difference of DVH metrics, relative dose; "curve" is the area between the DVHs."""

    Settings = DvhSettings

    def entries(self, role: Role, doses: Doses) -> Tensor:
        names = self.settings.targets if role == "target" else self.settings.organs
        found, wanted = Curve.of(doses.predicted, doses.volumes), Curve.of(doses.clinical, doses.volumes)
        read = [name for name in names if name != CURVE]
        band, cc = self.settings.band_percent, doses.voxel_cc
        values = [(found.metric(n, cc, band) - wanted.metric(n, cc, band)).abs() for n in read]
        if CURVE in names:
            values.append(area_between(found, wanted))
        return torch.stack(values)


class OpenKbpDvh(StructureTerm):
    """The OpenKBP challenge's DVH score of a case with its own metrics on whole voxels (vmat_rt.metrics.openkbp_score),
    as relative dose: D1, D95 and D99 of targets, D0.1cc and mean of organs.
    """

    Settings = NoSettings

    def entries(self, role: Role, doses: Doses) -> Tensor:
        inside = (doses.volumes >= INSIDE).nonzero().flatten()
        if not inside.numel():
            return doses.predicted[:0]
        found, wanted = doses.predicted[inside].sort().values, doses.clinical[inside].sort().values
        if role == "target":
            return torch.stack(
                [(percentile(found, p) - percentile(wanted, p)).abs() for p in TARGET_PERCENTILES.values()]
            )
        hottest = max(1, round(0.1 / doses.voxel_cc))
        level = max(0.0, 100 - 100 * hottest / len(found))
        near_maximum = percentile(found, level) - percentile(wanted, level)
        return torch.stack([near_maximum, found.mean() - wanted.mean()]).abs()


@dataclass(frozen=True)
class Curve:
    """A DVH as a step function: doses (m,) ascending, and the share of the volume up to and with each (m,), float64.

    total: volume in voxels. largest: share of the largest of its voxels.
    """

    doses: Tensor
    up_to: Tensor
    total: float
    largest: float

    @classmethod
    def of(cls, doses: Tensor, volumes: Tensor) -> Curve:
        """From doses (m,) and volumes (m,) > 0, in any order."""
        ordered, order = doses.sort()
        up_to = volumes[order].double().cumsum(0)
        total = float(up_to[-1])
        return cls(ordered, up_to / total, total, float(volumes.max()) / total)

    def dose_at(self, hottest: float, half_band: float) -> Tensor:
        """Mean dose of the volume within half_band of what is left below when `hottest` is above, both shares.

        With half_band half a voxel's share this is the linear interpolation between the middles of equal voxels.
        """
        low, high = max(1 - hottest - half_band, 0.0), min(1 - hottest + half_band, 1.0)
        before = torch.cat([self.up_to.new_zeros(1), self.up_to[:-1]])
        shares = (self.up_to.clamp_max(high) - before.clamp_min(low)).clamp_min(0)
        return (shares / shares.sum()).to(self.doses.dtype) @ self.doses

    def metric(self, name: str, voxel_cc: float, band_percent: float) -> Tensor:
        """A metric by its name, relative dose; see DvhSettings. Dx cc of a smaller structure is its lowest dose."""
        level = _level(name)
        if level.kind == "mean":
            return self.mean()
        hottest = level.number / (100 if level.kind == "percent" else self.total * voxel_cc)
        return self.dose_at(min(hottest, 1.0), max(band_percent / 100, self.largest / 2))

    def mean(self) -> Tensor:
        """Relative dose."""
        shares = torch.diff(self.up_to, prepend=self.up_to.new_zeros(1))
        return shares.to(self.doses.dtype) @ self.doses


def area_between(one: Curve, other: Curve) -> Tensor:
    """Area between two cumulative DVHs over volumes from 0 to 1, relative dose: the Wasserstein-1 distance.

    Exact: both are constant between the breaks of either.
    """
    # The share up to the last voxel is 1, but for rounding.
    breaks = torch.cat([one.up_to, other.up_to]).sort().values.clamp_max(1)
    width = torch.diff(breaks, prepend=breaks.new_zeros(1))
    middle = breaks - width / 2
    places = [torch.searchsorted(c.up_to, middle).clamp_max(len(c.up_to) - 1) for c in (one, other)]
    return width.to(one.doses.dtype) @ (one.doses[places[0]] - other.doses[places[1]]).abs()


def percentile(ordered: Tensor, percent: float) -> Tensor:
    """numpy.percentile of ascending values: linear between the nearest two."""
    place = percent / 100 * (len(ordered) - 1)
    low = min(math.floor(place), len(ordered) - 1)
    high = min(low + 1, len(ordered) - 1)
    return torch.lerp(ordered[low], ordered[high], place - low)


@dataclass(frozen=True)
class _Level:
    """Where a metric is read off: kind, and percent or cc of the hottest volume."""

    kind: Literal["percent", "cc", "mean"]
    number: float = 0.0


def _level(name: str) -> _Level:
    """Raises ValueError for a metric that is no dose."""
    metric = parse_metric(name)
    if metric.unit == "Gy":
        match metric.kind:
            case "dose_mean":
                return _Level("mean")
            case "dose_median":
                return _Level("percent", 50.0)
            case "dose_at_percent":
                return _Level("percent", metric.number or 0.0)
            case "dose_at_cc":
                return _Level("cc", metric.number or 0.0)
    raise ValueError(f'{name}: the loss compares Dmean, D_x% and D_xcc in Gy; for any V_x take "{CURVE}"')
