"""What an epoch holds, where patches lie, and what a patch knows of its structures."""

from __future__ import annotations

import numpy as np
import torch

from tests.train.cohorts import SETTINGS, patient
from vmat_rt.geometry.gridded import gridded
from vmat_rt.geometry.model_grid import model_grid
from vmat_rt.nn.encode import channels_for
from vmat_rt.protocol import load_protocol
from vmat_rt.train.batch import structure_table
from vmat_rt.train.examples import Example, ExampleSettings, example_arrays
from vmat_rt.train.feed import epoch_draws, part_of, patch_start
from vmat_rt.train.recipe import PatchSettings

PROTOCOL = load_protocol("prostate_sib_70_56")
TABLE = structure_table(PROTOCOL)


def test_an_epoch_holds_every_case_and_fills_its_last_batch() -> None:
    keys = [f"case-{n}" for n in range(5)]
    draws = epoch_draws(keys, 2, 4, 7, 3)
    assert len(draws) == 12
    assert sorted(draw.key for draw in draws[:10]) == sorted(keys * 2)
    assert draws == epoch_draws(keys, 2, 4, 7, 3)
    assert [d.key for d in draws] != [d.key for d in epoch_draws(keys, 2, 4, 7, 4)]
    assert [d.key for d in draws] != [d.key for d in epoch_draws(keys, 2, 4, 8, 3)]
    values = {float(torch.rand((), generator=draw.generator())) for draw in draws}
    assert len(values) == len(draws)


def test_patches_lie_where_the_recipe_says() -> None:
    dose = np.zeros((20, 30, 40), np.float32)
    dose[15, 20, 10] = 1.0
    centred = PatchSettings(shape=(8, 8, 8), centred_share=1.0)
    random = np.random.default_rng(0)
    assert patch_start(dose, centred, random) == [11, 16, 6]
    anywhere = PatchSettings(shape=(8, 64, 8), centred_share=0.0)
    starts = np.array([patch_start(dose, anywhere, random) for _ in range(400)])
    assert starts.min(axis=0).tolist() == [0, 0, 0]
    assert starts.max(axis=0).tolist() == [12, 0, 32]


def test_a_patch_knows_which_structures_it_holds_whole() -> None:
    case = gridded(patient(3), model_grid(SETTINGS.grid, patient(3)))
    arrays = example_arrays(case, ExampleSettings(channels_for(PROTOCOL), TABLE, 1))
    highest_gy = float(arrays.pop("highest_gy"))
    example = Example(key="a", highest_gy=highest_gy, spacing_mm=case.ct.grid.spacing_mm, **arrays)
    everything = part_of(example, None, np.random.default_rng(0))
    drawn = {name: name in case.structures for name in TABLE.names}
    assert dict(zip(TABLE.names, everything.present[0].tolist(), strict=True)) == drawn
    assert torch.equal(everything.whole, everything.present)
    corner = part_of(example, PatchSettings(shape=(6, 6, 6), centred_share=1.0), np.random.default_rng(1))
    assert corner.dose.shape[2:] == (6, 6, 6)
    assert torch.equal(corner.present, everything.present)
    assert not corner.whole[0, TABLE.names.index("PTV_5600")]
