"""RunFolder: what a run leaves behind, and what tells a resumed run that it is the same one.

recipe.yaml         as used, defaults included      run.json        seed, hashes, case keys, machine, versions, commit
metrics.csv         a row an epoch                  summary.json    how it ended
checkpoints/        last.pt, best.pt                tensorboard/
bundle/             the best network so far: `vmat-rt predict --model RUN`
"""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vmat_rt.errors import ConfigError
from vmat_rt.system.cores import usable_cores
from vmat_rt.system.publish import refuse_foreign
from vmat_rt.train.material import Material
from vmat_rt.train.recipe import FILE, differences

log = logging.getLogger("vmat_rt")

_PACKAGES = ("vmat-rt", "torch", "lightning-fabric", "numpy", "scipy", "lightgbm", "SimpleITK", "numba", "zarr")
_SAME = ("cohort_sha256", "split_sha256", "train", "validation")
_START = "start_sha256"


class RunFolder:
    """Paths and files of one run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.last = root / "checkpoints" / "last.pt"
        self.best = root / "checkpoints" / "best.pt"
        self.bundle = root / "bundle"
        self.tensorboard = root / "tensorboard"

    def refuse_other_run(self, resume: bool) -> None:
        """Raises ConfigError for a run that is there already, unless `resume` is asked for, and for other files."""
        if (self.root / "run.json").exists() and not resume:
            raise ConfigError(f"{self.root} holds a run; go on with it by --resume, or give another folder")
        refuse_foreign(self.root, ("run.json",), "a run")

    def begin(self, material: Material, device: torch.device, world: int) -> None:
        """Write recipe.yaml and run.json, or check that the run there is this one. Raises ConfigError when not."""
        wanted = _identity(material)
        path = self.root / "run.json"
        if path.exists():
            found = _read(path)
            other = _other_run(found, wanted)
            if other:
                raise ConfigError(f"{self.root} holds another run: {other}; give another folder")
            _warn_of_threads(found)
            for left in self.last.parent.glob("*.part"):  # of a checkpoint that a kill cut short
                left.unlink(missing_ok=True)
        else:
            self.root.mkdir(parents=True, exist_ok=True)
            _write_text(path, _json({**wanted, "environment": environment(device, world)}))
        if not (self.root / FILE).exists():
            _write_text(self.root / FILE, material.recipe.as_yaml())

    def write_history(self, history: Sequence[Mapping[str, float]]) -> None:
        """metrics.csv anew, so that a resumed run leaves no row of epochs that were lost."""
        names = list(dict.fromkeys(name for row in history for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        _write_text(self.root / "metrics.csv", text.getvalue())

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """summary.json."""
        _write_text(self.root / "summary.json", _json(summary))


def environment(device: torch.device, world: int) -> dict[str, Any]:
    """Machine, versions and commit: what a figure in a table must be read with."""
    return {
        "hardware": hardware(device, world),
        "threads": torch.get_num_threads(),  # another number adds up in another order
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
        "argv": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def hardware(device: torch.device, world: int) -> str:
    """One phrase: what the run computed on."""
    if device.type == "cuda":
        return f"{world} x {torch.cuda.get_device_name(device)}"
    return f"{usable_cores()} cores ({_processor()}), {world} process{'es' if world > 1 else ''}, no GPU"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Of this source tree, with a + when files differ from it; None where there is no git."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is damaged, so that nothing tells which run it is of: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is damaged: it holds no object")
    return found


def _other_run(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """In what the run there differs from the wanted one; empty where it is the same."""
    if found.get("seed") != wanted["seed"]:
        return f"its seed is {found.get('seed')}"
    settings = list(differences(wanted["recipe"], found.get("recipe")))
    if settings:
        return f"it was begun with {' '.join(settings)}"
    if found.get(_START) != wanted[_START]:
        return "the model that it began with has changed since"
    same = all(found.get(name) == wanted[name] for name in _SAME)
    return "" if same else "the cohort's cases or its split have changed since"


def _warn_of_threads(found: Mapping[str, Any]) -> None:
    before, now = found.get("environment", {}).get("threads"), torch.get_num_threads()
    if before != now:
        log.warning(
            "the run began with %s threads and goes on with %s: its losses differ in their last digits from those of "
            "an unbroken run; set OMP_NUM_THREADS=%s for the same", before, now, before,
        )  # fmt: skip


def _identity(material: Material) -> dict[str, Any]:
    return {
        "recipe": material.recipe.model_dump(mode="json"),
        "seed": material.seed,
        "cohort": material.cohort.settings.name,
        "cohort_sha256": material.cohort_sha256,
        "split_sha256": material.split_sha256,
        "train": list(material.train),
        "validation": list(material.validation),
        _START: None if material.start is None else material.start.identity.sha256,
    }


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
