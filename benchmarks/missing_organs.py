"""What a model's dose is off by where organs at risk are not contoured, one after the other and all of them.

    python benchmarks/missing_organs.py COHORT CASE [CASE ...] --model NAME_OR_FOLDER [--model ...]

Clinics do not contour every organ that a model was shown. Each case is predicted on the cohort's grid as it is, without
each of its organs, and without any; the prior of a network, too, is predicted without them. Printed are the mean
absolute error in the body (Gy) and the gap of each target's D95% (Gy), as means over the cases.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from vmat_rt.bundle import find_bundle
from vmat_rt.case import Case
from vmat_rt.cohort.store import Cohort
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.metrics.dose_error import compute_d95_gaps_gy, compute_dose_error
from vmat_rt.prediction import load_predictor
from vmat_rt.predictor import Predictor
from vmat_rt.protocol import load_protocol

Row = dict[str, list[float]]


def remove_organs(case: Case, organs: tuple[str, ...]) -> Iterator[tuple[str, Case]]:
    """The case as it is, without each of its organs, without any."""

    def leave_out(gone: tuple[str, ...]) -> Case:
        return replace(case, structures={name: one for name, one in case.structures.items() if name not in gone})

    yield "all organs", case
    for name in organs:
        if name in case.structures:
            yield f"without {name}", leave_out((name,))
    yield "without any", leave_out(organs)


def add(row: Row, case: Case, whole: Case, predictor: Predictor) -> None:
    """Predict `case`, compare with the dose of `whole`, which is the same patient."""
    assert whole.reference_dose is not None
    grid = whole.ct.grid
    dose = predictor.predict(case, grid).dose
    error = compute_dose_error(whole.reference_dose, dose, structure_fraction(whole.body, grid))
    assert error is not None
    row.setdefault("MAE", []).append(error.mae_gy)
    targets = {name: whole.structures[name] for name in whole.targets()}
    for name, gap in compute_d95_gaps_gy(targets, whole.reference_dose, dose).items():
        if gap is not None:
            row.setdefault(f"D95 {name}", []).append(gap)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("cases", nargs="+")
    parser.add_argument("--model", action="append", required=True)
    options = parser.parse_args()
    cohort = Cohort.open(options.cohort)
    organs = tuple(spec.name for spec in load_protocol(cohort.settings.protocol).with_role("oar"))
    for model in options.model:
        predictor = load_predictor(find_bundle(cohort.settings.protocol, model), "cpu")
        rows: dict[str, Row] = {}
        for key in options.cases:
            whole = cohort.read(key)
            for name, case in remove_organs(whole, organs):
                add(rows.setdefault(name, {}), case, whole, predictor)
        print(model)
        for name, row in rows.items():
            print(f"  {name:28}" + "  ".join(f"{what} {np.mean(values):6.2f}" for what, values in row.items()))


if __name__ == "__main__":
    main()
