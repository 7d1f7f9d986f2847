"""What a training run refuses, and how it ends when it is told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.patience import PATIENCE_SECONDS, wait_for
from tests.train.cohorts import tiny_recipe
from vmat_rt.cohort.store import Cohort
from vmat_rt.errors import ConfigError, InputError
from vmat_rt.train.loop import train
from vmat_rt.train.recipe import Recipe

FIT = {"voxels_per_case": 500, "rounds": 8, "leaves": 7, "least_in_leaf": 20, "held_out": 2, "threads": 1}
FULL_WEIGHTS = {"name": "tiny_network", "half": False}


def command(recipe: Recipe, cohort: Cohort, out: Path, *more: str) -> list[str]:
    path = out.parent / f"{out.name}.yaml"
    path.write_text(recipe.as_yaml(), encoding="utf-8")
    program = [sys.executable, "-m", "vmat_rt.cli", "train", str(path)]
    return [*program, "--cohort", cohort.place.root, "--out", str(out), *more]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"losses": [{"name": "no_loss"}]}, "no_loss"),
        ({"unet": {"width": 2, "levels": 1, "positive": "softplus"}}, "clamp"),
    ],
)
def test_a_wrong_recipe_is_refused_before_any_fit(cohort: Cohort, tmp_path: Path, wrong: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(tiny_recipe(prior={"folds": 2, "fit": FIT}, **wrong), cohort, tmp_path / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device has this precision")
def test_a_precision_that_the_processor_lacks_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"precision=auto or .*precision=32-true"):
        train(tiny_recipe(precision="16-mixed"), cohort, tmp_path / "run")


def test_nobody_elses_files_are_written_over(cohort: Cohort, tmp_path: Path) -> None:
    own = tmp_path / "mine" / "recipe.yaml"
    own.parent.mkdir()
    own.write_text("# by hand", encoding="utf-8")
    with pytest.raises(ConfigError, match="something else than a run"):
        train(tiny_recipe(), cohort, own.parent)
    assert own.read_text(encoding="utf-8") == "# by hand"
    with pytest.raises(InputError, match="OUTPUT_NOT_WRITABLE"):
        train(tiny_recipe(), cohort, own / "run")


def test_ctrl_c_says_how_to_go_on(cohort: Cohort, runs: Path) -> None:
    recipe = tiny_recipe(epochs=2000, checkpoint_steps=1)
    out = runs / "interrupted"
    process = subprocess.Popen(command(recipe, cohort, out), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    wait_for((out / "checkpoints" / "last.pt").exists, process=process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert "Ended: stopped by Ctrl-C; what is finished is kept. Go on by --resume. [STOPPED]" in said
    assert "Traceback" not in said


def test_every_process_hears_that_the_folder_holds_another_run(cohort: Cohort, runs: Path) -> None:
    recipe = tiny_recipe(epochs=3)
    out = runs / "another"
    train(recipe, cohort, out)
    other = command(recipe, cohort, out, "--devices", "2", "--resume", "epochs=4")
    done = subprocess.run(other, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.returncode == 2
    assert "holds another run: it was begun with epochs=3; give another folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_metric_that_the_cohort_lacks_is_refused(cohort: Cohort, runs: Path) -> None:
    with pytest.raises(ConfigError, match="OpenKBP"):
        train(tiny_recipe(validation={"metric": "openkbp_dose_score"}), cohort, runs / "lacks")
