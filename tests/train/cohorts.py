"""Tiny cohorts: balls in a box, each patient another, with a dose that follows from the distance to the targets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.nn.cases import CENTRE_MM, CT_GRID, FRAME, GRID, ball, box, make_case
from vmat_rt.bundle import GridRule
from vmat_rt.case import Case, Volume
from vmat_rt.cohort.record import CaseOrigin, describe
from vmat_rt.cohort.settings import CohortSettings, Provenance
from vmat_rt.cohort.split import split_cohort
from vmat_rt.cohort.store import Cohort
from vmat_rt.geometry.distance import signed_distance_mm
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.grid import Grid
from vmat_rt.train.recipe import Recipe

RULE = GridRule(kind="fixed", shape=GRID.shape, spacing_mm=GRID.spacing_mm)
DOSE_GRID = Grid((26, 32, 40), (3.6, 2.9, 2.6), (-178.0, -58.0, -25.0), FRAME)
SETTINGS = CohortSettings(
    name="tiny",
    protocol="prostate_sib_70_56",
    grid=RULE,
    provenance=Provenance(
        data="balls in a box",
        licence="Apache-2.0",
        simulated=True,
        command="pytest",
        limits=("A ball in a box is no patient.",),
    ),
)


def patient(number: int) -> Case:
    """The number decides the sizes and places; the dose falls by 1.4 Gy a mm from the high target's surface."""
    random = np.random.default_rng(number)
    z, y, x = (float(c + s) for c, s in zip(CENTRE_MM, random.uniform(-4, 4, 3), strict=True))
    radius = float(random.uniform(12, 20))
    structures = [
        ball("PTV_7000", (z, y, x), radius),
        ball("PTV_5600", (z, y, x), radius + 7),
        ball("Femur_Head_L", (z, y, x + 30), 8.0),
        ball("Femur_Head_R", (z + 3, y, x - 30), 7.0),
        ball("Rectum", (z, y + 22, x), 7.0),
    ]
    body = box("External", (-172.0, -50.0, -18.0), (-86.0, 22.0, 66.0))
    body = replace(body, shape=Volume(CT_GRID, structure_fraction(body, CT_GRID)))
    distance = signed_distance_mm(structure_fraction(structures[0], DOSE_GRID), DOSE_GRID, 80.0)
    dose = np.clip(70.0 - 1.4 * np.maximum(distance, 0), 1.0, None) * (structure_fraction(body, DOSE_GRID) > 0.5)
    return replace(
        make_case(),
        key=f"tiny-{number}",
        structures={structure.roi_name: structure for structure in structures},
        body=body,
        reference_dose=Volume(DOSE_GRID, dose.astype(np.float32)),
    )


def make_cohort(folder: Path, train: int = 4, validation: int = 2) -> Cohort:
    """A cohort whose split of seed 42 has so many cases to train on and to validate, and one to test."""
    cohort = Cohort.create(folder, SETTINGS)
    for number in range(train + validation + 1):
        case = patient(number)
        origin = CaseOrigin(key=case.key, patient=f"person-{number}", source="simulated")
        cohort.add(case, describe(case, origin))
    split(cohort, train, validation)
    return cohort


def split(cohort: Cohort, train: int, validation: int) -> None:
    """So many cases to train on and to validate, by seed 42, and one to test; the same ones whatever they hold."""
    cohort.reindex()
    total = train + validation + 1
    fractions = (train / total, validation / total, 1 / total)
    split_cohort(cohort.records(), seeds=(42,), fractions=fractions).write(cohort)


def tiny_recipe(**changes: object) -> Recipe:
    """Two epochs of a network of a few thousand weights, in single precision."""
    settings = {
        "name": "tiny",
        "title": "Tiny",
        "unet": {"width": 4, "levels": 2, "embedding": 8},
        "batch": 2,
        "epochs": 2,
        "optimiser": {"lr": 1e-3},
        "precision": "32-true",
        "ema": 0.9,
        "bundle": {"name": "tiny_network"},
    }
    return Recipe.model_validate({**settings, **changes})
