"""read_run: what a training run says of itself, from its files alone; and what bundles say of the evaluated models."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmat_rt.bundle import RUN_BUNDLE, Bundle, list_installed_bundles, load_bundle
from vmat_rt.errors import InputError, Problem, VmatError


@dataclass(frozen=True)
class RunRecord:
    """One run. name is its recipe's; history one mapping an epoch, a value only where one was noted.

    bundle is None for a run that has not packed one yet; recipe, environment and the rest are as run.json has them.
    """

    name: str
    seed: str
    history: tuple[Mapping[str, float], ...]
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    identity: Mapping[str, Any]
    bundle: Bundle | None

    @property
    def sha256(self) -> str:
        """The identity of its bundle, or empty."""
        return "" if self.bundle is None else self.bundle.identity.sha256


def label_recipes(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """Label each run's recipe by its name, and by a number where a recipe of that name has other settings."""
    variants: dict[str, list[Mapping[str, Any]]] = {}
    labels = []
    for run in runs:
        of_name = variants.setdefault(run.name, [])
        if run.recipe not in of_name:
            of_name.append(run.recipe)
        number = of_name.index(run.recipe)
        labels.append(f"{run.name} ({number + 1})" if number else run.name)
    return tuple(labels)


def read_run(folder: Path) -> RunRecord:
    """Raises InputError (RUN_UNREADABLE) when the folder is not that of a run or is damaged."""
    try:
        document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        recipe = dict(document.pop("recipe"))
        environment = dict(document.pop("environment", {}))
        seed = str(document["seed"])
        history = tuple(_read_history(folder / "metrics.csv"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{folder.name} is not a readable run: {error}."
        raise InputError(Problem("RUN_UNREADABLE", message, "Give a folder of vmat-rt train.")) from error
    return RunRecord(
        str(recipe.get("name", folder.name)), seed, history, recipe, environment, document, _read_bundle(folder)
    )


def _read_history(path: Path) -> Iterable[Mapping[str, float]]:
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield {name: float(value) for name, value in row.items() if name and value}


def _read_bundle(folder: Path) -> Bundle | None:
    try:
        return load_bundle(folder / RUN_BUNDLE)
    except VmatError:
        return None


def collect_bundles(runs: Iterable[RunRecord]) -> dict[str, Bundle]:
    """The bundles of these runs and those that are installed, by the SHA-256 of their identity."""
    own = [run.bundle for run in runs if run.bundle is not None]
    return {bundle.identity.sha256: bundle for bundle in (*list_installed_bundles(), *own)}
