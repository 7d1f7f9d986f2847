"""Time and accuracy of the DVH: `python -m benchmarks.dvh`. One core; no files are needed.

Time: eleven structures, body included, with contours on every slice of a 512 x 512 x 120 study (0.977 x 3 mm) and a
dose of 2.5 mm. Accuracy: sphere, cylinder and cone in linear dose gradients along and across the slices.
"""

from __future__ import annotations

import itertools
import time

import numpy as np

from tests.metrics.solids import GRADIENTS, SOLIDS, contours_of, linear_dose
from vmat_rt.case import ContourPlane, Contours, Structure, Volume
from vmat_rt.grid import Grid
from vmat_rt.metrics.dvh.compute import compute_dvh, compute_dvhs

FRAME = "1.2.3"
SLICES, SLAB_MM = 120, 3.0


def make_ellipsoid(name: str, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Structure:
    """An ellipsoid contoured on the slices z = 0, 3, ..., 357 mm; centre and radii (z, y, x) mm."""
    angle = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    planes = []
    for z in np.arange(SLICES) * SLAB_MM:
        share = 1 - ((z - centre[0]) / radii[0]) ** 2
        if share > 0:
            r = np.sqrt(share)
            ring = np.column_stack((centre[1] + radii[1] * r * np.sin(angle), centre[2] + radii[2] * r * np.cos(angle)))
            planes.append(ContourPlane(float(z), (ring,)))
    return Structure(name, name, Contours(tuple(planes), SLAB_MM, FRAME))


def make_pelvis() -> list[Structure]:
    femora = [make_ellipsoid(f"Femur_Head_{s}", (150, 10, x), (24, 24, 24)) for s, x in (("L", 90), ("R", -90))]
    return [
        make_ellipsoid("External", (178, 0, 0), (900, 115, 195)),
        make_ellipsoid("Bag_Bowel", (280, -30, 0), (75, 60, 100)),
        make_ellipsoid("Bladder", (190, -25, 0), (35, 35, 40)),
        make_ellipsoid("Rectum", (160, 45, 0), (55, 17, 18)),
        make_ellipsoid("PTV_7000", (150, 10, 0), (30, 30, 32)),
        make_ellipsoid("PTV_5600", (165, 12, 0), (45, 35, 38)),
        make_ellipsoid("PTV_5040", (200, 0, 0), (90, 50, 75)),
        make_ellipsoid("SeminalVes", (178, 22, 0), (10, 8, 24)),
        make_ellipsoid("PenileBulb", (112, 25, 0), (8, 9, 9)),
        *femora,
    ]


def make_pelvic_dose() -> Volume:
    """70 Gy in a soft-edged ellipsoid with hot and cold spots and a bath round it, 2.5 mm, over the whole patient."""
    grid = Grid((146, 98, 164), (2.5, 2.5, 2.5), (-1.3, -121.0, -203.7), FRAME)
    z, y, x = (grid.axis_mm(axis) for axis in range(3))
    zz, yy, xx = (z - 150)[:, None, None] / 33, (y - 10)[None, :, None] / 32, x[None, None, :] / 34
    radius = np.sqrt(zz**2 + yy**2 + xx**2)
    dose = 68 / (1 + np.exp((radius - 1.08) * 9)) + 9 * np.exp(-(radius**2) / 8)
    dose *= 1 + 0.03 * np.sin(xx * 7) * np.cos(yy * 5 + 1) * np.cos(zz * 6)
    return Volume(grid, dose.astype(np.float32))


def print_time_table() -> None:
    structures, dose = make_pelvis(), make_pelvic_dose()
    compute_dvhs(structures[-1:], dose)
    best_wall, best_cpu = np.inf, np.inf
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        dvhs = compute_dvhs(structures, dose)
        best_cpu = min(best_cpu, time.process_time() - cpu)
        best_wall = min(best_wall, time.perf_counter() - wall)
    print(f"\n{len(structures)} structures: best of 3 {best_wall:.2f} s wall, {best_cpu:.2f} s processor\n")
    print("| structure | volume cc | samples | step mm | change Gy | within | D95% | D0.03cc | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for structure in structures:
        start = time.process_time()
        dvh = compute_dvh(structure, dose)
        seconds = time.process_time() - start
        found = dvhs[structure.roi_name].grid_invariance
        assert found is not None
        print(
            f"| {structure.roi_name} | {dvh.volume_cc:.1f} | {found.samples} | {found.step_mm:.2f} |"
            f" {found.dose_change_gy:.3f} | {found.within_tolerance} | {dvh.value('D95%'):.2f} |"
            f" {dvh.value('D0.03cc'):.2f} | {seconds:.3f} |"
        )


def print_accuracy_table() -> None:
    print(
        "\n| contour spacing mm | cases | D95 median % | D95 worst % | D2 worst % | volume median % | volume worst % |"
    )
    print("|---|---|---|---|---|---|---|")
    for spacing in (1.0, 1.5, 2.0, 3.0):
        d95, d2, volume = [], [], []
        for solid, gradient, dose_mm in itertools.product(SOLIDS, GRADIENTS, (1.0, 2.0, 3.0)):
            structure = contours_of(solid, spacing)
            dvh = compute_dvh(structure, linear_dose(gradient, dose_mm))
            truth = solid.dose_at(gradient, (0.95, 0.02))
            d95.append(100 * abs(dvh.value("D95%") / truth[0] - 1))
            d2.append(100 * abs(dvh.value("D2%") / truth[1] - 1))
            volume.append(100 * abs(dvh.volume_cc / solid.volume_cc - 1))
        print(
            f"| {spacing} | {len(d95)} | {np.median(d95):.3f} | {max(d95):.2f} | {max(d2):.2f} |"
            f" {np.median(volume):.3f} | {max(volume):.2f} |"
        )


if __name__ == "__main__":
    print_time_table()
    print_accuracy_table()
