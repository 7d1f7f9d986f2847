"""Augmentation on the batch's device: what changes a patient without making an impossible one.

Only left and right may change places (axis x, the last one): front and back or head and feet never do. Every case has
a generator of its own, so that what happens to it depends neither on its neighbours nor on the number of devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from pydantic import BaseModel, ConfigDict

from vmat_rt.errors import ConfigError
from vmat_rt.nn.encode import Mirror, mirrored_name
from vmat_rt.train.batch import Batch, StructureTable, collate


class AugmentationSettings(BaseModel):
    """flip: mirror half of the cases left to right, sides changing names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flip: bool = True


class Augmentation:
    """Callable: (batch, one CPU generator a case) -> batch. `mirror` says which inputs change places under a flip."""

    def __init__(self, settings: AugmentationSettings, mirror: Mirror, table: StructureTable) -> None:
        self.settings = settings
        self._mirror = mirror
        self._partners = _partners(table)

    def __call__(self, batch: Batch, generators: Sequence[torch.Generator]) -> Batch:
        if not self.settings.flip:
            return batch
        chosen = [bool(torch.rand((), generator=generator) < 0.5) for generator in generators]
        if not any(chosen):
            return batch
        cases = (batch.case(i) for i in range(len(batch)))
        return collate([self.flipped(case) if flip else case for case, flip in zip(cases, chosen, strict=True)])

    def flipped(self, batch: Batch) -> Batch:
        """The mirrored patients: x reversed, and what belongs to one side now belongs to the other."""
        return replace(
            batch,
            array=batch.array[:, list(self._mirror.channels)].flip(-1),
            condition=batch.condition[:, list(self._mirror.condition)],
            dose=batch.dose.flip(-1),
            body=batch.body.flip(-1),
            structures=batch.structures[:, self._partners].flip(-1),
            present=batch.present[:, self._partners],
            whole=batch.whole[:, self._partners],
        )


def _partners(table: StructureTable) -> list[int]:
    try:
        return [table.names.index(mirrored_name(name)) for name in table.names]
    except ValueError:
        lone = [name for name in table.names if mirrored_name(name) not in table.names]
        raise ConfigError(f"left and right cannot change places: no other side for {', '.join(lone)}") from None
