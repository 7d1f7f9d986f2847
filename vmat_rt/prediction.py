"""A case and a bundle of any kind -> dose on the model's grid, cut to the CT. Reads no study and writes nothing."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np

from vmat_rt.bundle import Bundle, find_prior_bundle, load_bundle
from vmat_rt.case import Case, Volume
from vmat_rt.geometry.gridded import gridded
from vmat_rt.geometry.model_grid import model_grid
from vmat_rt.grid import Grid
from vmat_rt.predictor import PredictedDose, Predictor
from vmat_rt.system.devices import require_device_name
from vmat_rt.system.extras import require


def predict_dose(case: Case, bundle: Bundle, device: str = "auto") -> PredictedDose:
    """Predict on the model's grid and cut to the CT; beside the dose of a network stands that of its prior, if any.

    The model sees the case as a cohort would have stored it for training. Raises ModelError when it gives no dose.
    """
    grid = model_grid(bundle.manifest.grid, case)
    seen = gridded(replace(case, reference_dose=None), grid)
    predicted = load_predictor(bundle, device).predict(seen, grid)
    prior = None if predicted.prior is None else cut_to(predicted.prior, case.ct.grid)
    return PredictedDose(cut_to(predicted.dose, case.ct.grid), prior)


def load_predictor(bundle: Bundle, device: str = "auto") -> Predictor:
    """The predictor of a bundle; kept in memory, so a worker loads each model once. Torch only for networks.

    Raises ConfigError for an unknown device, or one that a network cannot run on.
    """
    require_device_name(device)
    return _load_cached(bundle.folder, bundle.identity.sha256, device)


@functools.lru_cache(maxsize=64)  # nine runs with priors are 18, and an evaluation goes round them case by case
def _load_cached(folder: Path, _sha256: str, device: str) -> Predictor:
    """_sha256 is part of the key: a bundle that changed under its path is loaded again."""
    bundle = load_bundle(folder)
    if bundle.manifest.kind == "geometric":
        from vmat_rt.baseline.boosting import GeometricPredictor

        return GeometricPredictor(bundle)
    require("network", what=f"The network {bundle.manifest.name}")
    from vmat_rt.nn.infer import NetworkPredictor

    prior = find_prior_bundle(bundle)
    return NetworkPredictor(bundle, device, prior=None if prior is None else load_predictor(prior, device))


def cut_to(volume: Volume, limits: Grid) -> Volume:
    """The voxels of `volume` whose centres lie within the outer faces of `limits`; values stay as they are."""
    low, high = limits.bounds_mm
    start, stop = [], []
    for axis in range(3):
        inside = np.flatnonzero((volume.grid.axis_mm(axis) >= low[axis]) & (volume.grid.axis_mm(axis) <= high[axis]))
        start.append(int(inside[0]))
        stop.append(int(inside[-1]) + 1)
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    grid = volume.grid.crop((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
    return Volume(grid, np.ascontiguousarray(volume.array[box]))
