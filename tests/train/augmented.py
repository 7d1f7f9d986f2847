"""A patient whose every structure has its place, and what augmentation makes of the encoded one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tests.nn.cases import GRID, ball, make_case
from vmat_rt.case import Case, Structure, Volume
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.grid import Triple
from vmat_rt.nn.encode import Channels, channels_for
from vmat_rt.protocol import load_protocol
from vmat_rt.train.augment import Augmentation, AugmentationSettings
from vmat_rt.train.batch import Batch, structure_table
from vmat_rt.train.examples import Example, ExampleSettings, example_arrays
from vmat_rt.train.feed import part_of

PROTOCOL = load_protocol("prostate_sib_70_56")
TABLE = structure_table(PROTOCOL)
CHANNELS = channels_for(PROTOCOL)
ALL = AugmentationSettings(flip=True, shift_mm=9.0, rotate_deg=6.0, ct_noise_hu=25.0)
LIVER = "Rectum"
"""An unpaired organ of the protocol, placed as the liver lies: to one side only."""


def middle_mm() -> Triple:
    z, y, x = ((low + high) / 2 for low, high in zip(*GRID.bounds_mm, strict=True))
    return z, y, x


def phantom(turn_deg: float = 0.0) -> Case:
    """Balls in the middle of the grid, none alike, turned about z from +x to +y; a dose that is a ball of its own."""
    z, y, x = middle_mm()

    def turned(name: str, dy: float, dx: float, radius: float, dz: float = 0.0) -> Structure:
        a = math.radians(turn_deg)
        place = (z + dz, y + dy * math.cos(a) + dx * math.sin(a), x + dx * math.cos(a) - dy * math.sin(a))
        return ball(name, place, radius)

    structures = [
        turned("PTV_7000", 2.0, -3.0, 14.0),
        turned("PTV_5600", 2.0, -3.0, 20.0),
        turned("Femur_Head_L", -6.0, 27.0, 8.0),
        turned("Femur_Head_R", -4.0, -26.0, 6.0, 5.0),
        turned(LIVER, 9.0, 22.0, 11.0, -8.0),
    ]
    body = make_case().body
    voxels = {s.roi_name: replace(s, shape=Volume(GRID, structure_fraction(s, GRID))) for s in structures}
    centre = np.array(find_centre_mm(torch.from_numpy(voxels["PTV_7000"].shape.array)))
    places = np.stack(np.meshgrid(*axes_mm(), indexing="ij"), axis=-1)
    off = np.square(places - centre).sum(axis=-1)
    fraction = structure_fraction(body, GRID)
    return replace(
        make_case(),
        ct=Volume(GRID, np.where(fraction > 0.5, 40.0, -1000.0).astype(np.float32)),
        structures=voxels,
        body=replace(body, shape=Volume(GRID, fraction)),
        reference_dose=Volume(GRID, (72 * np.exp(-off / 2 / 15**2)).astype(np.float32)),
    )


def axes_mm() -> list[np.ndarray]:
    return [o + s * np.arange(n) for o, s, n in zip(GRID.origin_mm, GRID.spacing_mm, GRID.shape, strict=True)]


def find_centre_mm(fraction: Tensor) -> list[float]:
    """Centre of gravity (z, y, x), patient coordinates: x grows to the patient's left, y to the back, z to the head."""
    total = float(fraction.sum())
    sums = [fraction.sum(dim=[a for a in range(3) if a != axis]) for axis in range(3)]
    return [float((s * torch.from_numpy(mm)).sum()) / total for s, mm in zip(sums, axes_mm(), strict=True)]


def encoded(case: Case, channels: Channels = CHANNELS) -> Batch:
    arrays = example_arrays(case, ExampleSettings(channels, TABLE, 1))
    highest_gy = float(arrays.pop("highest_gy"))
    example = Example(key=case.key, highest_gy=highest_gy, spacing_mm=case.ct.grid.spacing_mm, **arrays)
    return part_of(example, None, np.random.default_rng(0)).to("cpu")


def structure(batch: Batch, name: str) -> Tensor:
    return batch.structures[0, TABLE.names.index(name)]


def distance(batch: Batch, name: str) -> Tensor:
    return batch.array[0, CHANNELS.names.index(f"distance:{name}")]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def augmentation(channels: Channels = CHANNELS, **settings: object) -> Augmentation:
    return Augmentation(AugmentationSettings.model_validate(settings), channels, TABLE)
