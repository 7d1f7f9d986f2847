"""Examples: every case of a run encoded once, kept on disk and mapped into memory.

A folder an example, named by a hash of all that decides its content: runs with the same inputs share them. Inputs are
float16 (encode gives values that fit), fractions bytes, the dose float32.
"""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vmat_rt.case import Case, FloatArray
from vmat_rt.cohort.store import Cohort, canonical_sha256
from vmat_rt.errors import ConfigError, InputError, ModelError
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.geometry.resample import resample
from vmat_rt.metrics.dose_error import require_some_dose
from vmat_rt.nn.coarse import body_average, encode_coarsened
from vmat_rt.nn.encode import Channels, Encoded
from vmat_rt.system.cores import usable_cores
from vmat_rt.system.processes import WorkerDiedError, run_here, run_tasks
from vmat_rt.system.publish import published_folder
from vmat_rt.train.batch import StructureTable

log = logging.getLogger("vmat_rt")


class Keyed(Protocol):
    """A task of one case."""

    @property
    def key(self) -> str: ...


Task = TypeVar("Task", bound=Keyed)

FORMAT = 2
WORTH_A_POOL = 8
"""Cases from which starting processes, a few seconds each, pays."""


@dataclass(frozen=True)
class ExampleSettings:
    """What is made of a case: channels, structures, and grid voxels a side of a network's voxel."""

    channels: Channels
    table: StructureTable
    coarsen: int

    @property
    def key(self) -> str:
        """The same for two settings that give the same examples."""
        return canonical_sha256(
            {"format": FORMAT, "channels": self.channels.model_dump(mode="json"), "table": asdict(self.table)}
        )


@dataclass(frozen=True)
class Example:
    """One encoded case; arrays are read from disk where they are touched.

    array float16 (c, z, y, x); condition float32 (k,); dose relative to highest_gy, body and structures (s, z, y, x) in
    255ths; totals (s,): sum of each structure's bytes, 0 when it is absent.
    """

    key: str
    array: NDArray[np.float16]
    condition: FloatArray
    dose: FloatArray
    body: NDArray[np.uint8]
    structures: NDArray[np.uint8]
    totals: NDArray[np.int64]
    highest_gy: float
    spacing_mm: tuple[float, float, float]

    def encoded(self) -> Encoded:
        """The example as prediction has it."""
        body = np.divide(self.body, 255, dtype=np.float32)
        return Encoded(self.array.astype(np.float32), self.condition, body, self.highest_gy)


class Examples:
    """The examples of a cohort under `folder`. `priors` are another predictor's doses by case key (float32 .npy on the
    cohort's grid, Gy) and `priors_key` says which; both empty without the channel "prior".
    """

    def __init__(
        self,
        folder: Path,
        cohort: Cohort,
        settings: ExampleSettings,
        priors: dict[str, Path] | None = None,
        priors_key: str = "",
    ) -> None:
        self.settings = settings
        self.cohort = cohort
        self._folder, self._priors, self._priors_key = folder, priors or {}, priors_key

    def prepare(self, keys: Sequence[str]) -> None:
        """Encode the cases that are not there yet, on all cores; one process at a time does so."""
        with locked(self._folder):
            missing = [key for key in keys if not self._place(key).is_dir()]
            requests = [
                _Request(self.cohort.place.root, key, self._place(key), self.settings, self._priors.get(key))
                for key in missing
            ]
            workers = usable_cores() if len(missing) >= WORTH_A_POOL else 1
            for _ in tqdm(mapped(_write, requests, workers), "encoding", len(requests), unit="case", disable=None):
                pass

    def __getitem__(self, key: str) -> Example:
        # Opened anew each time: kept open, a large cohort would use up the process's file descriptors.
        return _read(self._place(key), key)

    def prior_gy(self, key: str) -> FloatArray | None:
        """The prior dose of a case on the cohort's grid (z, y, x), where there is one."""
        path = self._priors.get(key)
        return None if path is None else np.load(path)

    def _place(self, key: str) -> Path:
        content = self.cohort.record(key).content_sha256
        identity = [content, self.settings.key, self.settings.coarsen, self._priors_key if self._priors else ""]
        return self._folder / canonical_sha256(identity)[:24]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one process at a time is inside, on this machine or any that shares the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class _Request:
    cohort: str
    key: str
    place: Path
    settings: ExampleSettings
    prior: Path | None


def mapped(function: Callable[[Task], None], tasks: Sequence[Task], workers: int) -> Iterator[None]:
    """Do the tasks in `workers` processes of one thread each, or here. `function` and tasks must pickle.

    Raises what a task raised, WorkerDiedError for one that its process never survives; what was finished is kept.
    """
    done = run_here(function, tasks) if workers == 1 else run_tasks(function, tasks, workers, queued=workers)
    for task in done:
        if isinstance(task.error, WorkerDiedError):
            raise task.error.of(task.task.key)
        yield task.result()


def _write(request: _Request) -> None:
    case = Cohort.open(request.cohort).read(request.key)
    prior_gy = None if request.prior is None else np.load(request.prior)
    try:
        arrays = example_arrays(case, request.settings, prior_gy)
    except InputError as error:
        raise InputError(
            replace(problem, message=f"Case {request.key}: {problem.message}") for problem in error.problems
        ) from error
    with published_folder(request.place) as folder:
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        facts = {
            "highest_gy": float(arrays["highest_gy"]),
            "spacing_mm": case.ct.grid.coarsened(request.settings.coarsen).spacing_mm,
        }
        (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def example_arrays(
    case: Case, settings: ExampleSettings, prior_gy: FloatArray | None = None
) -> dict[str, NDArray[Any]]:
    """What is kept of a case on the cohort's grid. Raises ConfigError when it has no reference dose, InputError
    when that is empty or the case cannot be encoded.
    """
    if case.reference_dose is None:
        raise ConfigError(f"case {case.key} has no clinical dose to learn from")
    require_some_dose(case.reference_dose)
    grid = case.ct.grid
    encoded = encode_coarsened(case, grid, settings.channels, settings.coarsen, prior_gy)
    coarse = grid.coarsened(settings.coarsen)
    reference = resample(case.reference_dose, grid, 0.0, "cubic")
    dose = body_average(reference, case, coarse) / np.float32(encoded.highest_gy)
    structures = np.zeros((len(settings.table.names), *coarse.shape), np.uint8)
    for index, name in enumerate(settings.table.names):
        if name in case.structures:
            structures[index] = _bytes(structure_fraction(case.structures[name], coarse))
    return {
        "array": encoded.array.astype(np.float16),
        "condition": encoded.condition,
        "dose": dose.astype(np.float32),
        "body": _bytes(encoded.body),
        "structures": structures,
        "totals": structures.sum(axis=(1, 2, 3), dtype=np.int64),
        "highest_gy": np.float64(encoded.highest_gy),
    }


def _bytes(fraction: FloatArray) -> NDArray[np.uint8]:
    whole: NDArray[np.uint8] = np.rint(fraction * np.float32(255)).astype(np.uint8)
    return whole


def _read(folder: Path, key: str) -> Example:
    try:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        mapped = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("array", "dose", "body", "structures")
        }
        small = {name: np.load(folder / f"{name}.npy") for name in ("condition", "totals")}
    except (OSError, ValueError) as error:
        raise ModelError(f"the example of case {key} cannot be read: {error}; remove {folder.parent.name}") from error
    z, y, x = facts["spacing_mm"]
    return Example(key=key, highest_gy=facts["highest_gy"], spacing_mm=(z, y, x), **mapped, **small)
