"""Augmentation on the batch's device: what changes a patient without making an impossible one.

Only left and right may change places (axis x, the last one): front and back or head and feet never do. Every case has
a generator of its own, so that what happens to it depends neither on its neighbours nor on the number of devices.

What comes in from beyond the grid (or patch) when a patient moves is unknown. It is air without body, structures, beams
or dose, as it is at the edge of every grid that is larger than the patient; losses do not look there, for it is no
body. Distances go on as they were at the edge: zero would mean a surface.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import torch
from pydantic import ConfigDict, Field, model_validator
from torch import Tensor
from torch.nn.functional import grid_sample

from vmat_rt.case import AIR_HU
from vmat_rt.errors import ConfigError
from vmat_rt.naming import mirrored_name
from vmat_rt.nn.encode import Channels, mirror, turned
from vmat_rt.strict import Strict
from vmat_rt.train.batch import Batch, StructureTable, collate

Shift = tuple[int, int, int]


class AugmentationSettings(Strict):
    """flip: mirror half of the cases left to right, sides changing names. shift_mm: the most that a patient is moved
    along each axis, by whole voxels. rotate_deg: the most that one is turned about z, either way, beams and all.
    turn_share: share of the cases that are turned by a whole multiple of 360 / turn_fold degrees, which puts fields on
    fields: the patient lies otherwise in the same nine beams, and their bands change places.
    ct_noise_hu: the most standard deviation of white noise in the CT. All are drawn evenly for each case; 0 is off.
    drop_organs: share of the cases that lose organs at risk, any number of them alike: a network that has always seen
    an organ gives absurd doses where a clinic did not contour it.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    flip: bool = True
    shift_mm: float = Field(default=0.0, ge=0, le=1000)
    rotate_deg: float = Field(default=0.0, ge=0, le=45)
    turn_fold: int = Field(default=1, ge=1, le=36)
    turn_share: float = Field(default=0.0, ge=0, le=1)
    ct_noise_hu: float = Field(default=0.0, ge=0, le=1000)
    drop_organs: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _turns_change_something(self) -> AugmentationSettings:
        if self.turn_share and self.turn_fold == 1:
            raise ValueError("turn_share needs turn_fold: into how many equal turns the fields divide a circle")
        return self


class Augmentation:
    """Callable: (batch, one CPU generator a case) -> batch.

    Raises ConfigError where a side has no other to change places with, fields would not be turned onto fields, or noise
    is asked for without a CT.
    """

    def __init__(self, settings: AugmentationSettings, channels: Channels, table: StructureTable) -> None:
        self.settings, self._channels = settings, channels
        if settings.flip:
            self._mirror, self._partners = mirror(channels), _partners(table)
        self._turns = [turned(channels, Fraction(step, settings.turn_fold)) for step in range(settings.turn_fold)]
        organs = [table.names[index] for index in table.of_role("oar")]
        self._organs = [name for name in organs if f"distance:{name}" in channels.names]
        if settings.ct_noise_hu and "ct" not in channels.names:
            raise ConfigError("augmentation.ct_noise_hu needs the channel ct")

    def __call__(self, batch: Batch, generators: Sequence[torch.Generator]) -> Batch:
        own = self.settings
        if not any(value for name, value in own if name != "turn_fold"):
            return batch
        cases = [batch.case(index) for index in range(len(batch))]
        return collate([self._changed(case, generator) for case, generator in zip(cases, generators, strict=True)])

    def _changed(self, case: Batch, generator: torch.Generator) -> Batch:
        own = self.settings
        if own.flip and bool(torch.rand((), generator=generator) < 0.5):
            case = self.flipped(case)
        whole = 0
        if own.turn_share and bool(torch.rand((), generator=generator) < own.turn_share):
            whole = int(torch.randint(1, own.turn_fold, (), generator=generator))
        if own.shift_mm or own.rotate_deg or whole:
            z, y, x, turn = (2 * torch.rand(4, generator=generator, dtype=torch.float64) - 1).tolist()
            spacing = case.voxel_mm[0].tolist()
            steps = [round(own.shift_mm * part / mm) for part, mm in zip((z, y, x), spacing, strict=True)]
            turn_deg = own.rotate_deg * turn + whole * 360.0 / own.turn_fold
            case = self.turned(self.moved(case, (steps[0], steps[1], steps[2]), turn_deg), whole)
        if own.ct_noise_hu:
            case = self.noisy(case, own.ct_noise_hu * float(torch.rand((), generator=generator)), generator)
        if own.drop_organs and bool(torch.rand((), generator=generator) < own.drop_organs):
            count = int(torch.randint(len(self._organs) + 1, (), generator=generator))
            drawn = torch.randperm(len(self._organs), generator=generator)[:count].tolist()
            case = self.without(case, [self._organs[index] for index in drawn])
        return case

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

    def moved(self, case: Batch, steps: Shift, turn_deg: float = 0.0) -> Batch:
        """One patient, turned about the grid's middle by turn_deg (+x to +y), then moved by so many voxels (z, y, x).

        Whole voxels keep every value. A turn interpolates linearly between the voxels of a slice, but dose and prior by
        cubic convolution, for linear blurs a penumbra and lowers D95; neither falls below zero. A structure that leaves
        the grid in part is no longer whole.
        """
        if not any(steps) and not turn_deg:
            return case
        motion = _Motion(case, steps, math.radians(turn_deg))
        smooth = [name == "prior" for name in self._channels.names]
        array = motion.of(case.array)
        if any(smooth):
            array[:, smooth] = motion.of(case.array[:, smooth], cubic=True)
        fills = [self._beyond(name) for name in self._channels.names]
        for index, fill in enumerate(fills):
            if fill is not None:
                array[0, index].masked_fill_(motion.beyond, fill)
        lost = case.structures[0][:, motion.leaving].any(dim=1)[None]
        return replace(
            case,
            array=array,
            dose=motion.of(case.dose, cubic=True).masked_fill_(motion.beyond, 0.0),
            body=motion.of(case.body).masked_fill_(motion.beyond, 0.0),
            structures=motion.of(case.structures).masked_fill_(motion.beyond, 0.0),
            whole=case.whole & ~lost,
        )

    def turned(self, case: Batch, steps: int) -> Batch:
        """A patient who was moved by so many whole turns of 360 / turn_fold, with the bands in their new places."""
        return replace(case, array=case.array[:, list(self._turns[steps])]) if steps else case

    def noisy(self, case: Batch, deviation_hu: float, generator: torch.Generator) -> Batch:
        """One patient with white noise in the CT, within the window of HU that the network sees."""
        low, high = self._channels.normalisation.hu_window
        # Drawn where it is used; its seed comes from the case's own generator.
        seed = int(torch.randint(2**62, (), generator=generator))
        local = torch.Generator(case.array.device).manual_seed(seed)
        array, index = case.array.clone(), self._channels.names.index("ct")
        noise = torch.randn(array.shape[2:], generator=local, device=array.device, dtype=array.dtype)
        array[0, index].add_(noise, alpha=deviation_hu * 2 / (high - low)).clamp_(-1, 1)
        return replace(case, array=array)

    def without(self, case: Batch, organs: Sequence[str]) -> Batch:
        """One patient as the network sees one on whom these organs are not contoured; the losses still know them."""
        array, condition = case.array.clone(), case.condition.clone()
        channels = [self._channels.names.index(f"distance:{name}") for name in organs]
        array[0, channels] = self._channels.normalisation.absent
        condition[0, [self._channels.flag_index(name) for name in organs]] = 0
        return replace(case, array=array, condition=condition)

    def _beyond(self, name: str) -> float | None:
        """What a channel has where nothing is known; None to go on as at the edge."""
        if name.startswith("distance:"):
            return None
        if name == "ct":
            low, high = self._channels.normalisation.hu_window
            return (min(max(AIR_HU, low), high) - (low + high) / 2) * 2 / (high - low)
        return 0.0


class _Motion:
    """Where each voxel of a moved patient comes from. beyond (z, y, x): from outside the grid; leaving: goes there."""

    def __init__(self, case: Batch, steps: Shift, turn: float) -> None:
        size, device = case.dose.shape[2:], case.dose.device
        self._size, self._turn = size, turn
        self._indices = [
            (torch.arange(n, device=device) - step).clamp(0, n - 1) for n, step in zip(size, steps, strict=True)
        ]
        spacing = case.voxel_mm[0, 1:].tolist()
        centres = [
            (torch.arange(n, device=device, dtype=torch.float64) - (n - 1) / 2) * mm
            for n, mm in zip(size[1:], spacing, strict=True)
        ]
        shift = [step * mm for step, mm in zip(steps[1:], spacing, strict=True)]
        half = [n * mm / 2 for n, mm in zip(size[1:], spacing, strict=True)]
        # Backwards: first the shift, then the turn. Forwards: first the turn.
        back = _turned(centres[0] - shift[0], centres[1] - shift[1], -turn)
        forth = _turned(centres[0], centres[1], turn)
        forth = forth[0] + shift[0], forth[1] + shift[1]
        self._source = torch.stack([back[1] / half[1], back[0] / half[0]], dim=-1).float()[None]
        levels = torch.arange(size[0], device=device)
        self.beyond = _outside(levels - steps[0], size[0])[:, None, None] | _off(back, half)
        self.leaving = _outside(levels + steps[0], size[0])[:, None, None] | _off(forth, half)

    def of(self, values: Tensor, cubic: bool = False) -> Tensor:
        """Values (1, c, z, y, x) of one case at their new places; beyond the grid those of its edge."""
        moved = values.index_select(2, self._indices[0])
        if not self._turn:
            return moved.index_select(3, self._indices[1]).index_select(4, self._indices[2])
        slices = moved.reshape(1, -1, *self._size[1:])
        if cubic:
            return _cubic(slices[0], self._source[0]).clamp_min(0).reshape(values.shape)
        turned = grid_sample(slices, self._source, "bilinear", padding_mode="border", align_corners=False)
        return turned.reshape(values.shape)


def _cubic(slices: Tensor, source: Tensor) -> Tensor:
    """Slices (k, y, x) at places (y, x, 2) of grid_sample, by cubic convolution (Keys 1981, a = -1/2).

    grid_sample's own cubic has a = -3/4, which is not even exact for a linear dose.
    """
    indices, weights = [], []
    for axis, length in ((1, slices.shape[1]), (0, slices.shape[2])):
        place = ((source[..., axis] + 1) * length - 1) / 2
        first = place.floor()
        t = place - first
        weights.append(
            (
                ((2 - t) * t - 1) * t / 2,
                ((3 * t - 5) * t * t + 2) / 2,
                ((4 - 3 * t) * t + 1) * t / 2,
                (t - 1) * t * t / 2,
            )
        )
        indices.append([(first.long() + step).clamp(0, length - 1) for step in (-1, 0, 1, 2)])
    flat, total = slices.flatten(1), torch.zeros_like(slices)
    for y, of_row in zip(indices[0], weights[0], strict=True):
        for x, of_column in zip(indices[1], weights[1], strict=True):
            taken = flat.index_select(1, (y * slices.shape[2] + x).flatten()).view_as(slices)
            total.addcmul_(taken, (of_row * of_column)[None])
    return total


def _turned(y: Tensor, x: Tensor, angle: float) -> tuple[Tensor, Tensor]:
    """Rows y (m,) and columns x (k,), mm, turned from +x to +y: each (m, k)."""
    y, x = torch.meshgrid(y, x, indexing="ij")
    return math.sin(angle) * x + math.cos(angle) * y, math.cos(angle) * x - math.sin(angle) * y


def _off(place: tuple[Tensor, Tensor], half: list[float]) -> Tensor:
    """Whether places (y, x), mm from the middle, lie beyond the outer faces."""
    off: Tensor = (place[0].abs() > half[0] + 1e-6) | (place[1].abs() > half[1] + 1e-6)
    return off


def _outside(index: Tensor, size: int) -> Tensor:
    return (index < 0) | (index >= size)


def _partners(table: StructureTable) -> list[int]:
    try:
        return [table.names.index(mirrored_name(name)) for name in table.names]
    except ValueError:
        lone = [name for name in table.names if mirrored_name(name) not in table.names]
        raise ConfigError(f"left and right cannot change places: no other side for {', '.join(lone)}") from None
