"""Training and prediction on another device than the CPU, on a machine that has none (tests/second_device.py).

What is held: every tensor that a step needs is moved, numbers are the CPU's, convolutions get channels last and 16 bits
where they are asked for, and what should compute in single precision does.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from tests.nn.cases import CHANNELS, GRID, make_case, manifest
from tests.second_device import DEVICE, Seen, fabric_there, second_device
from tests.train.cohorts import tiny_recipe
from vmat_rt.bundle import load_bundle
from vmat_rt.case import FloatArray
from vmat_rt.cohort.store import Cohort
from vmat_rt.nn import infer
from vmat_rt.nn.infer import NetworkPredictor
from vmat_rt.nn.network_bundle import NetworkSettings, pack_network
from vmat_rt.nn.unet import UNet, UNetSettings
from vmat_rt.nn.windows import Window
from vmat_rt.train import loop
from vmat_rt.train.loop import Training
from vmat_rt.train.losses import LOSSES as ALL_LOSSES
from vmat_rt.train.precision import precision_plugin
from vmat_rt.train.recipe import Recipe

EVERYTHING = {
    "flip": True,
    "shift_mm": 4,
    "rotate_deg": 5,
    "ct_noise_hu": 10,
    "drop_organs": 0.5,
}
LOSSES = [{"name": name} for name in ALL_LOSSES]


@pytest.fixture
def there() -> Iterator[Seen]:
    with second_device() as seen:
        yield seen


def train_there(recipe: Recipe, cohort: Cohort, out: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
    """As `train`, but on the second device."""

    def fabric(recipe: Recipe, devices: int) -> Fabric:
        return fabric_there(precision_plugin(recipe, DEVICE))

    with monkeypatch.context() as patched:
        patched.setattr(loop, "make_fabric", fabric)
        patched.setattr(loop, "settle_precision", lambda recipe, device: recipe)
        loop.train(recipe, cohort, out, **more)


def losses_of(run: Path) -> list[float]:
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_the_device_refuses_tensors_of_the_cpu(there: Seen) -> None:
    own = torch.ones(3).to(DEVICE)
    with pytest.raises(RuntimeError, match="same device"):
        own + torch.ones(3)
    assert (own + torch.ones(3).to(DEVICE)).cpu().tolist() == [2.0, 2.0, 2.0]
    assert (own * torch.tensor(2.0)).sum().item() == 6.0


def test_a_constant_left_on_the_cpu_is_found(there: Seen) -> None:
    class Forgetful(UNet):
        def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
            return super().forward(x, condition) * torch.ones(x.shape[2:])

    network = Forgetful(UNetSettings(width=4, levels=1, embedding=4), 2, 3).to(DEVICE)
    with pytest.raises(RuntimeError, match="same device"):
        network(torch.zeros(1, 2, 4, 4, 4).to(DEVICE), torch.zeros(1, 3).to(DEVICE))


def test_a_run_on_the_device_is_the_run_on_the_cpu(cohort: Cohort, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All augmentations, losses that look at structures, their learned weights, Muon, averages, validation."""
    recipe = tiny_recipe(
        augmentation={**EVERYTHING, "ct_noise_hu": 0},
        losses=LOSSES,
        uncertainty={"calibrate": 1},
        optimiser={"lr": 1e-3, "matrix_lr": 1e-2},
        crop=True,
        coarsen=2,
        flip_average=True,
    )
    loop.train(recipe, cohort, runs / "here")
    with second_device() as seen:
        train_there(recipe, cohort, runs / "there", monkeypatch)
    assert seen.inputs
    assert losses_of(runs / "there") == pytest.approx(losses_of(runs / "here"), rel=1e-4)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16-mixed", torch.bfloat16), ("16-mixed", torch.float16)])
def test_convolutions_of_a_step_get_channels_last_and_16_bits(
    cohort: Cohort, runs: Path, monkeypatch: pytest.MonkeyPatch, precision: str, dtype: torch.dtype
) -> None:
    recipe = tiny_recipe(augmentation=EVERYTHING, losses=LOSSES, precision=precision, epochs=1, crop=True)
    with second_device() as seen:
        train_there(recipe, cohort, runs / precision, monkeypatch)
    assert seen.inputs[0] == (dtype, True)
    in_training = [last for kind, last in seen.weights if kind == dtype]
    assert len(in_training) > 10
    assert all(in_training)
    assert np.isfinite(losses_of(runs / precision)).all()


@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter:UserWarning")  # it is copied all the same
def test_a_run_goes_on_where_it_stopped(cohort: Cohort, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint is read to the CPU: weights, averages and moments must all come back to the device."""
    recipe = tiny_recipe(
        augmentation={"flip": True},
        patch={"shape": (16, 16, 16), "per_case": 1},
        optimiser={"lr": 1e-3, "matrix_lr": 1e-2},
    )
    with second_device():
        train_there(recipe, cohort, runs / "unbroken", monkeypatch)
        with monkeypatch.context() as patched:
            patched.setattr(Training, "out_of_patience", property(lambda self: self.progress.epoch == 1))
            train_there(recipe, cohort, runs / "stopped", monkeypatch)
        assert len(losses_of(runs / "stopped")) == 1
        train_there(recipe, cohort, runs / "stopped", monkeypatch, resume=True)
    assert losses_of(runs / "stopped") == losses_of(runs / "unbroken")


def bundle_of(folder: Path, settings: NetworkSettings) -> Path:
    torch.manual_seed(1)
    network = UNet(settings.unet, len(CHANNELS.names), CHANNELS.condition_size)
    torch.nn.init.constant_(network.head.bias, 0.6)  # a dose that is not zero nearly everywhere
    pack_network(folder, manifest(settings), network)
    return folder


def predicted(folder: Path) -> FloatArray:
    return NetworkPredictor(load_bundle(folder), "auto").predict(make_case(), GRID).dose.array


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"crop": True, "coarsen": 2},
        {"window": Window(patch=(16, 16, 16), overlap=(4, 4, 4)), "flip_average": True},
        {"unet": UNetSettings(width=4, levels=2, embedding=8, attention_gates=True, bottleneck_heads=2)},
    ],
    ids=["whole", "crop", "windows", "attention"],
)
def test_a_prediction_on_the_device_is_the_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    base = {"unet": UNetSettings(width=4, levels=2, embedding=8), "targets": CHANNELS.targets}
    folder = bundle_of(tmp_path / "bundle", NetworkSettings(**{**base, **changes}))
    here = predicted(folder)
    monkeypatch.setattr(infer, "choose_device", lambda text: DEVICE)
    monkeypatch.setattr(infer, "choose_dtype", lambda device, precision: torch.float32)
    with second_device() as seen:
        there = predicted(folder)
    assert seen.inputs[0] == (torch.float32, True)
    assert all(last for _, last in seen.weights)
    assert here.max() > 30
    np.testing.assert_allclose(there, here, atol=2e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_prediction_in_16_bits_stays_near(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    settings = NetworkSettings(unet=UNetSettings(width=4, levels=2, embedding=8), targets=CHANNELS.targets)
    folder = bundle_of(tmp_path / "bundle", settings)
    here = predicted(folder)
    monkeypatch.setattr(infer, "choose_device", lambda text: DEVICE)
    monkeypatch.setattr(infer, "choose_dtype", lambda device, precision: dtype)
    with second_device() as seen:
        there = predicted(folder)
    assert {kind for kind, _ in seen.inputs} == {dtype}
    assert here.max() > 30
    assert 0 < np.abs(there - here).max() < 4.0
