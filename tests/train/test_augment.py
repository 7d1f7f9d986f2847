"""Augmentation against the same thing done to the patient before encoding; and which way is left."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.nn.cases import CENTRE_MM, GRID
from tests.train.augmented import (
    ALL,
    CHANNELS,
    LIVER,
    TABLE,
    augmentation,
    axes_mm,
    distance,
    encoded,
    find_centre_mm,
    generator,
    middle_mm,
    phantom,
    structure,
)
from vmat_rt.case import Structure, Volume
from vmat_rt.errors import ConfigError
from vmat_rt.naming import mirrored_name
from vmat_rt.train.augment import Augmentation, AugmentationSettings
from vmat_rt.train.batch import collate


def test_an_organ_on_the_patients_left_moves_to_the_right_and_nowhere_else() -> None:
    case = encoded(phantom())
    flipped = augmentation().flipped(case)
    before, after = find_centre_mm(structure(case, LIVER)), find_centre_mm(structure(flipped, LIVER))
    x = middle_mm()[2]
    assert before[2] - x > 15  # LPS: +x is the patient's left
    assert after[2] - x == pytest.approx(x - before[2], abs=0.01)
    assert after[:2] == pytest.approx(before[:2], abs=0.01)
    nearest = _place_of_least(distance(flipped, LIVER))
    assert nearest == pytest.approx(after, abs=2 * max(GRID.spacing_mm))
    left = find_centre_mm(structure(flipped, "Femur_Head_L"))
    assert left[2] > x
    # What is now the left one has the size of what was the right one.
    smaller, larger = (float(structure(case, f"Femur_Head_{side}").sum()) for side in "RL")
    assert float(structure(flipped, "Femur_Head_L").sum()) == pytest.approx(smaller, rel=1e-5)
    assert smaller < 0.6 * larger


def _place_of_least(values: Tensor) -> list[float]:
    place = np.unravel_index(int(values.argmin()), values.shape)
    return [float(mm[i]) for mm, i in zip(axes_mm(), place, strict=True)]


def test_encoding_the_mirrored_patient_is_flipping_the_encoded_one() -> None:
    """Also where one of a pair is missing."""
    case = phantom()
    case = replace(case, structures={n: s for n, s in case.structures.items() if n != "Femur_Head_R"})

    def turned(volume: Volume) -> Volume:
        return Volume(volume.grid, np.ascontiguousarray(volume.array[:, :, ::-1]))

    def turn(one: Structure) -> Structure:
        assert isinstance(one.shape, Volume)
        return replace(one, shape=turned(one.shape))

    assert case.reference_dose is not None
    mirrored = replace(
        case,
        ct=turned(case.ct),
        structures={mirrored_name(name): turn(one) for name, one in case.structures.items()},
        body=turn(case.body),
        reference_dose=turned(case.reference_dose),
    )
    found, wanted = augmentation().flipped(encoded(case)), encoded(mirrored)
    for name, tensor in wanted.tensors().items():
        torch.testing.assert_close(found.tensors()[name], tensor, rtol=0, atol=1e-3, msg=name)
    twice = augmentation().flipped(found)
    assert all(torch.equal(tensor, twice.tensors()[name]) for name, tensor in encoded(case).tensors().items())


@pytest.mark.parametrize("steps", [(1, 0, 0), (0, -2, 0), (0, 0, 3), (-2, 1, -3)])
def test_encoding_the_moved_patient_is_moving_the_encoded_one(steps: tuple[int, int, int]) -> None:
    case = phantom()

    def rolled(volume: Volume, beyond: float) -> Volume:
        array = np.roll(volume.array, steps, axis=(0, 1, 2))
        for axis, step in enumerate(steps):
            line = np.moveaxis(array, axis, 0)
            line[:step] = beyond if step > 0 else line[:step]
            if step < 0:
                line[step:] = beyond
        return Volume(volume.grid, array)

    def roll(one: Structure) -> Structure:
        assert isinstance(one.shape, Volume)
        return replace(one, shape=rolled(one.shape, 0.0))

    assert case.reference_dose is not None
    moved = replace(
        case,
        ct=rolled(case.ct, -1000.0),
        structures={name: roll(one) for name, one in case.structures.items()},
        body=roll(case.body),
        reference_dose=rolled(case.reference_dose, 0.0),
    )
    found, wanted = augmentation().moved(encoded(case), steps), encoded(moved)
    known = np.ones(GRID.shape, bool)
    for axis, step in enumerate(steps):
        line = np.moveaxis(known, axis, 0)
        line[: max(step, 0)] = False
        line[len(line) + min(step, 0) :] = False
    for name, tensor in wanted.tensors().items():
        if name != "array":
            torch.testing.assert_close(found.tensors()[name], tensor, rtol=0, atol=0, msg=name)
    near = torch.tensor([name.startswith("distance:") for name in CHANNELS.names])
    torch.testing.assert_close(found.array[:, ~near], wanted.array[:, ~near], rtol=0, atol=0)
    # Distances in the strip that came in are those of its edge.
    inside = torch.from_numpy(known)
    torch.testing.assert_close(found.array[0, near][:, inside], wanted.array[0, near][:, inside], rtol=0, atol=1e-3)


@pytest.mark.parametrize("turn_deg", [12.0, -8.0])
def test_encoding_the_turned_patient_is_turning_the_encoded_one(turn_deg: float) -> None:
    found, wanted = augmentation().moved(encoded(phantom()), (0, 0, 0), turn_deg), encoded(phantom(turn_deg))
    still = encoded(phantom())
    wrong = augmentation().moved(still, (0, 0, 0), -turn_deg)
    inner = (slice(2, -2), slice(6, -6), slice(7, -7))
    for name in ("PTV_7000", "Femur_Head_L", "Femur_Head_R", LIVER):
        apart = [
            abs(a - b)
            for a, b in zip(
                find_centre_mm(structure(found, name)), find_centre_mm(structure(wanted, name)), strict=True
            )
        ]
        assert max(apart) < 0.15
        off = (structure(found, name) - structure(wanted, name)).abs().sum() / structure(wanted, name).sum()
        assert float(off) < 0.25  # linear interpolation of a ball of two voxels
        # Distances are known to a fraction of a voxel, whichever way the grid runs.
        gap_mm, other_mm = (50 * (distance(b, name) - distance(wanted, name))[inner].abs() for b in (found, wrong))
        assert float(gap_mm.mean()) < 0.75
        assert name == "PTV_7000" or float(gap_mm.mean()) < 0.3 * float(other_mm.mean())
        assert float(gap_mm.max()) < max(GRID.spacing_mm)
    dose_gap = (found.dose - wanted.dose)[0, 0][inner].abs()
    assert float(dose_gap.max()) < 0.004
    assert float((still.dose - wanted.dose)[0, 0][inner].abs().max()) > 0.004
    moved = find_centre_mm(structure(found, "Femur_Head_L"))[1] - find_centre_mm(structure(still, "Femur_Head_L"))[1]
    assert moved * turn_deg > 0  # from +x to +y


def test_a_turn_there_and_back_and_a_turn_of_nothing() -> None:
    case = encoded(phantom())
    there = augmentation().moved(case, (0, 0, 0), 6.0)
    back = augmentation().moved(there, (0, 0, 0), -6.0)
    inner = (slice(None), slice(6, -6), slice(7, -7))
    assert float((back.dose - case.dose)[0, 0][inner].abs().max()) < 0.003
    assert augmentation().moved(case, (0, 0, 0), 0.0) is case
    torch.testing.assert_close(
        augmentation().moved(case, (0, 0, 2), 1e-9).dose, augmentation().moved(case, (0, 0, 2)).dose
    )


def test_absent_structures_stay_absent_and_fractions_stay_fractions() -> None:
    case = encoded(phantom())
    absent = CHANNELS.normalisation.absent
    for seed in range(6):
        moved = augmentation(flip=False, shift_mm=9.0, rotate_deg=10.0)(case, [generator(seed)])
        torch.testing.assert_close(distance(moved, "Bladder"), torch.full(GRID.shape, absent), rtol=0, atol=1e-6)
        assert float(moved.structures.min()) >= 0
        assert float(moved.structures.max()) <= 1
        assert float(moved.body.max()) <= 1
        assert float(moved.dose.min()) >= 0
        assert torch.equal(moved.condition, case.condition)
        assert torch.equal(moved.present, case.present)
        assert not bool(moved.structures[:, ~case.present[0]].any())
        beyond = moved.body == 0
        assert float(moved.array[:, CHANNELS.names.index("ct"), None][beyond].min()) == -1


def test_a_structure_that_leaves_the_grid_is_no_longer_whole() -> None:
    case = encoded(phantom())
    room = int((distance(case, "Femur_Head_L") < 0).any(dim=0).any(dim=0).nonzero().max())
    for step, whole in ((GRID.shape[2] - 3 - room, True), (GRID.shape[2] - room + 1, False)):
        moved = augmentation().moved(case, (0, 0, step))
        assert bool(moved.whole[0, TABLE.names.index("Femur_Head_L")]) is whole
        assert bool(moved.whole[0, TABLE.names.index("PTV_7000")])
    assert not bool(augmentation().moved(case, (0, 0, 0), 45.0).whole[0, TABLE.names.index("Bladder")])


def test_beams_and_a_prior_move_with_the_patient() -> None:
    channels = CHANNELS.model_copy(update={"names": (*CHANNELS.names, "beam:beam_any", "prior")})
    case = encoded(phantom())
    beam = structure(case, "PTV_5600")[None, None]
    case = replace(case, array=torch.cat([case.array, beam, case.dose], dim=1))
    own = augmentation(channels)
    for moved in (own.moved(case, (1, -1, 2), 7.0), own.moved(case, (0, 2, 0)), own.flipped(case)):
        assert torch.equal(moved.array[:, -2], moved.structures[:, TABLE.names.index("PTV_5600")])
        assert torch.equal(moved.array[:, -1:], moved.dose)


def test_noise_of_so_many_hounsfield_units_in_the_ct_alone() -> None:
    case = encoded(phantom())
    noisy = augmentation().noisy(case, 20.0, generator(1))
    body = case.body[0, 0] > 0.99
    low, high = CHANNELS.normalisation.hu_window
    added = ((noisy.array - case.array)[0, 0] * (high - low) / 2)[body]
    assert float(added.std()) == pytest.approx(20, rel=0.05)
    assert float(added.mean()) == pytest.approx(0, abs=1.5)
    assert float(noisy.array[0, 0].min()) >= -1
    assert torch.equal(noisy.array[:, 1:], case.array[:, 1:])
    assert torch.equal(noisy.dose, case.dose)


def test_encoding_a_patient_without_organs_is_taking_them_from_the_encoded_one() -> None:
    case = phantom()
    gone = ("Femur_Head_L", LIVER)
    fewer = replace(case, structures={name: one for name, one in case.structures.items() if name not in gone})
    found = augmentation().without(encoded(case), gone)
    torch.testing.assert_close(found.array, encoded(fewer).array, rtol=0, atol=0)
    torch.testing.assert_close(found.condition, encoded(fewer).condition, rtol=0, atol=0)
    torch.testing.assert_close(found.structures, encoded(case).structures, rtol=0, atol=0)


def test_a_share_of_the_cases_loses_any_number_of_organs_and_no_target() -> None:
    case = encoded(phantom())
    change = augmentation(flip=False, drop_organs=0.5)
    absent = CHANNELS.normalisation.absent
    present = {name for name in phantom().structures if bool((distance(case, name) < absent).any())}
    targets = {"PTV_7000", "PTV_5600"}
    lost = []
    for seed in range(400):
        after = change(case, [generator(seed)])
        lost.append({name for name in present if bool((distance(after, name) == absent).all())})
    assert not any(one & targets for one in lost)
    # Of any number alike of all organs, any number alike of these three.
    assert len(present - targets) == 3
    assert sum(one == set() for one in lost) / 400 == pytest.approx(0.5 + 0.5 / 4, abs=0.08)
    assert any(one == present - targets for one in lost)
    assert all(any(name in one for one in lost) for name in present - targets)


def test_each_case_changes_by_its_own_generator() -> None:
    case = encoded(phantom())
    own = Augmentation(ALL, CHANNELS, TABLE)
    pair = own(collate([case, case]), [generator(3), generator(4)])
    again = own(collate([case, case]), [generator(8), generator(4)])
    alone = own(case, [generator(4)])
    for name, tensor in alone.tensors().items():
        assert torch.equal(pair.tensors()[name][1:], tensor)
        assert torch.equal(again.tensors()[name][1:], tensor)
    assert not torch.equal(pair.dose[0], pair.dose[1])
    assert not torch.equal(pair.dose[0], again.dose[0])


def test_what_cannot_be_done_is_said() -> None:
    without_ct = CHANNELS.model_copy(update={"names": CHANNELS.names[1:]})
    with pytest.raises(ConfigError, match="channel ct"):
        augmentation(without_ct, ct_noise_hu=10.0)
    lone = CHANNELS.model_copy(update={"names": ("ct", "distance:Femur_Head_L")})
    with pytest.raises(ConfigError, match="Femur_Head_L"):
        augmentation(lone)
    assert augmentation(lone, flip=False).settings.flip is False
    with pytest.raises(ValueError, match="turn_fold"):
        AugmentationSettings(turn_share=0.3)
    with pytest.raises(ValueError, match="flip_ap"):
        AugmentationSettings.model_validate({"flip_ap": True})
    assert math.dist(CENTRE_MM, middle_mm()) > 0
