"""A case and a bundle of any kind -> dose on the model's grid, cut to the CT. Reads no study and writes nothing."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from vmat_rt.bundle import Bundle, load_bundle, prior_bundle
from vmat_rt.case import Case, Volume
from vmat_rt.dicom.write.dose import require_dose
from vmat_rt.geometry.gridded import gridded
from vmat_rt.geometry.model_grid import model_grid
from vmat_rt.grid import Grid
from vmat_rt.system.extras import require


class Predictor(Interface):
    """What a bundle of any kind becomes: dose (z, y, x) in Gy on the given grid."""

    def predict(self, case: Case, grid: Grid) -> NDArray[np.float32]: ...


def load_predictor(bundle: Bundle, device: str = "auto") -> Predictor:
    """The predictor of a bundle; kept in memory, so a worker loads each model once. Torch only for networks."""
    return _loaded(bundle.folder, bundle.identity.sha256, device)


@functools.lru_cache(maxsize=64)  # nine runs with priors are 18, and an evaluation goes round them case by case
def _loaded(folder: Path, _sha256: str, device: str) -> Predictor:
    """_sha256 is part of the key: a bundle that changed under its path is loaded again."""
    bundle = load_bundle(folder)
    if bundle.manifest.kind == "geometric":
        from vmat_rt.baseline.boosting import GeometricPredictor

        return GeometricPredictor(bundle)
    require("network", what=f"The network {bundle.manifest.name}")
    from vmat_rt.nn.infer import CorrectingPredictor, NetworkPredictor

    network = NetworkPredictor(bundle, device)
    prior = prior_bundle(bundle)
    return network if prior is None else CorrectingPredictor(load_predictor(prior, device), network)


def predict_dose(case: Case, bundle: Bundle, device: str = "auto") -> Volume:
    """Predicted dose on the model's grid, cut to the CT. Raises ModelError when it cannot be a dose.

    The model sees the case as a cohort would have stored it for training.
    """
    return predict_doses(case, bundle, device)[0]


def predict_doses(case: Case, bundle: Bundle, device: str = "auto") -> tuple[Volume, Volume | None]:
    """As predict_dose; besides, the geometric prior's dose where the model is a network that corrects one."""
    grid = model_grid(bundle.manifest.grid, case)
    seen = gridded(replace(case, reference_dose=None), grid)
    predictor = load_predictor(bundle, device)
    if prior_bundle(bundle) is None:
        doses = [predictor.predict(seen, grid)]
    else:
        from vmat_rt.nn.infer import CorrectingPredictor

        assert isinstance(predictor, CorrectingPredictor)
        doses = [*predictor.predict_both(seen, grid)]
    for dose in doses:
        require_dose(dose)
    cut = [cut_to(Volume(grid, dose), case.ct.grid) for dose in doses]
    return cut[0], cut[1] if len(cut) > 1 else None


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
