"""Metrics, ours against other programs in one run: `python -m benchmarks.metrics [--dicompyler PYTHON] [--part gamma]`.

Gamma: 160 x 160 x 100 voxels of 2.5 mm, 3 % / 3 mm global above 10 %, max_gamma 2, against pymedphys (interp_fraction
10) and plastimatch. DVH: solids with known answers and a pelvis of eleven structures, against dicompyler-core and
plastimatch. Each side runs in a process of its own on one core; ratios are of processor time and of peak memory.
plastimatch's times include reading and writing its files, the other sides' do not. dicompyler-core does not import
beside pydicom 3: make it an environment with `pip install dicompyler-core "pydicom<3"` and name its Python.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SHAPE, SPACING_MM = (100, 160, 160), 2.5
PAIRS, PAIR_SHAPE = 30, (24, 24, 24)
DVH_SPACING_MM = 3.0
Measured = dict[str, Any]


# The doses


def plan_dose() -> tuple[np.ndarray, np.ndarray]:
    """70 Gy in a soft-edged target over a bath of 22 Gy; the same moved by 1.9 mm, 1 % up, with 1.2 Gy of noise."""
    from scipy.ndimage import gaussian_filter, shift

    z, y, x = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * SPACING_MM for n in SHAPE], indexing="ij")
    radius = np.sqrt((z / 40) ** 2 + (y / 45) ** 2 + (x / 50) ** 2)
    bath = 22 * np.exp(-(((y / 150) ** 2 + (x / 180) ** 2) ** 2)) * (np.abs(z) < 60)
    dose = gaussian_filter(70 / (1 + np.exp((radius - 1) * 7)) + bath, 1.2)
    noise = gaussian_filter(np.random.default_rng(3).standard_normal(SHAPE), 3)
    moved = shift(dose, (0.4, 0.5, -0.4), order=1, mode="nearest") * 1.01 + 1.2 * noise / noise.std()
    return dose.astype(np.float32), np.clip(moved, 0, None).astype(np.float32)


# One side each, in its own process


def gamma_ours(folder: Path) -> Measured:
    from vmat_rt.case import Volume
    from vmat_rt.grid import Grid
    from vmat_rt.metrics.gamma.index import gamma

    doses = [np.load(folder / f"{name}.npy") for name in ("reference", "evaluation")]
    small = Grid((6, 6, 6), (SPACING_MM,) * 3, (0.0,) * 3, "1")
    gamma(*(Volume(small, dose[47:53, 77:83, 77:83]) for dose in doses))  # compiled, or read from numba's cache
    grid = Grid(SHAPE, (SPACING_MM,) * 3, (0.0,) * 3, "1")
    measured, result = time_work(lambda: gamma(*(Volume(grid, dose) for dose in doses)), repeats=3)
    return {**measured, "pass_percent": result.pass_rate_percent, "mean": result.mean}


def gamma_pymedphys(folder: Path) -> Measured:
    doses = [np.load(folder / f"{name}.npy") for name in ("reference", "evaluation")]
    measured, found = time_work(lambda: run_pymedphys(*doses, (SPACING_MM,) * 3))
    known = found[np.isfinite(found)]
    return {**measured, "pass_percent": 100 * float(np.mean(known <= 1)), "mean": float(known.mean())}


def run_pymedphys(reference: np.ndarray, evaluation: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    import pymedphys

    axes = tuple(np.arange(n) * s for n, s in zip(reference.shape, spacing_mm, strict=True))
    options = {"lower_percent_dose_cutoff": 10, "interp_fraction": 10, "max_gamma": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pymedphys.gamma(axes, reference, axes, evaluation, 3, 3, **options)


def gamma_plastimatch(folder: Path) -> Measured:
    command = ["plastimatch", "gamma", "--output", str(folder / "map.mha"), "--interp-search", "--ref-only-threshold"]
    command += [str(folder / "reference.mha"), str(folder / "evaluation.mha")]
    measured = time_program(command)
    import SimpleITK as sitk

    found = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "map.mha")))
    reference = np.load(folder / "reference.npy")
    known = found[reference >= 0.1 * reference.max()]
    return {**measured, "pass_percent": 100 * float(np.mean(known <= 1)), "mean": float(known.mean())}


def dvh_ours(folder: Path) -> Measured:
    from vmat_rt.dicom.load import load_structures
    from vmat_rt.dicom.study import read_study
    from vmat_rt.metrics.dvh.compute import compute_dvhs

    study = read_study(folder)
    assert study.dose is not None
    structures, dose = load_structures(study, None), study.dose.volume
    compute_dvhs(structures[-1:], dose)
    measured, dvhs = time_work(lambda: compute_dvhs(structures, dose, metrics=("D95%",)), repeats=3)
    return {**measured, "d95_gy": {n: dvh.value("D95%") for n, dvh in dvhs.items()}}


def dvh_dicompyler(folder: Path) -> Measured:
    """Runs in an environment without vmat_rt."""
    from dicompylercore import dicomparser, dvhcalc

    structures, dose = folder / "RTSTRUCT.dcm", folder / "RTDOSE.dcm"
    rois = dicomparser.DicomParser(str(structures)).GetStructures()

    def compute_all_dvhs() -> dict[str, float]:
        found = {}
        for number, roi in rois.items():
            dvh = dvhcalc.get_dvh(str(structures), str(dose), number)
            found[roi["name"]] = float(dvh.D95.value) if dvh.volume else float("nan")
        return found

    measured, found = time_work(compute_all_dvhs)
    return {**measured, "d95_gy": found}


def dvh_plastimatch(folder: Path) -> Measured:
    table = folder.parent / f"{folder.name}.csv"
    command = ["plastimatch", "dvh", "--input", str(folder), "--output-csv", str(table)]
    command += ["--bin-width", "0.05", "--num-bins", "2400"]
    measured = time_program(command)
    head, *lines = table.read_text().splitlines()
    numbers = np.array([[float(cell) for cell in line.split(",")] for line in lines])
    found = {}
    for name, share in zip(head.split(",")[1:], numbers.T[1:], strict=True):
        reached = np.flatnonzero(share >= 0.95)
        found[name] = float(numbers[reached[-1], 0]) if reached.size else float("nan")
    return {**measured, "d95_gy": found}


SIDES: dict[str, Callable[[Path], Measured]] = {
    "gamma vmat-rt": gamma_ours,
    "gamma pymedphys": gamma_pymedphys,
    "gamma plastimatch": gamma_plastimatch,
    "dvh vmat-rt": dvh_ours,
    "dvh dicompyler": dvh_dicompyler,
    "dvh plastimatch": dvh_plastimatch,
}


def time_work(work: Callable[[], Any], repeats: int = 1) -> tuple[Measured, Any]:
    """Best wall and processor seconds, and the highest resident memory before and after, MiB."""
    before = read_peak_mib()
    wall, processor, result = [], [], None
    for _ in range(repeats):
        start, used = time.perf_counter(), time.process_time()
        result = work()
        processor.append(time.process_time() - used)
        wall.append(time.perf_counter() - start)
    measured = {"seconds": min(wall), "cpu_seconds": min(processor), "before_mib": before, "peak_mib": read_peak_mib()}
    return measured, result


def time_program(command: list[str]) -> Measured:
    """The same for a program, whose memory is read while it runs."""
    start, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, read_peak_mib(str(process.pid)))
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{command[:2]} ended with {process.returncode}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = time.perf_counter() - start
    return {"seconds": wall, "cpu_seconds": used.ru_utime + used.ru_stime, "before_mib": 0.0, "peak_mib": peak}


def read_peak_mib(process: str = "self") -> float:
    """Highest resident memory since the program was started; ru_maxrss would count the parent's as well."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def run_in_own_process(side: str, folder: Path, python: str = sys.executable) -> Measured:
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(threads, "1")}
    command = [python, __file__, "--measure", side, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


# Tables


def print_gamma_table() -> None:
    import SimpleITK as sitk

    sides = ["gamma vmat-rt", "gamma pymedphys"] + (["gamma plastimatch"] if shutil.which("plastimatch") else [])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, dose in zip(("reference", "evaluation"), plan_dose(), strict=True):
            np.save(folder / f"{name}.npy", dose)
            image = sitk.GetImageFromArray(dose)
            image.SetSpacing((SPACING_MM,) * 3)
            sitk.WriteImage(image, str(folder / f"{name}.mha"))
        run_in_own_process(
            sides[0], folder
        )  # numba compiles once for an installation; that is neither speed nor memory
        found = {side: run_in_own_process(side, folder) for side in sides}
    ours = found[sides[0]]
    print("\n| gamma | pass % | mean | seconds | CPU s | time ratio | peak MiB | added MiB | memory ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for side, m in found.items():
        time_ratio, memory_ratio = m["cpu_seconds"] / ours["cpu_seconds"], m["peak_mib"] / ours["peak_mib"]
        added = m["peak_mib"] - m["before_mib"]
        print(
            f"| {side.removeprefix('gamma ')} | {m['pass_percent']:.3f} | {m['mean']:.4f} | {m['seconds']:.2f} |"
            f" {m['cpu_seconds']:.2f} | {time_ratio:.1f} | {m['peak_mib']:.0f} | {added:.0f} | {memory_ratio:.2f} |"
        )


def print_agreement_table() -> None:
    from tests.metrics.doses import smooth_pair
    from vmat_rt.grid import Grid
    from vmat_rt.metrics.gamma.index import gamma

    gaps = []
    for seed in range(PAIRS):
        spacing = (3.0, 2.0, 2.5) if seed % 2 else (SPACING_MM,) * 3
        pair = smooth_pair(seed, Grid(PAIR_SHAPE, spacing, (-7.0, 3.5, 11.0), "1"))
        theirs = run_pymedphys(*(dose.array.astype(np.float64) for dose in pair), spacing)
        known, ours = theirs[np.isfinite(theirs)], gamma(*pair)
        gaps.append((ours.pass_rate_percent - 100 * np.mean(known <= 1), ours.mean - known.mean()))
    (worst_pass, worst_mean), (mean_pass, mean_mean) = np.abs(gaps).max(axis=0), np.mean(gaps, axis=0)
    print(f"\nAgainst pymedphys on {PAIRS} random smooth pairs of {' x '.join(map(str, PAIR_SHAPE))} voxels:")
    print(f"pass rate differs by at most {worst_pass:.3f} percentage points (on average {mean_pass:+.3f}),")
    print(f"mean gamma by at most {worst_mean:.4f} (on average {mean_mean:+.4f}).")


def write_study(folder: Path, structures: list, dose: Any) -> None:
    """CT (empty), RTSTRUCT and RTDOSE that hold these structures and this dose."""
    from vmat_rt.case import Case, Prescription, Volume
    from vmat_rt.dicom.write.export import export_case
    from vmat_rt.grid import Grid

    low, high = dose.grid.bounds_mm
    shape = (int((high[0] - low[0]) / DVH_SPACING_MM) + 2, 130, 140)
    spacing = (DVH_SPACING_MM, (high[1] - low[1]) / 128, (high[2] - low[2]) / 138)
    frame = structures[0].shape.frame_uid
    first = structures[0].shape.planes[0].z_mm
    bottom = first - DVH_SPACING_MM * np.ceil((first - low[0]) / DVH_SPACING_MM)
    ct = Volume(Grid(shape, spacing, (float(bottom), low[1], low[2]), frame), np.zeros(shape, np.float32))
    named = {structure.roi_name: structure for structure in structures}
    prescription = Prescription({structures[0].roi_name: 70.0}, 28, "benchmark")
    export_case(Case("benchmark", ct, named, structures[0], prescription, "benchmark", reference_dose=dose), folder)


def print_dvh_tables(dicompyler: str | None) -> None:
    from benchmarks.dvh import make_pelvic_dose, make_pelvis, print_accuracy_table, print_time_table
    from tests.metrics.solids import GRADIENTS, SOLIDS, contours_of, linear_dose

    sides = {"dvh vmat-rt": sys.executable}
    sides |= {"dvh dicompyler": dicompyler} if dicompyler else {}
    sides |= {"dvh plastimatch": sys.executable} if shutil.which("plastimatch") else {}
    errors: dict[str, list[float]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as temporary:
        for gradient in GRADIENTS:
            for spacing in (1.0, 2.0, 3.0):
                folder = Path(temporary) / f"{gradient}_{spacing:g}"
                write_study(folder, [contours_of(s, DVH_SPACING_MM) for s in SOLIDS], linear_dose(gradient, spacing))
                truth = {s.kind: s.dose_at(gradient, (0.95,))[0] for s in SOLIDS}
                for side, python in sides.items():
                    found = run_in_own_process(side, folder, python)["d95_gy"]
                    errors[side] += [100 * abs(found.get(name, np.nan) / gy - 1) for name, gy in truth.items()]
        folder = Path(temporary) / "pelvis"
        write_study(folder, make_pelvis(), make_pelvic_dose())
        speed = {side: run_in_own_process(side, folder, python) for side, python in sides.items()}
    print(f"\n{len(errors['dvh vmat-rt'])} D95% of solids in linear gradients; eleven structures of a pelvis\n")
    print("| DVH | D95% error median % | worst % | not found | pelvis s | CPU s | time ratio | peak MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for side, m in speed.items():
        known = [error for error in errors[side] if np.isfinite(error)] or [np.nan]
        ratio, absent = m["cpu_seconds"] / speed["dvh vmat-rt"]["cpu_seconds"], np.isnan(errors[side]).sum()
        print(
            f"| {side.removeprefix('dvh ')} | {np.median(known):.3f} | {max(known):.2f} | {absent} |"
            f" {m['seconds']:.2f} | {m['cpu_seconds']:.2f} | {ratio:.1f} | {m['peak_mib']:.0f} |"
        )
    print_time_table()
    print_accuracy_table()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dicompyler", metavar="PYTHON", help="Python of an environment with dicompyler-core")
    parser.add_argument("--part", choices=("gamma", "dvh"), help="only this part")
    parser.add_argument("--measure", nargs=2, metavar=("SIDE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(json.dumps(SIDES[arguments.measure[0]](Path(arguments.measure[1]))))
    else:
        if arguments.part != "dvh":
            print_gamma_table()
            print_agreement_table()
        if arguments.part != "gamma":
            print_dvh_tables(arguments.dicompyler)
