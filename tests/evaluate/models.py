"""Small networks, and folders that look like a run's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from tests.nn.cases import CHANNELS, manifest
from vmat_rt.bundle import TRAINING_CASES, Bundle
from vmat_rt.nn.network_bundle import NetworkSettings, pack_network
from vmat_rt.nn.unet import UNet, UNetSettings


def pack_tiny(folder: Path, seed: int = 1, trained_on: Mapping[str, str] | None = None, **changes: object) -> Bundle:
    """trained_on: key -> image hash of what it says that it was trained on. changes: of its manifest."""
    settings = NetworkSettings(unet=UNetSettings(width=4, levels=2, embedding=8), targets=CHANNELS.targets)
    torch.manual_seed(seed)
    network = UNet(settings.unet, len(CHANNELS.names), CHANNELS.condition_size)
    said = {} if trained_on is None else {TRAINING_CASES: json.dumps(trained_on).encode()}
    return pack_network(folder, manifest(settings).model_copy(update=changes), network, beside=said)


def pack_run(
    folder: Path, seed: int, train: Iterable[str], recipe: str = "one", validation: Iterable[str] = ()
) -> Path:
    """A bundle in a folder with the run.json of a training run, as far as an evaluation reads it."""
    pack_tiny(folder / "bundle", seed)
    said_by_run = {"seed": seed, "train": list(train), "validation": list(validation), "recipe": {"name": recipe}}
    (folder / "run.json").write_text(json.dumps(said_by_run), encoding="utf-8")
    return folder
