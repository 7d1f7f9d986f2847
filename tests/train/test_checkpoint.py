"""Checkpoints hold no code, are whole, and give the random states back."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from vmat_rt.errors import ModelError
from vmat_rt.train.checkpoint import load_checkpoint, random_states, restore_random_states, save_checkpoint


def test_checkpoints_hold_no_code_and_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.pt"
    save_checkpoint(path, {"weights": torch.arange(3.0), "random": random_states()})
    state = load_checkpoint(path)
    drawn = (float(torch.rand(())), float(np.random.random()))  # noqa: NPY002 - the global generator is the point
    restore_random_states(state["random"])
    assert drawn == (float(torch.rand(())), float(np.random.random()))  # noqa: NPY002
    assert [item.name for item in path.parent.iterdir()] == ["last.pt"]
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match="cannot be read"):
        load_checkpoint(path)
    torch.save({"format": 1, "evil": pickle.loads}, path)
    with pytest.raises(ModelError, match="cannot be read"):
        load_checkpoint(path)
