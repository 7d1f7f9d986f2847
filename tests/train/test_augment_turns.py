"""Turns that put the fields of a patient onto each other, and the bands that they permute."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.nn.cases import GRID
from tests.train.augmented import (
    CHANNELS,
    augmentation,
    axes_mm,
    encoded,
    generator,
    middle_mm,
    phantom,
)
from vmat_rt.case import Case, Structure, Volume
from vmat_rt.errors import ConfigError
from vmat_rt.naming import mirrored_name
from vmat_rt.nn.channels import band_channels
from vmat_rt.nn.encode import Channels

BANDS = Channels(
    names=("body", "beam:in_beam", *band_channels(9)),
    targets=CHANNELS.targets,
    angles_deg=tuple(40.0 * k for k in range(9)),
)


def in_a_cylinder(turn_deg: float = 0.0) -> Case:
    """The phantom in a round body of water, which is the same after every turn about the grid's middle."""
    case = phantom(turn_deg)
    _, y, x = (np.array(mm) - middle for mm, middle in zip(axes_mm(), middle_mm(), strict=True))
    radius = np.broadcast_to(np.hypot(y[:, None], x[None]), GRID.shape)
    fraction = np.clip((38 - radius) / 2.5 + 0.5, 0, 1).astype(np.float32)
    water = np.where(fraction > 0.5, 0.0, -1000.0).astype(np.float32)
    return replace(case, ct=Volume(GRID, water), body=replace(case.body, shape=Volume(GRID, fraction)))


@pytest.mark.parametrize("steps", [1, 4, 8])
def test_encoding_the_patient_in_other_fields_is_turning_the_encoded_one(steps: int) -> None:
    own = augmentation(BANDS, flip=False, turn_fold=9, turn_share=1.0)
    still = encoded(in_a_cylinder(), BANDS)
    found = own.turned(own.moved(still, (0, 0, 0), 40.0 * steps), steps)
    wanted = encoded(in_a_cylinder(40.0 * steps), BANDS)
    inner = wanted.body[0, 0] > 0.99
    inner[:2] = inner[-2:] = False
    off = (found.array - wanted.array)[0].abs()
    astray = (own.moved(still, (0, 0, 0), 40.0 * steps).array - wanted.array)[0].abs()
    for index, name in enumerate(BANDS.names):
        # Linear interpolation across a strip's edge, which is softened by 3 mm, on voxels of 2.5 and 3 mm.
        assert float(off[index][inner].mean()) < 0.02, name
        if name.startswith("band:"):
            assert float(astray[index][inner].mean()) > 3 * float(off[index][inner].mean()), name


def test_encoding_the_mirrored_patient_in_fields_is_flipping_the_encoded_one() -> None:
    """Also where the fields are turned against the patient's middle plane: their mirror images are among them."""
    case = in_a_cylinder(13.0)

    def mirrored(volume: Volume) -> Volume:
        return Volume(volume.grid, np.ascontiguousarray(volume.array[:, :, ::-1]))

    def mirror_of(one: Structure) -> Structure:
        assert isinstance(one.shape, Volume)
        return replace(one, shape=mirrored(one.shape))

    structures = {mirrored_name(name): mirror_of(one) for name, one in case.structures.items()}
    dose = case.reference_dose
    assert dose is not None
    other = replace(
        case, ct=mirrored(case.ct), body=mirror_of(case.body), structures=structures, reference_dose=mirrored(dose)
    )
    found, wanted = augmentation(BANDS).flipped(encoded(case, BANDS)), encoded(other, BANDS)
    torch.testing.assert_close(found.array, wanted.array, rtol=0, atol=2e-3)
    assert float((encoded(case, BANDS).array - wanted.array).abs().max()) > 0.2


def test_a_share_of_the_cases_is_turned_onto_each_of_the_other_fields_alike() -> None:
    case = encoded(in_a_cylinder(), BANDS)
    own = augmentation(BANDS, flip=False, turn_fold=9, turn_share=0.4)
    ways = [own.turned(own.moved(case, (0, 0, 0), 40.0 * step), step).array for step in range(9)]
    drawn = [own(case, [generator(seed)]).array for seed in range(400)]
    counts = [sum(torch.equal(way, one) for one in drawn) for way in ways]
    assert sum(counts) == 400
    assert counts[0] / 400 == pytest.approx(0.6, abs=0.08)
    assert min(counts[1:]) >= 8


@pytest.mark.parametrize(
    ("channels", "fold", "said"),
    [
        (BANDS, 4, "turn_share=0"),
        (BANDS.model_copy(update={"names": ("body", *band_channels(6))}), 9, "no sector of 6"),
        (BANDS.model_copy(update={"names": ("body", *band_channels(9)[1:])}), 9, "all sectors"),
        (BANDS.model_copy(update={"angles_deg": (0.0, 40.0, 100.0)}), 9, "0, 40, 100"),
    ],
)
def test_a_turn_that_puts_fields_beside_fields_is_refused(channels: Channels, fold: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        augmentation(channels, flip=False, turn_fold=fold, turn_share=0.5)
