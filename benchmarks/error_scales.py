"""How large the features are that a model gets wrong, and how few numbers would put it right.

    python benchmarks/error_scales.py MODEL --cohort C [--split validation] [--cases 33] [--sectors 9]

The model's dose of OpenKBP patients, and the same with a part of its error taken away by means of the clinical dose,
which no model is shown:

    detail below n       what differs within blocks of n voxels a side is right, their means are the model's
    means of n           the blocks' means are right, what differs within them is the model's
    a factor             the dose times the best number: one for the patient, or one a slice
    weights of bands     each field's band (vmat_rt.geometry.bands) times the best number, added; likewise
    bands between        the same with bands of as many directions between the fields, where none was: what any smooth
                         columns would take, so that only the difference from it speaks of fields

So "detail below n" is the most that anything can bring that refines the model's dose within such blocks and leaves
their means alone. Best is least absolute error, by least squares that are weighted anew (P. Holland, R. Welsch 1977).
Dose / DVH score, Gy.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vmat_rt.bundle import find_bundle
from vmat_rt.case import Case, FloatArray
from vmat_rt.cohort.split import Splits
from vmat_rt.cohort.store import Cohort
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.metrics.openkbp_score import PatientScore, combine_scores
from vmat_rt.nn.scene import INSIDE, Normalisation, Scene
from vmat_rt.prediction import load_predictor
from vmat_rt.protocol import load_protocol
from vmat_rt.train.batch import structure_table
from vmat_rt.train.validate import openkbp_score

Mask = NDArray[np.bool_]
BLOCKS = (2, 4, 8)
_FEWEST_VOXELS = 60
_SMALLEST_GY = 0.35
_ROUNDS = 6


def block_means(values: FloatArray, body: Mask, side: int) -> FloatArray:
    """The mean over the body of each block of side voxels a side, in every voxel (z, y, x) of it."""
    total, count = values * body, body.astype(np.float64)
    for axis, size in enumerate(values.shape):
        starts = np.arange(0, size, side)
        total, count = (np.add.reduceat(each, starts, axis=axis) for each in (total, count))
    means = total / np.maximum(count, 1)
    for axis in range(3):
        means = means.repeat(side, axis)
    return means[tuple(slice(size) for size in values.shape)].astype(np.float32)


def least_error(columns: FloatArray, missing_gy: FloatArray) -> FloatArray:
    """The sum of columns (voxels, k), each times a number, that is nearest to missing_gy (voxels,) on average."""
    weight = np.ones(len(missing_gy), np.float64)
    scale = columns.std() + 1e-6
    for _ in range(_ROUNDS):
        weighted = columns * weight[:, None]
        normal = weighted.T @ columns + 1e-3 * scale**2 * np.eye(columns.shape[1])
        fitted = columns @ np.linalg.solve(normal, weighted.T @ missing_gy)
        weight = 1 / np.maximum(np.abs(missing_gy - fitted), _SMALLEST_GY)
    return fitted.astype(np.float32)


def least_error_by_slice(columns: FloatArray, missing_gy: FloatArray, slices: NDArray[np.intp]) -> FloatArray:
    """As least_error with numbers of their own for each slice; slices (voxels,) says which. None in small slices."""
    fitted = np.zeros_like(missing_gy)
    for k in np.unique(slices):
        here = slices == k
        if here.sum() >= _FEWEST_VOXELS:
            fitted[here] = least_error(columns[here], missing_gy[here])
    return fitted


def bands_at(case: Case, sectors: int, angles_deg: tuple[float, ...]) -> FloatArray:
    """The bands (sectors, z, y, x) of these directions, whatever the case's plan says."""
    there = replace(case, gantry_angles_deg=angles_deg)
    return Scene(there, case.ct.grid, Normalisation()).bands(sectors)


def corrected_doses(
    case: Case, dose: FloatArray, sectors: int, angles_deg: tuple[float, ...]
) -> Iterator[tuple[str, FloatArray]]:
    """The dose of a case as it is and with each part of its error taken away, by name; Gy (z, y, x)."""
    assert case.reference_dose is not None
    grid, true = case.ct.grid, case.reference_dose.array
    body = structure_fraction(case.body, grid) >= INSIDE
    yield "as it is", dose
    for side in BLOCKS:
        error = block_means(dose - true, body, side)
        yield f"detail below {side} is right", (true + error) * body
        yield f"means of {side} are right", (dose - error) * body
    places = np.nonzero(body)
    missing = (true - dose)[places]
    between = tuple((k + 0.5) * 360 / sectors for k in range(sectors))
    columns = {
        "a factor": dose[places][:, None],
        f"{sectors} weights of bands": bands_at(case, sectors, angles_deg)[(slice(None), *places)].T,
        f"{sectors} weights of bands between": bands_at(case, 2 * sectors, between)[(slice(None), *places)][1::2].T,
    }
    for name, of_voxels in columns.items():
        for where, change in (
            ("for the patient", least_error(of_voxels, missing)),
            ("a slice", least_error_by_slice(of_voxels, missing, places[0])),
        ):
            right = dose.copy()
            right[places] += change
            yield f"{name} {where}", np.maximum(right, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--cohort", required=True)
    parser.add_argument("--split", choices=("train", "validation", "test"), default="validation")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--cases", type=int, default=None)
    parser.add_argument("--sectors", type=int, default=9)
    options = parser.parse_args()
    cohort = Cohort.open(options.cohort)
    protocol = load_protocol(cohort.settings.protocol)
    table, angles_deg = structure_table(protocol), protocol.beam_angles.angles_deg()
    predictor = load_predictor(find_bundle(protocol.name, options.model), "cpu")
    scores: dict[str, list[PatientScore]] = {}
    for key in Splits.read(cohort).cases(options.split, options.seed)[: options.cases]:
        case = cohort.read(key)
        dose = predictor.predict(case, case.ct.grid).dose.array
        angles_of_case = case.gantry_angles_deg or angles_deg
        for name, each in corrected_doses(case, dose, options.sectors, angles_of_case):
            scores.setdefault(name, []).append(openkbp_score(case, each, table))
    for name, own in scores.items():
        found = combine_scores(own)
        print(f"{name:44} {found.dose_score_gy:.3f} / {found.dvh_score_gy:.3f} on {len(own)}", flush=True)


if __name__ == "__main__":
    main()
