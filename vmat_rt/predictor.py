"""What a model of any kind is to its users: a case on a grid goes in, one value with dose and prior comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol as Interface

import numpy as np

from vmat_rt.case import Case, FloatArray, Volume
from vmat_rt.errors import ModelError
from vmat_rt.grid import Grid


@dataclass(frozen=True)
class PredictedDose:
    """A model's dose, and the dose that it corrected.

    dose: Gy in total over all fractions, finite and not negative. prior: the same of the model whose dose a network is
    shown, on the same grid; None for a model that corrects none. Raises ModelError when either cannot be a dose.
    """

    dose: Volume
    prior: Volume | None = None

    def __post_init__(self) -> None:
        for volume in (self.dose, self.prior):
            if volume is not None:
                require_dose(volume.array)


class Predictor(Interface):
    """What a bundle of any kind becomes when it is loaded."""

    def predict(self, case: Case, grid: Grid, prior_gy: FloatArray | None = None) -> PredictedDose:
        """Predict the dose of a case on `grid`; the volumes are float32 (z, y, x), zero outside the body.

        prior_gy: the dose of the model's prior on this grid, where it is known already; else it is predicted as well.
        Raises ConfigError when a model that corrects none is given one.
        """


def require_dose(dose_gy: FloatArray) -> None:
    """Raise ModelError, with the counts, unless every value can be a dose: finite and not negative."""
    unknown = int(np.count_nonzero(~np.isfinite(dose_gy)))
    negative = int(np.count_nonzero(dose_gy < 0))
    if unknown or negative:
        counts = f"of {dose_gy.size} voxels, {unknown} have no finite dose and {negative} a negative one"
        raise ModelError(f"{counts}; nothing was written")
