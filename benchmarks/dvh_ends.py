"""Ends of solids in the DVH: `python -m benchmarks.dvh_ends`. Minutes on one core; no files are needed.

The solids and doses of the published analytic benchmark (Nelms et al. 2015) at ten phases of the planes: for each
contour spacing and shape the worst error of D99%, D95%, D5%, D1% in percent of the true value, and of the volume.
"""

from __future__ import annotations

import numpy as np

from tests.metrics.benchmark_solids import NAMES, linear_dose, placed
from vmat_rt.metrics.dvh.compute import compute_dvh

PHASES = 10
PERCENT = (99, 95, 5, 1)


def print_table() -> None:
    print(
        "| spacing mm | solid | cases | D99% worst | D95% worst | D5% worst | D1% worst | volume worst | volume mean |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for spacing in (1.0, 2.0, 3.0):
        for name in NAMES:
            errors, volumes = [], []
            for solid, structure in placed(name, spacing, PHASES):
                for axis in ("z", "y"):
                    dvh = compute_dvh(structure, linear_dose(axis, spacing))
                    found = [dvh.value(f"D{percent}%") or 0.0 for percent in PERCENT]
                    true = [solid.dose_gy(axis, percent) for percent in PERCENT]
                    errors.append(100 * (np.array(found) / true - 1))
                volumes.append(100 * (dvh.volume_cc / solid.volume_cc - 1))
            worst = np.abs(errors).max(axis=0)
            doses = " | ".join(f"{value:.1f}" for value in worst)
            volume = f"{np.abs(volumes).max():.2f} | {np.mean(volumes):.2f}"
            print(f"| {spacing:g} | {name} | {len(errors)} | {doses} | {volume} |")


if __name__ == "__main__":
    print_table()
