"""A real Dask cluster of two processes: the same numbers as here, each model loaded once, deaths survived."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

from tests.system.workers import double
from vmat_rt import prediction
from vmat_rt.bundle import Bundle
from vmat_rt.cohort.store import Cohort
from vmat_rt.errors import ConfigError, InputError
from vmat_rt.evaluate.cluster import run_on_dask
from vmat_rt.evaluate.run import Means, Question, evaluate
from vmat_rt.report.evaluation_schema import CaseDocument


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    settings = {"distributed.scheduler.allowed-failures": 0, "distributed.worker.memory.terminate": False}
    with (
        dask.config.set(settings),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
    ):
        yield cluster


def loads() -> int:
    """How many models this process has loaded; run on a worker."""
    return prediction._load_cached.cache_info().misses


def documents(out: Path) -> dict[str, CaseDocument]:
    """By path, without the times, which differ."""
    found = {}
    for path in sorted((out / "cases").rglob("*.json")):
        document = CaseDocument.model_validate_json(path.read_text(encoding="utf-8"))
        metrics = {name: value for name, value in document.metrics.items() if name != "seconds"}
        found[str(path.relative_to(out))] = document.model_copy(update={"metrics": metrics, "seconds": {}})
    return found


def test_a_cluster_gives_what_processes_give(
    cluster: LocalCluster, cohort: Cohort, bundle: Bundle, tmp_path: Path
) -> None:
    question = Question((str(bundle.folder),), split="train", seed=42, save_dose=True, baseline=False)
    here, there = tmp_path / "here", tmp_path / "there"
    evaluate(cohort, question, here, Means(workers=2, progress=False, device="cpu"))
    evaluate(cohort, question, there, Means(scheduler=cluster.scheduler_address, progress=False, device="cpu"))
    assert len(documents(here)) == 5
    assert documents(here) == documents(there)
    for path in (here / "cases" / "tiny").glob("*.npz"):
        with np.load(path) as one, np.load(there / "cases" / "tiny" / path.name) as other:
            assert all(np.array_equal(one[name], other[name]) for name in ("dose", "spacing_mm", "origin_mm"))
    with Client(cluster) as client:
        assert set(client.run(loads).values()) == {1}, "five cases, two workers, one model"


def test_a_death_takes_its_own_task_only(cluster: LocalCluster, tmp_path: Path) -> None:
    once = f"once:{tmp_path / 'tried'}"
    tasks = ["a", "die", "b", once, "raise", "c"]
    done = list(run_on_dask(double, tasks, cluster.scheduler_address))
    assert {one.number: one.task for one in done} == dict(enumerate(tasks))
    found = {one.task: one.value if one.error is None else one.error for one in done}
    assert [found[task] for task in ("a", "b", "c", once)] == ["aa", "bb", "cc", once * 2]
    died = found["die"]
    assert isinstance(died, InputError)
    assert died.problems[0].code == "WORKER_DIED"
    assert isinstance(found["raise"], ValueError)


def test_a_cluster_that_is_not_there_is_a_setting_to_mend() -> None:
    with pytest.raises(ConfigError, match="no Dask scheduler answers"):
        list(run_on_dask(double, ["a"], "tcp://127.0.0.1:9", wait_seconds=5))
    with pytest.raises(ConfigError, match="no Dask scheduler answers"):
        list(run_on_dask(double, ["a"], "nonsense://x", wait_seconds=5))


def test_a_cluster_without_workers_is_said() -> None:
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as empty,
        pytest.raises(ConfigError, match="has no workers"),
    ):
        list(run_on_dask(double, ["a"], empty.scheduler_address, wait_seconds=5))
