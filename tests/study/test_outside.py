"""A case against what its model learned: silent inside, a warning outside, an error far outside."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vmat_rt.bundle import TRAINING_CASES, Bundle, list_installed_bundles
from vmat_rt.case import Case, Prescription, Structure, Volume
from vmat_rt.curation.shipped import read_shipped
from vmat_rt.grid import Grid
from vmat_rt.learned import Range, Treatment, learned_from
from vmat_rt.protocol import load_protocol
from vmat_rt.study.outside import check_learned, outside, treatment_of

SAMPLES = Path(__file__).resolve().parents[2] / "sample_data"
GRID = Grid((40, 40, 40), (5.0, 5.0, 5.0), (0.0, 0.0, 0.0), "frame")
BUNDLES = {bundle.manifest.name: bundle for bundle in list_installed_bundles()}
LEARNED = learned_from(
    "prostate",
    [
        Treatment({"PTV_7000": 70.0}, {"PTV_7000": 60.0}, 28),
        Treatment({"PTV_7000": 70.0, "PTV_5600": 56.0}, {"PTV_7000": 160.0, "PTV_5600": 100.0}, 28),
        Treatment({"PTV_7000": 70.0, "PTV_5600": 56.0}, {"PTV_7000": 100.0, "PTV_5600": 800.0}, 28),
    ],
)


def treatment(*doses: float, fractions: int = 28, volumes: tuple[float, ...] = (100.0, 400.0, 600.0)) -> Treatment:
    names = ("PTV_7000", "PTV_5600", "PTV_5040", "PTV_D")[: len(doses)]
    sizes = (*volumes, 500.0)[: len(doses)]
    return Treatment(dict(zip(names, doses, strict=True)), dict(zip(names, sizes, strict=True)), fractions)


@pytest.mark.parametrize(
    "inside",
    [treatment(70), treatment(70, 56), treatment(69.96, 56), treatment(70, 56, volumes=(170, 870))],
    ids=["one level", "two levels", "rounded", "a little larger"],
)
def test_nothing_is_said_of_what_was_learned(inside: Treatment) -> None:
    assert list(outside(LEARNED, inside, "Prostate")) == []


@pytest.mark.parametrize(
    ("given", "site", "severity", "words"),
    [
        (treatment(36.25, 29, fractions=5), "prostate", "warning", "7.25 Gy per fraction in 5 fractions"),
        (
            treatment(60, 48, fractions=20),
            "prostate",
            "warning",
            "3 Gy per fraction in 20 fractions; the model learned",
        ),
        (treatment(50, 40, fractions=20), "prostate", "warning", "that of 2.5 Gy per fraction, scaled to 50 Gy"),
        (treatment(38, fractions=4), "prostate", "error", "9.5 Gy per fraction in 4 fractions"),
        (treatment(20, fractions=1), "prostate", "error", "20 Gy per fraction in 1 fraction;"),
        (treatment(70, 50.4), "prostate", "warning", "PTV_5600 at 50.4 Gy is at 72 % of the highest level"),
        (treatment(70, 63), "prostate", "warning", "at 90 % of the highest level; the model learned 80 %"),
        (treatment(70, 45), "prostate", "error", "at 64.3 % of the highest level; the model learned 80 %"),
        (treatment(70, 56, volumes=(40, 400)), "prostate", "warning", "PTV_7000 of 40 cc; the model learned 60 to 160"),
        (treatment(70, 56, volumes=(1, 400)), "prostate", "error", "PTV_7000 of 1 cc"),
        (treatment(70, 56, volumes=(100, 2500)), "prostate", "error", "PTV_5600 of 2500 cc; the model learned 100 to"),
        (treatment(70, 56, volumes=(0, 400)), "prostate", "error", "PTV_7000 of 0 cc"),
        (treatment(70, 56), "head and neck", "error", "the site is head and neck; the model learned prostate"),
    ],
)
def test_one_thing_outside_is_one_problem(given: Treatment, site: str, severity: str, words: str) -> None:
    (problem,) = outside(LEARNED, given, site)
    assert (problem.code, problem.severity) == ("OUTSIDE_TRAINING", severity)
    assert words in problem.message
    assert len(problem.message) + len(problem.remedy) < 600


def test_a_third_level_is_named_beside_the_number_of_levels() -> None:
    levels, share = outside(LEARNED, treatment(70, 56, 50.4), "prostate")
    assert "three dose levels; the model learned one to two" in levels.message
    assert "PTV_5040" in share.message
    assert {levels.severity, share.severity} == {"warning"}


def test_two_levels_more_than_learned_are_refused() -> None:
    first, *_ = outside(LEARNED, treatment(70, 63, 56, 50.4), "prostate")
    assert (first.severity, first.message[32:]) == ("error", "four dose levels; the model learned one to two.")


def test_a_single_level_for_a_model_of_two_is_said() -> None:
    two = LEARNED.model_copy(update={"dose_levels": Range(low=2, high=2)})
    (problem,) = outside(two, treatment(70), "prostate")
    assert (problem.severity, problem.message[32:]) == ("warning", "one dose level; the model learned two.")


def case(edge_voxels: int, dose_gy: float) -> Case:
    """One cubic target in a box; a voxel is an eighth of a cc."""
    body = np.ones(GRID.shape, np.float32)
    target = np.zeros(GRID.shape, np.float32)
    target[2 : 2 + edge_voxels, 2 : 2 + edge_voxels, 2 : 2 + edge_voxels] = 1
    return Case(
        key="made",
        ct=Volume(GRID, np.zeros(GRID.shape, np.float32)),
        structures={"PTV_7000": Structure("PTV", "PTV_7000", Volume(GRID, target))},
        body=Structure("External", "External", Volume(GRID, body)),
        prescription=Prescription({"PTV_7000": dose_gy, "PTV_5600": 56.0}, 28, "made"),
        protocol_name="prostate_sib_70_56",
    )


def test_only_contoured_targets_count_and_they_are_measured() -> None:
    assert treatment_of(case(8, 70.0)) == Treatment({"PTV_7000": 70.0}, {"PTV_7000": 64.0}, 28)


def test_what_is_allowed_becomes_a_warning_and_still_says_so() -> None:
    bundle, small = BUNDLES["prostate_geometric"], case(2, 70.0)
    (refused,) = check_learned(small, "prostate", bundle)
    (allowed,) = check_learned(small, "prostate", bundle, allow_outside=True)
    assert (refused.severity, allowed.severity) == ("error", "warning")
    assert refused.message == allowed.message
    assert "--allow-outside" in refused.remedy
    assert check_learned(case(9, 70.0), "prostate", bundle) == ()


def test_a_bundle_that_does_not_know_its_range_says_so() -> None:
    known = BUNDLES["prostate_geometric"]
    unknown = replace(known, manifest=known.manifest.model_copy(update={"learned": None}))
    (problem,) = check_learned(case(2, 7.0), "prostate", unknown)
    assert (problem.code, problem.severity) == ("TRAINING_RANGE_UNKNOWN", "warning")


@pytest.mark.parametrize("bundle", BUNDLES.values(), ids=BUNDLES)
def test_the_shipped_bundles_know_their_range(bundle: Bundle) -> None:
    learned = bundle.manifest.learned
    assert learned is not None
    assert learned.cases == bundle.manifest.training.cases
    assert learned.site == load_protocol(bundle.manifest.protocol).site
    if bundle.manifest.kind == "network":
        assert learned.card_section() in bundle.read_bytes("MODEL_CARD.md").decode()


@pytest.mark.parametrize("name", ["prostate", "prostate_geometric"])
def test_the_shipped_cohorts_training_cases_lie_in_the_range_that_they_made(name: str) -> None:
    learned = BUNDLES[name].manifest.learned
    keys = json.loads(BUNDLES[name].read_bytes(TRAINING_CASES))
    records = [each.record for each in read_shipped(SAMPLES / "prostate_cohort").cases if each.record.key in keys]
    assert learned == learned_from("prostate", (record.treatment() for record in records))
    assert [found for record in records for found in outside(learned, record.treatment(), "prostate")] == []
