"""Contours to voxels, ours against rt-utils in one run: `python benchmarks/rasterize.py`.

Speed: 11 ROIs with 441 contours of a pelvis on 512 x 512 x 120 voxels of 0.977 x 0.977 x 3 mm. Accuracy: spheres whose
contours stand for exactly the sphere's volume. Both studies are written as DICOM into a temporary folder; each side
reads them and makes all masks in a process of its own, on one core. Time is that of the masks alone, best of three, the
ratio that of CPU time; memory is the process's, after reading (rt-utils keeps 16-bit pixels, we keep float HU) and at
its peak (theirs is a mask of one byte per voxel, ours a fraction of four).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

FRAME = "2.25.1"
SLICE_MM, PIXEL_MM = 3.0, 0.977
REPEATS = 3
Mask = Callable[[str], np.ndarray]

# Name: first plane (mm), planes, centre (y, x) and half axes (y, x) in mm. With the External's 120: 441 contours.
PELVIS = {
    "PTV_7000": (108, 29, (10, 0), (30, 32)),
    "PTV_5600": (105, 37, (12, 0), (35, 38)),
    "Prostate": (120, 19, (10, 0), (22, 25)),
    "SeminalVes": (165, 9, (20, 0), (9, 26)),
    "Rectum": (90, 51, (45, 0), (17, 18)),
    "Bladder": (150, 31, (-25, 0), (35, 40)),
    "Femur_Head_L": (120, 25, (10, 90), (24, 25)),
    "Femur_Head_R": (120, 25, (10, -90), (24, 25)),
    "Bag_Bowel": (108, 83, (-30, 0), (60, 100)),
    "PenileBulb": (93, 12, (25, 0), (9, 9)),
}
SPHERES_MM = (3, 6, 10, 20, 30)


def make_ellipse(area_mm2: float, ratio: float, centre: tuple[float, float], wave: float = 0.0) -> np.ndarray:
    """Vertices (y, x), about 2 mm apart, of a curve of exactly this area, `ratio` times as wide as high."""
    half_y = np.sqrt(area_mm2 / np.pi / ratio)
    count = max(24, int(np.pi * half_y * (1 + ratio) / 2))
    angle = 0.3 + 2 * np.pi * np.arange(count) / count
    radius = 1 + wave * np.sin(7 * angle)
    y, x = half_y * radius * np.sin(angle), half_y * ratio * radius * np.cos(angle)
    polygon_area = abs(np.dot(y, np.roll(x, -1)) - np.dot(x, np.roll(y, -1))) / 2
    scale = np.sqrt(area_mm2 / polygon_area)
    return np.stack((centre[0] + scale * y, centre[1] + scale * x), axis=1)


def make_pelvis_planes() -> dict[str, dict[float, np.ndarray]]:
    """ROI -> z -> polygon."""
    rois = {"External": {SLICE_MM * i: make_ellipse(np.pi * 115 * 195, 195 / 115, (0, 0), 0.02) for i in range(120)}}
    for name, (first, count, centre, (half_y, half_x)) in PELVIS.items():
        for i in range(count):
            share = 1 - ((2 * i + 1 - count) / (count + 1)) ** 2
            polygon = make_ellipse(np.pi * half_y * half_x * share, half_x / half_y, centre, 0.05)
            rois.setdefault(name, {})[first + SLICE_MM * i] = polygon
    return rois


def make_sphere_planes() -> dict[str, dict[float, np.ndarray]]:
    """Spheres at odd places: the area of each disc is the mean of the sphere over the plane's slab."""
    rois: dict[str, dict[float, np.ndarray]] = {}
    places = {3: (-61.3, -50.2), 6: (-60.1, 3.7), 10: (-45.6, 55.1), 20: (10.4, 50.3), 30: (25.2, -40.9)}
    for radius in SPHERES_MM:
        for i in range(-11, 12):
            low, high = np.clip(((i - 0.5) * SLICE_MM, (i + 0.5) * SLICE_MM), -radius, radius)
            volume = np.pi * (radius**2 * (high - low) - (high**3 - low**3) / 3)
            if volume > 0:
                rois.setdefault(f"r{radius:02d}", {})[60 + SLICE_MM * i] = make_ellipse(
                    volume / SLICE_MM, 1, places[radius]
                )
    return rois


def write_study(folder: Path, rois: dict[str, dict[float, np.ndarray]], shape: tuple[int, int, int]) -> None:
    from vmat_rt.case import Case, ContourPlane, Contours, Prescription, Structure, Volume
    from vmat_rt.dicom.write.export import ExportOptions, export_case
    from vmat_rt.grid import Grid

    half = PIXEL_MM * (shape[1] - 1) / 2
    grid = Grid(shape, (SLICE_MM, PIXEL_MM, PIXEL_MM), (0.0, -half + 0.31, -half + 0.17), FRAME)
    structures = {
        name: Structure(name, name, Contours(tuple(ContourPlane(z, (p,)) for z, p in planes.items()), SLICE_MM, FRAME))
        for name, planes in rois.items()
    }
    body = next(iter(structures.values()))
    case = Case(
        key="benchmark",
        ct=Volume(grid, np.zeros(shape, np.float32)),
        structures=structures,
        body=body,
        prescription=Prescription({"PTV_7000": 70.0}, 28, "benchmark"),
        protocol_name="prostate_sib_70_56",
    )
    export_case(case, folder, ExportOptions(with_plan=False))


def ours(folder: Path) -> tuple[list[str], Mask]:
    from vmat_rt.dicom.load import load_structures
    from vmat_rt.dicom.study import read_study
    from vmat_rt.geometry.rasterize import structure_fraction

    study = read_study(folder)
    assert study.ct is not None
    grid = study.ct.volume.grid
    structures = {structure.roi_name: structure for structure in load_structures(study, None)}
    return list(structures), lambda name: structure_fraction(structures[name], grid)


def rt_utils(folder: Path) -> tuple[list[str], Mask]:
    from rt_utils import RTStructBuilder

    structures = RTStructBuilder.create_from(str(folder / "CT"), str(folder / "RTSTRUCT.dcm"))
    return structures.get_roi_names(), structures.get_roi_mask_by_name


SIDES = {"vmat-rt": ours, "rt-utils": rt_utils}


def read_peak_mib() -> float:
    """Highest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(side: str, folder: Path) -> None:
    """In a process of its own: print best times over all ROIs, peak memory and volumes as JSON."""
    names, mask = SIDES[side](folder)
    read_mib = read_peak_mib()
    volumes_cc = {}
    wall_seconds, cpu_seconds = [0.0] * REPEATS, [0.0] * REPEATS
    for repeat in range(REPEATS):
        for name in names:
            wall, cpu = time.perf_counter(), time.process_time()
            array = mask(name)
            wall_seconds[repeat] += time.perf_counter() - wall
            cpu_seconds[repeat] += time.process_time() - cpu
            volumes_cc[name] = float(array.sum(dtype=np.float64)) * SLICE_MM * PIXEL_MM**2 / 1000
            del array
    result = {"seconds": min(wall_seconds), "cpu_seconds": min(cpu_seconds)}
    result |= {"read_mib": read_mib, "peak_mib": read_peak_mib()}
    print(json.dumps({**result, "volumes_cc": volumes_cc}))


def run_in_own_process(side: str, folder: Path) -> dict:
    one_core = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, __file__, "--measure", side, str(folder)]
    done = subprocess.run(command, env={**os.environ, **one_core}, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        pelvis, spheres = Path(temporary) / "pelvis", Path(temporary) / "spheres"
        rois = make_pelvis_planes()
        write_study(pelvis, rois, (120, 512, 512))
        write_study(spheres, make_sphere_planes(), (41, 200, 200))
        speed = {side: run_in_own_process(side, pelvis) for side in SIDES}
        accuracy = {side: run_in_own_process(side, spheres) for side in SIDES}
    print(f"{len(rois)} ROIs, {sum(len(p) for p in rois.values())} contours, 512 x 512 x 120 voxels, one core\n")
    print(f"{'':12}{'seconds':>10}{'CPU s':>10}{'ratio':>8}{'MiB read':>10}{'MiB peak':>10}")
    for side, result in speed.items():
        ratio = result["cpu_seconds"] / speed["vmat-rt"]["cpu_seconds"]
        numbers = f"{result['seconds']:10.3f}{result['cpu_seconds']:10.3f}{ratio:8.1f}"
        print(f"{side:12}{numbers}{result['read_mib']:10.0f}{result['peak_mib']:10.0f}")
    print(f"\n{'sphere, mm':12}{'cc':>10}" + "".join(f"{side + ' %':>12}" for side in SIDES))
    for radius in SPHERES_MM:
        truth = 4 / 3 * np.pi * radius**3 / 1000
        errors = (100 * (accuracy[side]["volumes_cc"][f"r{radius:02d}"] / truth - 1) for side in SIDES)
        print(f"{radius:<12}{truth:10.3f}" + "".join(f"{error:+12.3f}" for error in errors))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", nargs=2, metavar=("SIDE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure[0], Path(arguments.measure[1]))
    else:
        compare()
