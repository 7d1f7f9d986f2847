"""The geometric predictor: gradient-boosted trees (fitted by LightGBM) over the features of each voxel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmat_rt.baseline.features import FeatureTable, compute_features
from vmat_rt.baseline.scene import FeatureSettings, find_highest_target_gy
from vmat_rt.baseline.trees import Trees
from vmat_rt.bundle import Bundle
from vmat_rt.case import Case, FloatArray, Volume
from vmat_rt.errors import ConfigError, ModelError
from vmat_rt.grid import Grid
from vmat_rt.predictor import PredictedDose
from vmat_rt.strict import reason
from vmat_rt.system.threads import THREADS
from vmat_rt.system.unpack import unpack_xz

TREES = "trees.txt.xz"
"""LightGBM's text format in an xz stream; nothing in it is executed."""
_MOST_BYTES = 64 << 20
"""Ten times the text of the trees that ship."""

START = "plan_sparing"
"""The trees add to this feature where beam geometry is used: the shape is in the plan already."""


def get_starting_dose(table: FeatureTable) -> NDArray[np.float32]:
    """Get what the trees correct, relative to the highest prescription: the quick plan; zero without beam geometry."""
    if START not in table.names:
        return np.zeros(len(table.matrix), np.float32)
    return table.matrix[:, table.names.index(START)]


class GeometricPredictor:
    """Dose from geometry alone, fitted on a cohort.

    The trees see distances in mm and dose relative to the highest prescription of the case, and what they return is
    multiplied by it: a case prescribed 66 / 60 / 54 Gy gets 66/70 of what its anatomy would get at 70 / 63.6 / 57.3.
    """

    def __init__(self, bundle: Bundle) -> None:
        """Raises ModelError when the bundle is of another kind or damaged."""
        manifest = bundle.manifest
        if manifest.kind != "geometric":
            raise ModelError(f"bundle {manifest.name} is a {manifest.kind} model, not a geometric one")
        try:
            self.settings = FeatureSettings.model_validate(manifest.settings["features"])
            text = unpack_xz(bundle.read_bytes(TREES), _MOST_BYTES).decode("ascii")
            self._trees = Trees.parse(text)
        except (KeyError, ValueError) as error:  # pydantic's and Unicode's are ValueErrors
            raise ModelError(f"bundle {manifest.name} cannot be loaded: {reason(error)}") from error
        if self._trees.names != manifest.inputs:
            raise ModelError(f"bundle {manifest.name}: its trees were fitted on other features than it lists")
        self._name, self._inputs = manifest.name, manifest.inputs

    def predict(self, case: Case, grid: Grid, prior_gy: FloatArray | None = None) -> PredictedDose:
        """Dose (z, y, x) on the grid: float32 Gy in total, zero outside the body, never negative.

        Trees correct no prior. Raises InputError when no prescribed target or no body lies on the grid, ConfigError
        when a prior is given.
        """
        if prior_gy is not None:
            raise ConfigError(f"the geometric model {self._name} corrects no prior dose")
        table = compute_features(case, grid, self.settings)
        if table.names != self._inputs:
            raise ModelError(f"bundle {self._name} was fitted on other features than this version computes")
        correction = self._trees.predict(table.matrix, THREADS)
        dose = np.zeros(grid.shape, np.float32)
        dose[table.body] = np.maximum(get_starting_dose(table) + correction, 0) * find_highest_target_gy(case)
        return PredictedDose(Volume(grid, dose))
