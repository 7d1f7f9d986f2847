"""What is lost on voxels of twice the spacing: clinical doses averaged and brought back to the grid.

    python benchmarks/coarse.py COHORT [--split validation] [--seed 42] [--cases 11]

    plain     means of whole blocks, brought back by a cubic spline
    ours      means over the body of each block, brought back so that they stay (vmat_rt.nn.coarse)

No network that computes on such voxels can be better than this. Gy, means over the cases: error in the body, gap of the
targets' D95%, and of the highest dose in a target.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from vmat_rt.case import Case, FloatArray, Volume
from vmat_rt.cohort.split import Splits
from vmat_rt.cohort.store import Cohort
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.geometry.resample import resample
from vmat_rt.metrics.dose_error import compute_d95_gaps_gy, compute_dose_error
from vmat_rt.nn.coarse import body_average, refined_gy
from vmat_rt.nn.scene import INSIDE


def resample_plain(case: Case, true: Volume) -> FloatArray:
    averages = resample(true, true.grid.coarsened(2), 0.0)
    return resample(averages, true.grid, 0.0, "cubic").array * (structure_fraction(case.body, true.grid) >= INSIDE)


def resample_ours(case: Case, true: Volume) -> FloatArray:
    averages = body_average(true, case, true.grid.coarsened(2))
    return refined_gy(averages, 1.0, case, true.grid, 2)


def compare(case: Case, true: Volume, dose: Volume) -> tuple[float, float, float]:
    error = compute_dose_error(true, dose, structure_fraction(case.body, true.grid))
    assert error is not None
    targets = {name: case.structures[name] for name in case.targets()}
    gaps = [gap for gap in compute_d95_gaps_gy(targets, true, dose).values() if gap is not None]
    inside = [structure_fraction(one, true.grid) >= INSIDE for one in targets.values()]
    peaks = [float(dose.array[mask].max() - true.array[mask].max()) for mask in inside if mask.any()]
    return error.mae_gy, float(np.mean(gaps)), float(np.mean(peaks))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--split", choices=["train", "validation", "test"], default="validation")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--cases", type=int, default=11)
    options = parser.parse_args()
    cohort = Cohort.open(options.cohort)
    keys = Splits.read(cohort).cases(options.split, options.seed)[: options.cases]
    rows: dict[str, list[tuple[float, float, float]]] = {"plain": [], "ours": []}
    for key in keys:
        case = cohort.read(key)
        assert case.reference_dose is not None
        true = Volume(case.ct.grid, resample(case.reference_dose, case.ct.grid, 0.0, "cubic").array)
        for name, way in (("plain", resample_plain), ("ours", resample_ours)):
            rows[name].append(compare(case, true, Volume(true.grid, way(case, true))))
    print(f"{cohort.settings.name}, {len(keys)} {options.split} cases")
    for name, found in rows.items():
        error, gap, peak = np.mean(found, axis=0)
        print(f"  {name:6} MAE {error:.2f}  D95% gap {gap:+.2f}  highest dose {peak:+.2f}")


if __name__ == "__main__":
    main()
