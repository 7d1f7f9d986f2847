"""Checkpoints: all that a run needs to go on as if it had never stopped, written whole or not at all.

They are local to their run folder and read with weights_only=True: tensors and plain values, nothing that executes.
"""

from __future__ import annotations

import os
import pickle
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vmat_rt.errors import ModelError
from vmat_rt.system.publish import flush

FORMAT = 1


@dataclass
class Progress:
    """Where a run stands: `step` steps of `epoch` are done. sums: each loss term summed over those steps. history: one
    row an epoch. best: the best value of the chosen metric and its epoch; waited: validations since then.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best: float | None = None
    best_epoch: int = -1
    waited: int = 0


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write beside, flush, rename: a kill leaves the old checkpoint or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.part")
    torch.save({"format": FORMAT, **state}, temporary)
    flush(temporary)
    temporary.replace(path)
    flush(path.parent)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Raises ModelError when it is damaged or of another version of this program."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError(f"checkpoint {path.name} cannot be read: {error}") from error
    if state.get("format") != FORMAT:
        raise ModelError(f"checkpoint {path.name} was written by another version of this program")
    return state


def random_states() -> dict[str, Any]:
    """Of torch, numpy and Python, in values that a checkpoint may hold."""
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - saved for whoever uses it
    numpy_state = (str(name), [int(k) for k in keys], int(position), int(has_gauss), float(cached))
    states: dict[str, Any] = {"torch": torch.get_rng_state(), "numpy": numpy_state, "python": random.getstate()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(states: dict[str, Any]) -> None:
    """As random_states gave them."""
    torch.set_rng_state(states["torch"])
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), position, has_gauss, cached))  # noqa: NPY002
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    if torch.cuda.is_available() and len(states.get("cuda", ())) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
