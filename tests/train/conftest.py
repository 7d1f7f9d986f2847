"""A tiny cohort to train on, and a folder whose runs share their encoded examples; all on one thread."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torch_threads import one_thread
from tests.train.cohorts import make_cohort
from vmat_rt.cohort.store import Cohort

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Four cases to train on, two to validate, one to test."""
    return make_cohort(tmp_path_factory.mktemp("cohorts") / "tiny")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose runs share their encoded examples."""
    return tmp_path_factory.mktemp("runs")
