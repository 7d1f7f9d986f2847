"""Training and inference encode the same array: through DICOM on one side and the cohort's store on the other.

Covers vmat_rt.train.batch and vmat_rt.train.package.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.system.workers import Deadly
from tests.train.cohorts import SETTINGS, make_cohort, patient, split, tiny_recipe
from vmat_rt.case import Case, Volume
from vmat_rt.cohort.record import CaseOrigin, describe
from vmat_rt.cohort.split import Splits, split_cohort
from vmat_rt.cohort.store import Cohort
from vmat_rt.dicom.load import load_case
from vmat_rt.dicom.study import read_study
from vmat_rt.dicom.write.export import export_case
from vmat_rt.errors import ConfigError, InputError
from vmat_rt.geometry.gridded import gridded
from vmat_rt.geometry.model_grid import model_grid
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.naming import mirrored_name
from vmat_rt.nn.encode import channels_for
from vmat_rt.nn.infer import NetworkPredictor
from vmat_rt.prediction import load_predictor, predict_dose
from vmat_rt.protocol import load_protocol
from vmat_rt.system.processes import WorkerDiedError
from vmat_rt.train.augment import Augmentation, AugmentationSettings
from vmat_rt.train.batch import Batch, structure_table
from vmat_rt.train.examples import Example, ExampleSettings, example_arrays, mapped
from vmat_rt.train.feed import part_of
from vmat_rt.train.loop import train
from vmat_rt.train.material import gather
from vmat_rt.train.package import package_run

PROTOCOL = load_protocol("prostate_sib_70_56")
TABLE = structure_table(PROTOCOL)
CHANNELS = channels_for(PROTOCOL)


def whole(case: Case, coarsen: int = 1) -> Batch:
    arrays = example_arrays(case, ExampleSettings(CHANNELS, TABLE, coarsen))
    highest_gy = float(arrays.pop("highest_gy"))
    example = Example(key=case.key, highest_gy=highest_gy, spacing_mm=case.ct.grid.spacing_mm, **arrays)
    return part_of(example, None, np.random.default_rng(0)).to("cpu")


@dataclass(frozen=True)
class OfCase:
    key: str
    content: object = None


def nothing(_: OfCase) -> None:
    """Survives what its task holds only where that survives being unpickled."""


def test_a_task_that_kills_its_worker_is_told_when_the_others_are_done() -> None:
    with pytest.raises(WorkerDiedError, match="Case c2: The worker died"):
        list(mapped(nothing, [OfCase("c1"), OfCase("c2", Deadly())], workers=2))
    assert list(mapped(nothing, [OfCase("c1"), OfCase("c2")], workers=1)) == [None, None]


@pytest.mark.parametrize("coarsen", [1, 2])
def test_what_the_network_sees_is_the_same_through_dicom_and_through_the_store(tmp_path: Path, coarsen: int) -> None:
    """Three patients' DICOM studies make a cohort; then one is predicted from its files, and the network watched."""
    cohort = Cohort.create(tmp_path / "cohort", SETTINGS)
    for number in range(3):
        export_case(patient(number), tmp_path / f"study_{number}")
        case = load_case(read_study(tmp_path / f"study_{number}"), PROTOCOL)
        cohort.add(case, describe(case, CaseOrigin(key=f"case-{number}", patient=f"p-{number}", source="dicom")))
    split_cohort(cohort.records(), seeds=(1,), fractions=(0.34, 0.33, 0.33)).write(cohort)
    recipe = tiny_recipe(coarsen=coarsen, epochs=1, channels={"extra": ["beam:beam_any", "beam:beam_chord"]})
    material = gather(recipe, cohort, 1, tmp_path / "cache")
    torch.manual_seed(0)
    weights = _initial_weights(material)
    bundle = package_run(tmp_path / "bundle", material, weights, {}, "test")
    network = load_predictor(bundle, "cpu")
    assert isinstance(network, NetworkPredictor)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    network._loaded.unet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    key = material.train[0]
    study = read_study(tmp_path / f"study_{key.removeprefix('case-')}")
    predict_dose(load_case(study, PROTOCOL), bundle, "cpu")
    example = material.examples[key]
    assert torch.equal(seen[0][0][0], torch.from_numpy(np.array(example.array)).float())
    assert torch.equal(seen[0][1][0], torch.from_numpy(example.condition))
    assert np.ptp(example.array[CHANNELS.names.index("distance:Rectum")]) > 0.5
    assert example.array[-1].max() > 0.1


def _initial_weights(material: object) -> dict[str, torch.Tensor]:
    from vmat_rt.nn.unet import UNet
    from vmat_rt.train.material import Material

    assert isinstance(material, Material)
    size = material.channels.condition_size
    return UNet(material.network.unet, len(material.channels.names), size).state_dict()


def test_a_flipped_example_is_the_mirrored_patients(tmp_path: Path) -> None:
    """The patient mirrored voxel by voxel along x, with sides renamed, encodes to what augmentation makes of it."""
    case = gridded(patient(1), model_grid(SETTINGS.grid, patient(1)))
    mirrored = _mirrored(case)
    settings = AugmentationSettings(flip=True)
    augmentation = Augmentation(settings, CHANNELS, TABLE)
    found, wanted = augmentation.flipped(whole(case)), whole(mirrored)
    for name, tensor in wanted.tensors().items():
        torch.testing.assert_close(found.tensors()[name], tensor, rtol=0, atol=1e-3, msg=name)
    left, right = (TABLE.names.index(f"Femur_Head_{side}") for side in "LR")
    original = whole(case)
    assert not torch.equal(original.structures[:, left].flip(-1), original.structures[:, right])


def _mirrored(case: Case) -> Case:
    def turned(volume: Volume) -> Volume:
        return Volume(volume.grid, np.ascontiguousarray(volume.array[:, :, ::-1]))

    def turn(structure):  # type: ignore[no-untyped-def]
        return replace(structure, shape=turned(structure.shape), name=mirrored_name(structure.name))

    assert case.reference_dose is not None
    return replace(
        case,
        ct=turned(case.ct),
        structures={mirrored_name(name): turn(structure) for name, structure in case.structures.items()},
        body=turn(case.body),
        reference_dose=turned(case.reference_dose),
    )


def test_half_the_cases_are_flipped_each_by_its_own_generator() -> None:
    case = whole(gridded(patient(1), model_grid(SETTINGS.grid, patient(1))))
    augmentation = Augmentation(AugmentationSettings(flip=True), CHANNELS, TABLE)
    flipped = 0
    for seed in range(60):
        found = augmentation(case, [torch.Generator().manual_seed(seed)])
        again = augmentation(case, [torch.Generator().manual_seed(seed)])
        assert torch.equal(found.dose, again.dose)
        flipped += not torch.equal(found.dose, case.dose)
    assert 18 <= flipped <= 42
    off = Augmentation(AugmentationSettings(flip=False), CHANNELS, TABLE)
    assert off(case, [torch.Generator()]) is case


def test_coarse_examples_are_means_of_blocks_the_dose_of_their_body() -> None:
    case = gridded(patient(2), model_grid(SETTINGS.grid, patient(2)))
    fine, coarse = whole(case), whole(case, 2)
    pooled = torch.nn.functional.avg_pool3d
    inside = (structure_fraction(case.body, case.ct.grid) >= 0.5).astype(np.float32)
    mask = torch.from_numpy(inside)[None, None]
    share = pooled(mask, 2)
    of_body = pooled(fine.dose * mask, 2) / share.clamp_min(1e-6)
    expected = torch.where(share > 0, of_body, pooled(fine.dose, 2))  # beyond the body a dose is nothing to learn
    torch.testing.assert_close(coarse.dose, expected, rtol=0, atol=1e-5)
    assert bool(((share > 0) & (share < 1)).any())
    torch.testing.assert_close(coarse.array[:, :3], pooled(fine.array, 2)[:, :3], rtol=0, atol=1.1e-3)
    torch.testing.assert_close(coarse.structures, pooled(fine.structures, 2), rtol=0, atol=0.51 / 255)


def test_a_case_without_dose_teaches_nothing() -> None:
    case = replace(gridded(patient(0), model_grid(SETTINGS.grid, patient(0))), reference_dose=None)
    with pytest.raises(ConfigError, match="no clinical dose"):
        example_arrays(case, ExampleSettings(CHANNELS, TABLE, 1))


def test_cases_that_cannot_teach_are_named_before_anything_is_fitted(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "cohort", train=3, validation=1)
    first, second, *_ = Splits.read(cohort).cases("train")
    for key in (first, second):
        cohort.add(replace(cohort.read(key), reference_dose=None), cohort.record(key), replace=True)
    split(cohort, 3, 1)
    recipe = tiny_recipe(prior={"folds": 2})
    with pytest.raises(ConfigError, match=f"2 of 4 cases have no clinical dose to learn from: {first}, {second};"):
        gather(recipe, cohort, 42, tmp_path / "cache")
    assert not (tmp_path / "cache" / "priors").exists()


def test_an_empty_dose_is_refused_with_its_case(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "cohort", train=2, validation=1)
    key = Splits.read(cohort).cases("train")[0]
    case = cohort.read(key)
    assert case.reference_dose is not None
    empty = replace(case.reference_dose, array=np.zeros_like(case.reference_dose.array))
    cohort.add(replace(case, reference_dose=empty), cohort.record(key), replace=True)
    split(cohort, 2, 1)
    with pytest.raises(InputError, match=f"REFERENCE_DOSE_EMPTY: Case {key}: "):
        gather(tiny_recipe(), cohort, 42, tmp_path / "cache")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"channels": {"extra": ["distance:Rectom"]}}, r"did you mean distance:Rectum\?"),
        ({"channels": {"extra": ["beam:beam_PTV_9999"]}}, r"nothing for the input channel 'beam:beam_PTV_9999'"),
        ({"optimiser": {"warmup": 1000}}, r"optimiser\.warmup=1000 reaches the full rate after the last of 4 steps"),
        ({"losses": [{"name": "structure_weighted", "target": 0, "rim": 0, "elsewhere": 0}]}, "above 0"),
        ({"losses": [{"name": "asymmetric", "under": 0, "over": 0}]}, "above 0"),
    ],
)
def test_settings_that_would_do_nothing_are_refused_before_anything_is_fitted(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    cohort = make_cohort(tmp_path / "cohort", train=4, validation=1)
    with pytest.raises(ConfigError, match=said):
        gather(tiny_recipe(**settings), cohort, 42, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_only_what_changed_is_encoded_again(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "cohort", train=2, validation=1)
    train(tiny_recipe(epochs=1), cohort, tmp_path / "first")
    folder = tmp_path / "cache" / "examples"
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/array.npy")}
    assert len(before) == 3
    train(tiny_recipe(epochs=1, unet={"width": 2, "levels": 1, "embedding": 4}), cohort, tmp_path / "second")
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("*/array.npy")}
    key = gather(tiny_recipe(), cohort, 42, tmp_path / "cache").train[0]
    number = int(key.removeprefix("tiny-"))
    bigger = replace(patient(number + 10), key=key)
    cohort.add(
        bigger, describe(bigger, CaseOrigin(key=key, patient=f"person-{number}", source="simulated")), replace=True
    )
    split_cohort(cohort.records(), seeds=(42,), fractions=(0.5, 0.25, 0.25)).write(cohort)
    gather(tiny_recipe(), cohort, 42, tmp_path / "cache")
    assert len(list(folder.glob("*/array.npy"))) > 3
