"""A prior's dose is predicted once for the networks that share it, and counts in the time of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vmat_rt.bundle import find_prior_bundle, load_bundle
from vmat_rt.cohort.store import Cohort
from vmat_rt.evaluate.priors import LastDose, predict_gy
from vmat_rt.prediction import load_predictor


def test_the_last_dose_is_remembered_and_no_other(cohort: Cohort, run: Path) -> None:
    trees = find_prior_bundle(load_bundle(run))
    assert trees is not None
    first, second = (cohort.read(key) for key in cohort.keys()[:2])
    last = LastDose()
    fresh = last.predict(trees, first, first.ct.grid, "first", "cpu")
    again = last.predict(trees, first, first.ct.grid, "first", "cpu")
    assert again.dose_gy is fresh.dose_gy
    assert fresh.spared_s == 0 < again.spared_s
    other = last.predict(trees, second, second.ct.grid, "second", "cpu")
    assert other.spared_s == 0
    assert np.array_equal(other.dose_gy, load_predictor(trees).predict(second, second.ct.grid).dose.array)
    assert last.predict(trees, first, first.ct.grid, "first", "cpu").spared_s == 0


def test_a_network_gives_what_it_gives_alone(cohort: Cohort, run: Path) -> None:
    bundle = load_bundle(run)
    case = cohort.read(cohort.keys()[0])
    alone = load_predictor(bundle, "cpu").predict(case, case.ct.grid).dose.array
    for _ in range(2):
        assert np.array_equal(predict_gy(bundle, case, case.ct.grid, "it", "cpu").dose_gy, alone)
