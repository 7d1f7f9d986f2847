"""Which process speaks for a run, and devices that cannot share a batch."""

from __future__ import annotations

import pytest
from lightning_fabric import Fabric

from tests.train.cohorts import tiny_recipe
from vmat_rt.errors import ConfigError
from vmat_rt.train.devices import gathered, is_first_process, make_fabric

NAMES = ("RANK", "LOCAL_RANK", "NODE_RANK")


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "3", "LOCAL_RANK": "0"}, False),  # the first of the second machine
        ({"RANK": "0", "LOCAL_RANK": "0", "NODE_RANK": "1"}, True),  # RANK counts over all machines
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
    ],
)
def test_one_process_speaks_for_the_run(
    environment: dict[str, str], first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() is first


@pytest.mark.parametrize(("batch", "devices"), [(1, 0), (3, 2), (2, 3)])
def test_a_batch_that_cannot_be_shared_evenly_is_refused(batch: int, devices: int) -> None:
    with pytest.raises(ConfigError, match=rf"a batch of {batch} cannot be shared evenly|CUDA devices"):
        make_fabric(tiny_recipe(batch=batch), devices)


def test_one_device_gathers_its_own() -> None:
    own = [("a", 1), ("b", 2)]
    assert gathered(Fabric(accelerator="cpu", devices=1), own) == own
