from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.train.cohorts import make_cohort
from vmat_rt.cohort.store import Cohort


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small convolutions gain nothing from more, and sums come out the same each time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Four cases to train on, two to validate, one to test."""
    return make_cohort(tmp_path_factory.mktemp("cohorts") / "tiny")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose runs share their encoded examples."""
    return tmp_path_factory.mktemp("runs")
