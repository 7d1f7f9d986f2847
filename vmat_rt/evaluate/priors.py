"""Geometric doses, remembered: runs of several seeds share their prior, and it is a baseline of its own besides."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

from vmat_rt.bundle import Bundle, find_prior_bundle
from vmat_rt.case import Case, FloatArray
from vmat_rt.grid import Grid
from vmat_rt.prediction import load_predictor


class Predicted(NamedTuple):
    """A dose in Gy on the grid that it was asked for. spared_s: seconds that were not spent for it now."""

    dose_gy: FloatArray
    spared_s: float


class LastDose:
    """The dose that was asked for last, by whichever thread; one at a time, for each is tens of megabytes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[str, str] | None = None
        self._found: Predicted | None = None

    def predict(self, bundle: Bundle, case: Case, grid: Grid, content: str, device: str) -> Predicted:
        """Of a geometric bundle on a case, which `content` (a hash) tells from all others on their grids."""
        with self._lock:
            key = (bundle.identity.sha256, content)
            if self._found is None or self._key != key:
                started = time.perf_counter()
                dose = load_predictor(bundle, device).predict(case, grid).dose.array
                dose.setflags(write=False)
                self._key, self._found = key, Predicted(dose, time.perf_counter() - started)
                return Predicted(dose, 0.0)
            return self._found


_LAST = LastDose()


def predict_gy(bundle: Bundle, case: Case, grid: Grid, content: str, device: str) -> Predicted:
    """Any bundle's dose of a case; geometric ones, alone or as a network's prior, are predicted once in a row."""
    if bundle.manifest.kind == "geometric":
        return _LAST.predict(bundle, case, grid, content, device)
    prior = find_prior_bundle(bundle)
    known = None if prior is None else _LAST.predict(prior, case, grid, content, device)
    predicted = load_predictor(bundle, device).predict(case, grid, None if known is None else known.dose_gy)
    return Predicted(predicted.dose.array, 0.0 if known is None else known.spared_s)
