"""Reading training patches and whole cases from a cohort, against .npz and .npy: `python benchmarks/store.py`.

Simulated pelves on the prostate grid (96 x 160 x 192 voxels of 2.5 mm): CT int16, every structure uint8, dose uint16
(a stand-in that falls off round the targets with texture; its values do not matter, how well they compress does). All
sides hold the same integers and hand over the same arrays, which is asserted. A patch is CT + all structures + dose at
a random place of a random case, opened anew each time, as a data loader does.

warm: files in the page cache. cold: their pages dropped before each read (posix_fadvise), the disk's own cache left.
Sides take turns; a figure is the median over the reads in ms of wall time, the ratio that of .npz (compressed) to ours.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from vmat_rt.bundle import GridRule
from vmat_rt.case import Case, Volume
from vmat_rt.cohort.arrays import Patch
from vmat_rt.cohort.record import CaseOrigin, describe
from vmat_rt.cohort.settings import CohortSettings, Provenance
from vmat_rt.cohort.store import Cohort
from vmat_rt.geometry.distance import signed_distance_mm
from vmat_rt.geometry.gridded import gridded
from vmat_rt.geometry.model_grid import model_grid
from vmat_rt.grid import Shape
from vmat_rt.phantom.anatomy.patient import simulate_patient

SHAPE: Shape = (96, 160, 192)
RULE = GridRule(kind="fixed", shape=SHAPE, spacing_mm=(2.5, 2.5, 2.5))
PATCHES: dict[str, Shape] = {"64^3": (64, 64, 64), "96^3": (96, 96, 96), "96x128x128": (96, 128, 128), "whole": SHAPE}
SETTINGS = CohortSettings(
    name="benchmark",
    protocol="prostate_sib_70_56",
    grid=RULE,
    provenance=Provenance(data="simulated", licence="Apache-2.0", simulated=True, command="benchmarks/store.py"),
)
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]
Read = Callable[[str, Shape, Shape], Arrays]


def add_dose(case: Case) -> Case:
    """A dose that covers the targets, falls off over centimetres and has the texture of modulated beams."""
    grid = model_grid(RULE, case)
    placed = gridded(case, grid)
    targets = [placed.structures[name].shape.array for name in placed.targets()]
    distance_mm = signed_distance_mm(np.max(targets, axis=0), grid, 150.0)
    z, y, x = (grid.axis_mm(axis) - grid.centre_mm[axis] for axis in range(3))
    texture = np.sin(z[:, None, None] / 9) * np.sin(y[:, None] / 7 + z[:, None, None] / 17) * np.sin(x / 8)
    dose = 71 * np.exp(-np.maximum(distance_mm, 0) / 25) * (1 + 0.03 * texture) * placed.body.shape.array
    return replace(placed, reference_dose=Volume(grid, dose.astype(np.float32)))


def build(folder: Path, count: int) -> Cohort:
    """The same cases as a cohort, as KEY.npz and as KEY.{ct,structures,dose}.npy."""
    cohort = Cohort.create(folder / "cohort", SETTINGS)
    for index in range(count):
        case = add_dose(simulate_patient(5, index).case)
        key = f"c{index}"
        cohort.add(case, describe(case, CaseOrigin(key=key, patient=key, source="simulated")))
        whole = cohort.arrays(key).read()
        arrays = {"ct": whole.hu, "structures": whole.levels, "dose": whole.steps}
        np.savez_compressed(folder / f"{key}.npz", **arrays)
        for name, values in arrays.items():
            np.save(folder / f"{key}.{name}.npy", values)
    return cohort


def make_readers(folder: Path, cohort: Cohort) -> dict[str, Read]:
    def cut_box(start: Shape, stop: Shape) -> tuple[slice, ...]:
        return tuple(slice(a, b) for a, b in zip(start, stop, strict=True))

    def read_ours(key: str, start: Shape, stop: Shape) -> Arrays:
        patch: Patch = cohort.read_patch(key, start, stop)
        return patch.hu, patch.levels, patch.steps

    def read_npz(key: str, start: Shape, stop: Shape) -> Arrays:
        with np.load(folder / f"{key}.npz") as file:
            ct, structures, dose = (file[name][(..., *cut_box(start, stop))] for name in ("ct", "structures", "dose"))
        return ct, structures, dose

    def make_npy_reader(mode: str | None) -> Read:
        def read(key: str, start: Shape, stop: Shape) -> Arrays:
            ct, structures, dose = (
                np.array(np.load(folder / f"{key}.{name}.npy", mmap_mode=mode)[(..., *cut_box(start, stop))])
                for name in ("ct", "structures", "dose")
            )
            return ct, structures, dose

        return read

    return {"store": read_ours, ".npz": read_npz, ".npy": make_npy_reader(None), ".npy mapped": make_npy_reader("r")}


def drop_from_cache(files: list[Path]) -> None:
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def measure(sides: dict[str, Read], files: list[Path], size: Shape, reads: int, cold: bool) -> dict[str, float]:
    """Median ms of each side over the same random places."""
    random = np.random.default_rng(2)
    keys = sorted(path.name.removesuffix(".npz") for path in files if path.suffix == ".npz")
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(reads):
        key = keys[random.integers(len(keys))]
        z, y, x = (int(random.integers(n - s + 1)) for n, s in zip(SHAPE, size, strict=True))
        stop = (z + size[0], y + size[1], x + size[2])
        found: list[Arrays] = []
        for name, read in sides.items():
            if cold:
                drop_from_cache(files)
            begin = time.perf_counter()
            arrays = read(key, (z, y, x), stop)
            taken[name].append(1000 * (time.perf_counter() - begin))
            found.append(arrays)
        assert all(np.array_equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))
    return {name: statistics.median(times) for name, times in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--reads", type=int, default=24)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cohort = build(folder, options.cases)
        sides, files = make_readers(folder, cohort), [path for path in folder.rglob("*") if path.is_file()]
        for side, pattern in (("store", "cohort/cases/**/*"), (".npz", "*.npz"), (".npy", "*.npy")):
            size = sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())
            print(f"{side:>12}: {size / 1e6 / options.cases:6.2f} MB a case")
        print(f"{'':>18}" + "".join(f"{side:>13}" for side in sides) + f"{'.npz / store':>14}")
        for cold in (False, True):
            for label, size in PATCHES.items():
                ms = measure(sides, files, size, options.reads, cold)
                row = "".join(f"{ms[side]:10.1f} ms" for side in sides)
                print(f"{'cold' if cold else 'warm'} {label:>13}{row}{ms['.npz'] / ms['store']:14.1f}")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
