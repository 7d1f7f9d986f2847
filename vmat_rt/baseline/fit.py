"""Fits the geometric predictor on a cohort of cases with clinical dose, one case in memory at a time."""

from __future__ import annotations

import logging
import lzma
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import lightgbm
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vmat_rt.baseline.boosting import get_starting_dose
from vmat_rt.baseline.features import compute_features, name_organ_columns
from vmat_rt.baseline.scene import FeatureSettings, find_highest_target_gy
from vmat_rt.case import Case
from vmat_rt.errors import ConfigError
from vmat_rt.geometry.resample import resample
from vmat_rt.strict import Strict

log = logging.getLogger("vmat_rt")


class FitSettings(Strict):
    """How the trees are grown. Every held_out-th case decides when to stop and is not fitted on.

    drop_organs: share of the voxels at which organs at risk, any number of them alike, count as not contoured: trees
    that have always seen an organ take one that is absent for one whose surface is everywhere.
    """

    voxels_per_case: int = Field(10_000, gt=0)
    rounds: int = Field(400, gt=0)
    leaves: int = Field(127, gt=1)
    learning_rate: float = Field(0.08, gt=0)
    bins: int = Field(63, gt=1, le=255)
    least_in_leaf: int = Field(200, gt=0)
    feature_share: float = Field(0.5, gt=0, le=1)
    patience: int = Field(40, gt=0)
    held_out: int = Field(10, gt=1)
    drop_organs: float = Field(0.0, ge=0, le=1)
    seed: int = 0
    threads: int = Field(2, gt=0)


@dataclass(frozen=True)
class VoxelSamples:
    """Rows drawn from one case: features, and what the trees shall add to the starting dose."""

    names: tuple[str, ...]
    matrix: NDArray[np.float32]
    missing: NDArray[np.float32]


@dataclass(frozen=True)
class Fitted:
    """The trees in LightGBM's text, and what the fit took."""

    names: tuple[str, ...]
    text: str
    trees: int
    rows: int

    def pack(self) -> bytes:
        """The content of a bundle's file of trees."""
        return lzma.compress(self.text.encode("ascii"), preset=9 | lzma.PRESET_EXTREME)


def draw_samples(case: Case, settings: FeatureSettings, count: int, generator: np.random.Generator) -> VoxelSamples:
    """At most `count` voxels of the case's body, drawn without replacement, on the CT's grid.

    Raises ConfigError when the case has no clinical dose.
    """
    if case.reference_dose is None:
        raise ConfigError(f"case {case.key} has no clinical dose to fit on")
    table = compute_features(case, case.ct.grid, settings)
    dose = resample(case.reference_dose, case.ct.grid, 0.0, "cubic").array[table.body]
    dose /= np.float32(find_highest_target_gy(case))
    rows = np.sort(generator.choice(len(dose), min(count, len(dose)), replace=False))
    return VoxelSamples(table.names, table.matrix[rows], (dose - get_starting_dose(table))[rows])


def fit(cases: Iterable[Case], settings: FeatureSettings, plan: FitSettings) -> Fitted:
    """Trees that minimise the mean absolute dose error, stopped on the held-out cases.

    cases may be a generator; only the drawn rows stay (4 bytes a feature and row, twice while they are joined).
    """
    generator = np.random.default_rng(plan.seed)
    fitted: list[VoxelSamples] = []
    held_out: list[VoxelSamples] = []
    for number, case in enumerate(cases, start=1):
        samples = draw_samples(case, settings, plan.voxels_per_case, generator)
        (fitted if number % plan.held_out else held_out).append(samples)
    if not fitted or not held_out:
        raise ConfigError(f"fitting needs at least {plan.held_out} cases, {plan.held_out - 1} of them to fit on")
    return grow(fitted, held_out, settings, plan)


def grow(
    fitted: list[VoxelSamples], held_out: list[VoxelSamples], settings: FeatureSettings, plan: FitSettings
) -> Fitted:
    """The trees themselves. The lists are emptied on the way, to hold each row only once."""
    generator = np.random.default_rng(plan.seed)
    for samples in (fitted, held_out) if plan.drop_organs else ():
        samples[:] = [lose_organs(each, name_organ_columns(settings), plan.drop_organs, generator) for each in samples]
    names = fitted[0].names
    training = _make_dataset(fitted, plan.bins)
    rows = training.construct().num_data()
    booster = lightgbm.train(
        {
            "objective": "l1",
            "learning_rate": plan.learning_rate,
            "num_leaves": plan.leaves,
            "min_data_in_leaf": plan.least_in_leaf,
            "feature_pre_filter": False,
            "feature_fraction": plan.feature_share,
            "max_bin": plan.bins,
            "num_threads": plan.threads,
            "seed": plan.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
        },
        training,
        plan.rounds,
        valid_sets=[_make_dataset(held_out, plan.bins, training)],
        callbacks=[lightgbm.early_stopping(plan.patience, verbose=False), lightgbm.log_evaluation(50)],
    )
    best = booster.best_iteration or booster.current_iteration()
    return Fitted(names, booster.model_to_string(num_iteration=best), best, rows)


def lose_organs(
    samples: VoxelSamples, organs: Sequence[tuple[str, ...]], share: float, generator: np.random.Generator
) -> VoxelSamples:
    """The samples with organs (columns of `name_organ_columns`) taken from this share of the rows, any number alike."""
    matrix = samples.matrix.copy()
    count = len(matrix)
    rate = np.where(generator.random(count) < share, generator.random(count), 0.0)
    for columns in organs:
        nearer, *farther = (samples.names.index(name) for name in columns)
        lost = [generator.random(count) < rate for _ in columns]
        if farther:
            # Of a pair either may be left: the nearer one or the farther.
            left = (lost[0] ^ lost[1]) & (generator.random(count) < 0.5)
            matrix[left, nearer] = matrix[left, farther[0]]
            matrix[lost[0] | lost[1], farther[0]] = np.nan
        matrix[np.logical_and.reduce(lost), nearer] = np.nan
    return VoxelSamples(samples.names, matrix, samples.missing)


def _make_dataset(
    samples: list[VoxelSamples], bins: int, reference: lightgbm.Dataset | None = None
) -> lightgbm.Dataset:
    names = list(samples[0].names)
    matrix = np.concatenate([each.matrix for each in samples])
    missing = np.concatenate([each.missing for each in samples])
    samples.clear()
    parameters = {"max_bin": bins, "feature_pre_filter": False, "verbose": -1}
    return lightgbm.Dataset(matrix, missing, reference, feature_name=names, params=parameters, free_raw_data=True)
