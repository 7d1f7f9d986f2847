"""Whole runs on a tiny cohort: what they leave, whether they learn, and whether they go on as if never stopped.

Covers vmat_rt.commands.train, vmat_rt.train.loop and vmat_rt.train.run_folder.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.patience import wait_for
from tests.train.cohorts import make_cohort, patient, split, tiny_recipe
from vmat_rt.bundle import load_bundle
from vmat_rt.case import Volume
from vmat_rt.cohort.record import CaseOrigin, describe
from vmat_rt.cohort.split import Splits
from vmat_rt.cohort.store import Cohort
from vmat_rt.errors import ConfigError, ModelError
from vmat_rt.learned import learned_from
from vmat_rt.metrics.dose_error import compute_dose_error
from vmat_rt.prediction import predict_dose
from vmat_rt.protocol import load_protocol
from vmat_rt.train.checkpoint import load_checkpoint
from vmat_rt.train.feed import epoch_draws
from vmat_rt.train.loop import train
from vmat_rt.train.objective import Objective
from vmat_rt.train.recipe import Recipe, load_recipe

FIT = {"voxels_per_case": 500, "rounds": 8, "leaves": 7, "least_in_leaf": 20, "held_out": 2, "threads": 1}
FULL_WEIGHTS = {"name": "tiny_network", "half": False}


def rows(run: Path) -> list[dict[str, str]]:
    """metrics.csv without the time that it took."""
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def command(recipe: Recipe, cohort: Cohort, out: Path, *more: str) -> list[str]:
    path = out.parent / f"{out.name}.yaml"
    path.write_text(recipe.as_yaml(), encoding="utf-8")
    program = [sys.executable, "-m", "vmat_rt.cli", "train", str(path)]
    return [*program, "--cohort", cohort.place.root, "--out", str(out), *more]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("prior", [False, True])
def test_a_run_validates_what_its_bundle_predicts(cohort: Cohort, runs: Path, prior: bool) -> None:
    """Validation reads the store, prediction a patient drawn as contours on another grid: the errors are the same."""
    if prior:
        prior_settings = {"folds": 2, "share": 0.3, "fit": FIT}
        recipe = tiny_recipe(bundle=FULL_WEIGHTS, coarsen=2, flip_average=True, prior=prior_settings)
    else:
        recipe = tiny_recipe(bundle=FULL_WEIGHTS, patch={"shape": (16, 16, 16), "per_case": 2})
    out = runs / f"validates_{prior}"
    summary = train(recipe, cohort, out)
    bundle = load_bundle(out)
    errors = []
    for key in Splits.read(cohort).cases("validation"):
        stored, drawn = cohort.read(key), patient(int(key.removeprefix("tiny-")))
        dose = predict_dose(drawn, bundle, "cpu").dose
        assert dose.grid.shape == stored.ct.grid.shape
        assert stored.reference_dose is not None
        assert isinstance(stored.body.shape, Volume)
        error = compute_dose_error(stored.reference_dose, Volume(stored.ct.grid, dose.array), stored.body.shape.array)
        assert error is not None
        errors.append(error.mae_gy)
    assert summary["best"] == pytest.approx(np.mean(errors), rel=1e-5)


def test_a_run_folder_tells_all(cohort: Cohort, runs: Path) -> None:
    out = runs / "tells"
    train(tiny_recipe(), cohort, out, seed=42)
    assert load_recipe(out / "recipe.yaml") == tiny_recipe()
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert run["cohort_sha256"] == cohort.sha256(tuple(sorted(run["train"] + run["validation"])))
    assert run["split_sha256"] == Splits.read(cohort).sha256
    assert len(run["train"]) == 4
    assert torch.__version__.startswith(run["environment"]["packages"]["torch"])
    assert run["environment"]["threads"] == torch.get_num_threads()
    assert [row["epoch"] for row in rows(out)] == ["0", "1"]
    assert list((out / "tensorboard").iterdir())
    bundle = load_bundle(out)
    card = bundle.read_bytes("MODEL_CARD.md").decode()
    assert "simulated" in card
    assert "Apache-2.0" in card
    assert "- A ball in a box is no patient." in card
    assert "A ball in a box is no patient." in bundle.manifest.limits
    assert bundle.manifest.training.cases == 4
    treated = (cohort.record(key).treatment() for key in run["train"])
    assert bundle.manifest.learned == learned_from(load_protocol(cohort.settings.protocol).site, treated)
    assert bundle.manifest.learned.card_section() in card
    assert bundle.manifest.training.metrics["validation_mae_gy"] > 0
    with pytest.raises(ConfigError, match="--resume"):
        train(tiny_recipe(), cohort, out)
    with pytest.raises(ConfigError, match="seed"):
        train(tiny_recipe(), cohort, out, seed=43, resume=True)


def test_a_resume_with_other_threads_says_what_differs(
    cohort: Cohort, runs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = runs / "threads"
    train(tiny_recipe(epochs=1), cohort, out)
    train(tiny_recipe(epochs=1), cohort, out, resume=True)
    assert "threads" not in caplog.text
    torch.set_num_threads(torch.get_num_threads() + 1)
    try:
        train(tiny_recipe(epochs=1), cohort, out, resume=True)
    finally:
        torch.set_num_threads(torch.get_num_threads() - 1)
    assert "began with" in caplog.text


def test_a_run_that_went_on_leaves_nothing_of_a_kill_and_a_damaged_one_says_so(cohort: Cohort, runs: Path) -> None:
    out = runs / "left"
    recipe = tiny_recipe(epochs=2, validation={"patience": 1})
    assert train(recipe, cohort, out)["stopped"] == "after all epochs"
    half = out / "checkpoints" / "last.4711.part"
    half.write_bytes(b"half a checkpoint")
    train(recipe, cohort, out, resume=True)
    assert not half.exists()
    assert load_recipe(out / "bundle" / "recipe.yaml") == recipe, "what the model card's command names"
    (out / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"run\.json is damaged"):
        train(recipe, cohort, out, resume=True)


def test_it_learns(cohort: Cohort, runs: Path) -> None:
    recipe = tiny_recipe(
        epochs=25, unet={"width": 8, "levels": 2, "embedding": 8}, optimiser={"lr": 1e-2}, validation={"every": 25}
    )
    train(recipe, cohort, runs / "learns")
    losses = [float(row["loss"]) for row in rows(runs / "learns")]
    assert losses[-1] < losses[0] / 15


def test_a_late_loss_counts_in_the_later_epochs(cohort: Cohort, runs: Path) -> None:
    out = runs / "late"
    train(tiny_recipe(losses=[{"name": "l1"}, {"name": "mse", "weight": 3.0, "after": 0.5}]), cohort, out)
    first, second = ({name: float(value) for name, value in row.items() if value} for row in rows(out))
    assert first["loss"] == pytest.approx(first["loss_l1"], rel=1e-5)
    assert first["loss_mse"] > 0
    assert second["loss"] == pytest.approx(second["loss_l1"] + 3 * second["loss_mse"], rel=1e-5)


def test_patients_whose_own_fields_a_turn_would_misplace_are_refused(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "fields")
    key = Splits.read(cohort).cases("train")[0]
    case = replace(cohort.read(key), gantry_angles_deg=(0.0, 40.0, 90.0))
    number = key.removeprefix("tiny-")
    cohort.add(case, describe(case, CaseOrigin(key=key, patient=f"person-{number}", source="simulated")), replace=True)
    split(cohort, 4, 2)
    recipe = tiny_recipe(augmentation={"turn_fold": 9, "turn_share": 0.3})
    with pytest.raises(ConfigError, match=f"{key}.*0, 40, 90.*turn_share=0"):
        train(recipe, cohort, tmp_path / "run")
    train(tiny_recipe(augmentation={"turn_fold": 9}), cohort, tmp_path / "run")


def test_a_killed_run_goes_on_as_if_never_stopped(cohort: Cohort, runs: Path) -> None:
    recipe = tiny_recipe(epochs=30, checkpoint_steps=1, validation={"every": 15})
    whole, killed = runs / "whole", runs / "killed"
    train(recipe, cohort, whole)
    process = subprocess.Popen(command(recipe, cohort, killed), env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    wait_for(lambda: (killed / "metrics.csv").exists() and len(rows(killed)) >= 5, process=process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(rows(killed))
    assert 5 <= before < 30
    train(recipe, cohort, killed, resume=True)
    assert rows(killed) == rows(whole)
    ours, theirs = (
        load_checkpoint(killed / "checkpoints" / "last.pt"),
        load_checkpoint(whole / "checkpoints" / "last.pt"),
    )
    for part in ("objective", "average"):
        assert all(torch.equal(tensor, theirs[part][name]) for name, tensor in ours[part].items())


def test_two_processes_do_what_one_does(cohort: Cohort, runs: Path) -> None:
    """Up to the order of sums in single precision: half a batch each, gradients averaged."""
    recipe = tiny_recipe(epochs=3)
    train(recipe, cohort, runs / "one")
    subprocess.run(command(recipe, cohort, runs / "two", "--devices", "2"), env=ENVIRONMENT, check=True)
    for one, two in zip(rows(runs / "one"), rows(runs / "two"), strict=True):
        for name, value in one.items():
            assert float(two[name]) == pytest.approx(float(value), rel=2e-4), name
    with pytest.raises(ConfigError, match="evenly"):
        train(recipe.model_copy(update={"batch": 3}), cohort, runs / "uneven", devices=2)


def test_a_loss_that_is_no_number_names_the_case(cohort: Cohort, tmp_path: Path) -> None:
    recipe = tiny_recipe(checkpoint_steps=1, epochs=1)
    whole = train(recipe, cohort, tmp_path / "whole")
    keys = Splits.read(cohort).cases("train")
    second_step = [draw.key for draw in epoch_draws(keys, 1, 2, 42, 0)[2:]]
    spoilt = [path for path in (tmp_path / "cache").rglob("dose.npy") if _belongs(path, cohort, second_step[1])]
    assert len(spoilt) == 1
    dose = np.load(spoilt[0])
    np.save(spoilt[0], np.full_like(dose, np.nan))
    with pytest.raises(ModelError, match=f"case {second_step[1]}: {dose.size} values of its dose"):
        train(recipe, cohort, tmp_path / "run")
    np.save(spoilt[0], dose)
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")["progress"]["step"] == 1
    assert train(recipe, cohort, tmp_path / "run", resume=True)["best"] == whole["best"]


def test_a_gradient_that_is_no_number_changes_no_weight(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch has returned such gradients of finite losses; they are made here by a hook."""

    class Spoilt(Objective):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.steps = 0
            self.network.head.weight.register_hook(self.spoilt)

        def spoilt(self, gradient: Tensor) -> Tensor:
            self.steps += 1
            return gradient * float("nan") if self.steps == 2 else gradient

    monkeypatch.setattr("vmat_rt.train.loop.Objective", Spoilt)
    recipe = tiny_recipe(checkpoint_steps=1, epochs=1)
    with pytest.raises(ModelError, match="gradient is not finite in step 2 of epoch 1: inputs and losses of the cases"):
        train(recipe, cohort, tmp_path / "run")
    monkeypatch.undo()
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")["progress"]["step"] == 1
    whole = train(recipe, cohort, tmp_path / "whole")
    assert train(recipe, cohort, tmp_path / "run", resume=True)["best"] == whole["best"]


def test_too_little_memory_is_said_with_a_remedy(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("vmat_rt.train.loop.Training.run", full)
    with pytest.raises(ConfigError, match="too little memory for a share of 2 in each step: lower batch"):
        train(tiny_recipe(), cohort, tmp_path / "run")


def _belongs(path: Path, cohort: Cohort, key: str) -> bool:
    """Whether the example's relative dose is this case's."""
    case = cohort.read(key)
    assert case.reference_dose is not None
    return bool(np.array_equal(np.load(path), case.reference_dose.array / np.float32(70)))


def test_it_stops_when_nothing_improves(cohort: Cohort, runs: Path) -> None:
    recipe = tiny_recipe(epochs=50, optimiser={"lr": 1e-12, "lowest_lr": 0}, ema=0.0, validation={"patience": 2})
    summary = train(recipe, cohort, runs / "stops")
    assert summary["stopped"] == "early"
    assert summary["epochs"] < 50
    assert summary["epochs"] - summary["best_epoch"] == 2
