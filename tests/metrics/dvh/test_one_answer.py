"""A structure in a dose has one curve: its numbers do not depend on which metrics were asked for.

How fine is fine enough, and what is known outside the grid, have their own tests beside this.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.metrics.solids import CENTRE, CONE, SPHERE, bumpy_dose, contours_of, linear_dose
from vmat_rt.case import Structure
from vmat_rt.metrics.dvh.compute import Dvh, compute_dvh, compute_dvhs

METRICS = ("D99%", "D95%", "D50%", "D2%", "D0.03cc", "Dmean", "Dmax", "V100%", "V95%", "V20Gy", "HI", "gEUD[a=8]")


def curves(structure: Structure, seed: int, *metrics: str) -> Dvh:
    return compute_dvh(structure, bumpy_dose(seed), metrics=metrics, prescription_gy=60.0)


@pytest.mark.parametrize("seed", [1, 4, 7])
@pytest.mark.parametrize("asked", [("Dmean",), ("V100%", "V95%"), ("D0.03cc", "CI"), ()])
def test_numbers_are_equal_whatever_was_asked_for(seed: int, asked: tuple[str, ...]) -> None:
    structure = contours_of(SPHERE, 3.0)
    one, other = curves(structure, seed, *METRICS), curves(structure, seed, *asked)
    assert one.values(METRICS) == other.values(METRICS)
    np.testing.assert_array_equal(one.at_least_cc, other.at_least_cc)


def test_numbers_do_not_depend_on_prescription_or_company() -> None:
    structure, other = contours_of(CONE, 3.0), contours_of(SPHERE, 2.0)
    dose = bumpy_dose(3)
    alone = compute_dvh(structure, dose)
    together = compute_dvhs([other, structure], dose, metrics=["V95%"], prescription_gy={"cone": 50.0})["cone"]
    assert alone.values(METRICS, 50.0) == together.values(METRICS)


def test_a_structure_is_wholly_inside_only_to_its_last_edge() -> None:
    dose = linear_dose("across", 2.0)
    face = dose.grid.bounds_mm[1][2]
    inside, touching, out = (
        compute_dvh(contours_of(replace(SPHERE, radius_mm=10.0, height_mm=20.0), 2.0, centre=(*CENTRE[:2], x)), dose)
        for x in (face - 10.5, face - 10.0 + 0.01, face - 9.9)
    )
    assert inside.within_grid
    assert touching.within_grid
    assert not out.within_grid
    # So little of it lies outside that it counts as covered, and metrics are given.
    assert out.covered_fraction > 0.999
    assert out.value("Dmean") is not None
