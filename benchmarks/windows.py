"""What a trained network loses or gains in windows: `python benchmarks/windows.py COHORT [CASE ...] [--model M]`.

Each case of the cohort (or those that are named) is predicted by one network twice: as its bundle says, and in windows
of half the side of the reference's (64 voxels, overlap 32) where the network computes at twice the spacing, so that a
window holds the same part of the patient. Printed are means over the cases: error in the body, seconds of the network.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vmat_rt.bundle import find_bundle, find_prior_bundle
from vmat_rt.case import Case, FloatArray, Volume
from vmat_rt.cohort.store import Cohort
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.metrics.dose_error import compute_dose_error
from vmat_rt.nn.coarse import encode_coarsened
from vmat_rt.nn.encode import Encoded
from vmat_rt.nn.infer import Plan, finished_gy, run_network
from vmat_rt.nn.network_bundle import LoadedNetwork, unpack_network
from vmat_rt.nn.windows import Window
from vmat_rt.prediction import load_predictor

REFERENCE_WINDOW, REFERENCE_OVERLAP = 128, 64


def predict_relative_dose(loaded: LoadedNetwork, encoded: Encoded, plan: Plan) -> tuple[FloatArray, float]:
    """On the network's voxels, and the seconds that it took."""
    started = time.perf_counter()
    with torch.inference_mode():
        x, condition = torch.from_numpy(encoded.array)[None], torch.from_numpy(encoded.condition)[None]
        output = run_network(loaded.unet, x, condition, plan)
    return np.ascontiguousarray(output[0, 0].float().numpy()), time.perf_counter() - started


def compute_mae_gy(case: Case, dose: FloatArray) -> float:
    assert case.reference_dose is not None, "a case without clinical dose"
    error = compute_dose_error(
        case.reference_dose, Volume(case.ct.grid, dose), structure_fraction(case.body, case.ct.grid)
    )
    assert error is not None
    return error.mae_gy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--model", default="prostate")
    options = parser.parse_args()
    cohort = Cohort.open(options.cohort)
    bundle = find_bundle(cohort.settings.protocol, options.model)
    prior, loaded = find_prior_bundle(bundle), unpack_network(bundle)
    settings = loaded.settings
    whole = Plan.of(settings, loaded.channels)
    patch, overlap = REFERENCE_WINDOW // settings.coarsen, REFERENCE_OVERLAP // settings.coarsen
    ways = {
        "as its bundle says": whole,
        f"windows of {patch}": replace(whole, window=Window(patch=(patch,) * 3, overlap=(overlap,) * 3), crop=None),
    }
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for key in options.cases or sorted(cohort.keys()):
        case = cohort.read(key)
        prior_gy = None
        if prior is not None:
            prior_gy = load_predictor(prior, "cpu").predict(case, case.ct.grid).dose.array
        encoded = encode_coarsened(case, case.ct.grid, loaded.channels, settings.coarsen, prior_gy)
        for name, plan in ways.items():
            relative, seconds = predict_relative_dose(loaded, encoded, plan)
            dose = finished_gy(relative, encoded, case, case.ct.grid, settings, prior_gy)
            rows[name].append((compute_mae_gy(case, dose), seconds))
    print(f"{options.model}, {len(rows[next(iter(ways))])} cases, {torch.get_num_threads()} threads")
    for name, row in rows.items():
        error, seconds = np.mean(row, axis=0)
        print(f"{name:20} MAE {error:.3f} Gy, {seconds:.2f} s")


if __name__ == "__main__":
    main()
