"""The gate as a whole: what a pelvis that makes sense says (nothing), and what is said of one that does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.gate.pelvis import GRID, ORGANS, ball, body, pelvis, structure, with_structures
from vmat_rt.case import Case, Volume
from vmat_rt.gate.codes import ALLOWABLE, ANATOMY
from vmat_rt.gate.examine import examine


def codes(case: Case, *allowed: str) -> dict[str, str]:
    return {problem.code: problem.severity for problem in examine(case, "prostate", allowed)}


def upside_down(case: Case) -> Case:
    """Every structure mirrored front to back, the outline too; the CT stays. The body is moved off the middle first."""
    moved = replace(case, ct=Volume(GRID, np.roll(case.ct.array, 8, axis=1)))
    turned = {
        name: structure(name, np.flip(np.roll(one.shape.array > 0.5, 8, axis=1), axis=1))  # type: ignore[union-attr]
        for name, one in case.structures.items()
    }
    return replace(moved, structures=turned, body=turned["External"])


def test_a_pelvis_that_makes_sense_says_nothing() -> None:
    assert codes(pelvis()) == {}


def test_without_an_outline_it_says_nothing_either() -> None:
    case = pelvis()
    structures = {name: one for name, one in case.structures.items() if name != "External"}
    assert codes(replace(case, structures=structures)) == {}


def test_a_target_in_air_is_refused_and_one_at_the_skin_is_doubted() -> None:
    assert (
        codes(with_structures(pelvis(), PTV_7000=structure("x", ball((0, -150, 0), 25))))["TARGET_OUTSIDE_BODY"]
        == "error"
    )
    at_the_skin = with_structures(pelvis(), PTV_7000=structure("x", ball((0, -95, 0), 30)))
    assert codes(at_the_skin)["TARGET_OUTSIDE_BODY"] == "warning"


@pytest.mark.parametrize("with_outline", [True, False])
def test_what_was_drawn_upside_down_is_told(with_outline: bool) -> None:
    case = upside_down(pelvis())
    if not with_outline:
        case = replace(case, structures={n: s for n, s in case.structures.items() if n != "External"})
    found = codes(case)
    assert "ANATOMY_ORDER" in found
    assert ("BODY_NOT_PATIENT" in found) == with_outline


def test_structures_of_another_place_have_other_contents() -> None:
    moved = {
        name: structure(name, ball((centre[0] + 60, centre[1], centre[2]), radius))
        for name, (centre, radius) in ORGANS.items()
    }
    assert "CONTENTS_UNUSUAL" in codes(with_structures(pelvis(), **moved))


@pytest.mark.parametrize(
    ("one", "other", "code"),
    [("Femur_Head_L", "Femur_Head_R", "SIDES_SWAPPED"), ("Rectum", "Bladder", "ANATOMY_ORDER")],
)
def test_exchanged_names_are_told(one: str, other: str, code: str) -> None:
    case = pelvis()
    assert code in codes(with_structures(case, **{one: case.structures[other], other: case.structures[one]}))


def test_a_head_is_not_a_pelvis() -> None:
    case = pelvis((200.0, 160.0))
    assert codes(case)["BODY_SITE"] == "error"
    assert codes(case, "BODY_SITE")["BODY_SITE"] == "warning"
    assert not examine(case, "head and neck")


@pytest.mark.parametrize(("radius_mm", "told"), [(0.0, False), (4.0, False), (15.0, True)])
def test_metal_near_the_target_is_told_with_its_volume(radius_mm: float, told: bool) -> None:
    case = pelvis()
    hu = case.ct.array.copy()
    if radius_mm:
        hu[ball(ORGANS["Femur_Head_R"][0], radius_mm)] = 3071.0
    problems = [p for p in examine(replace(case, ct=Volume(GRID, hu)), "prostate") if p.code == "METAL"]
    assert bool(problems) == told
    if told:
        cc = int(np.count_nonzero(hu > 2000)) * GRID.voxel_cc
        assert f"{cc:.1f} cc" in problems[0].message


def test_an_outline_in_air_is_doubted_and_then_refused() -> None:
    wide = structure("x", body((220.0, 460.0)))
    assert codes(with_structures(pelvis(), External=wide))["BODY_NOT_PATIENT"] == "warning"
    whole = structure("x", np.ones(GRID.shape, np.bool_))
    assert codes(with_structures(pelvis(), External=whole))["BODY_NOT_PATIENT"] == "error"


def test_many_doubts_together_refuse() -> None:
    case = pelvis()
    names = ("Femur_Head_L", "Femur_Head_R", "Bladder", "Rectum", "PenileBulb")
    air = {name: structure(name, ball((10 * k - 20, -140, 30 * k - 60), 15)) for k, name in enumerate(names)}
    found = codes(with_structures(case, **air))
    assert found["ANATOMY_IMPLAUSIBLE"] == "error"
    assert codes(with_structures(case, **air), "ANATOMY_IMPLAUSIBLE")["ANATOMY_IMPLAUSIBLE"] == "warning"


def test_errors_stand_first_and_every_remedy_of_an_error_names_an_option_that_exists() -> None:
    problems = examine(
        with_structures(pelvis((200.0, 160.0)), PTV_7000=structure("x", ball((0, -150, 0), 25))), "prostate"
    )
    errors = [problem for problem in problems if problem.severity == "error"]
    assert list(problems[: len(errors)]) == errors
    assert len(errors) >= 2
    assert {problem.code for problem in problems} <= set(ANATOMY)
    for problem in errors:
        assert f"--allow {problem.code}" in problem.remedy
        assert problem.code in ALLOWABLE
