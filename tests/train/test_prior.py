"""Priors of training patients come from trees that never saw them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.train.cohorts import make_cohort, patient
from vmat_rt.baseline.boosting import GeometricPredictor
from vmat_rt.bundle import load_bundle
from vmat_rt.cohort.record import CaseOrigin, describe
from vmat_rt.cohort.split import Splits
from vmat_rt.cohort.store import Cohort
from vmat_rt.errors import ConfigError
from vmat_rt.train.prior import fold_of, prior_doses
from vmat_rt.train.recipe import PriorSettings

FIT = {"voxels_per_case": 300, "rounds": 6, "leaves": 7, "least_in_leaf": 20, "held_out": 2, "threads": 1}
SETTINGS = PriorSettings.model_validate({"folds": 2, "beams": False, "fit": FIT})


def test_training_doses_are_out_of_fold_and_kept(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "cohort")
    splits = Splits.read(cohort)
    train, validation = splits.cases("train"), splits.cases("validation")
    found = prior_doses(cohort, SETTINGS, (train, validation), tmp_path / "priors")
    folds = fold_of(cohort, train, SETTINGS)
    assert sorted(folds.values()) == [0, 0, 1, 1]
    here = next((tmp_path / "priors").iterdir())
    whole = GeometricPredictor(load_bundle(here / "all"))
    for key in (*train, *validation):
        case = cohort.read(key)
        own = GeometricPredictor(load_bundle(here / (f"fold_{folds[key]}" if key in folds else "all")))
        dose = np.load(found.doses[key])
        assert np.array_equal(dose, own.predict(case, case.ct.grid).dose.array)
        assert np.array_equal(dose, whole.predict(case, case.ct.grid).dose.array) == (key in validation)
    assert load_bundle(here / "fold_0").manifest.training.cases == 2
    assert found.files["prior/trees.txt.xz"] == (here / "all" / "trees.txt.xz").read_bytes()

    # Interrupted: what is missing is made again, the rest stays.
    times = {path: path.stat().st_mtime_ns for path in here.rglob("*.np?")}
    lost = found.doses[train[0]]
    content = lost.read_bytes()
    lost.unlink()
    again = prior_doses(cohort, SETTINGS, (train, validation), tmp_path / "priors")
    assert again.key == found.key
    assert lost.read_bytes() == content
    assert all(path.stat().st_mtime_ns == time for path, time in times.items() if path != lost)


def test_no_patient_is_in_two_folds(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "cohort")
    for number in range(4):
        case = patient(20 + number)
        cohort.add(case, describe(case, CaseOrigin(key=case.key, patient=f"person-{number}", source="simulated")))
    people = {f"person-{n}" for n in range(4)}
    keys = tuple(record.key for record in cohort.records() if record.patient in people)
    folds = fold_of(cohort, keys, SETTINGS)
    assert len(keys) == 8
    for number in range(4):
        assert folds[f"tiny-{number}"] == folds[f"tiny-{20 + number}"]
    with pytest.raises(ConfigError, match="9 folds need at least as many training patients, not 4"):
        fold_of(cohort, keys, SETTINGS.model_copy(update={"folds": 9}))


def test_too_few_cases_for_the_trees_are_said_before_any_feature_is_computed(cohort: Cohort, tmp_path: Path) -> None:
    keys = cohort.keys()
    wanting = SETTINGS.model_copy(update={"fit": SETTINGS.fit.model_copy(update={"held_out": 20})})
    with pytest.raises(
        ConfigError, match=r"largest fold leaves \d+: train on more cases, or set prior\.fit\.held_out=3,"
    ):
        prior_doses(cohort, wanting, (keys, ()), tmp_path / "priors")
    assert not list(tmp_path.iterdir())
