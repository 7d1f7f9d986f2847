"""A tiny cohort to evaluate, a network of random weights and a run of one epoch; all on one thread, as in a worker."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.evaluate.models import pack_tiny
from tests.torch_threads import one_thread
from tests.train.cohorts import make_cohort, tiny_recipe
from vmat_rt.bundle import Bundle
from vmat_rt.cohort.split import split_cohort
from vmat_rt.cohort.store import Cohort
from vmat_rt.train.loop import train

__all__ = ["one_thread"]

FIT = {"voxels_per_case": 400, "rounds": 6, "leaves": 7, "least_in_leaf": 20, "held_out": 2, "threads": 1}


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Nine cases; splits of the seeds 42 and 7, whose test cases differ."""
    cohort = make_cohort(tmp_path_factory.mktemp("evaluated") / "tiny", train=5, validation=3)
    split_cohort(cohort.records(), seeds=(42, 7), fractions=(5 / 9, 2 / 9, 2 / 9)).write(cohort)
    return cohort


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A network of random weights, which is no run's."""
    return pack_tiny(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def run(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of one epoch on bodies only, with trees of its own as prior, on the split of seed 42."""
    recipe = tiny_recipe(epochs=1, crop=True, prior={"folds": 2, "fit": FIT})
    out = tmp_path_factory.mktemp("runs") / "corrects"
    torch.set_num_threads(1)
    train(recipe, cohort, out, seed=42)
    return out
