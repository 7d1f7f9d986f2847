"""Left and right, behind and above, on contours and voxels alike.

Covers vmat_rt.gate.centroid.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.gate.pelvis import ball, structure
from vmat_rt.case import ContourPlane, Contours, Structure
from vmat_rt.gate.centroid import centroid_mm
from vmat_rt.gate.relations import RELATIONS, relation_problems


def drawn(name: str, centre: tuple[float, float, float], half_mm: float = 10.0) -> Structure:
    """A cube of contours round a centre (z, y, x)."""
    z, y, x = centre
    ring = np.array(
        [[y - half_mm, x - half_mm], [y - half_mm, x + half_mm], [y + half_mm, x + half_mm], [y + half_mm, x - half_mm]]
    )
    planes = tuple(ContourPlane(z + step, (ring,)) for step in (-5.0, 0.0, 5.0))
    return Structure(name, name, Contours(planes, 5.0, "1.2"))


@pytest.mark.parametrize("clockwise", [True, False])
def test_the_centroid_of_a_triangle(clockwise: bool) -> None:
    corners = np.array([[0.0, 0.0], [0.0, 30.0], [15.0, 0.0]])
    ring = corners if clockwise else corners[::-1]
    shape = Contours((ContourPlane(4.0, (ring,)), ContourPlane(6.0, (ring,))), 2.0, "1.2")
    assert centroid_mm(Structure("t", None, shape)) == pytest.approx((5.0, 5.0, 10.0))


def test_nothing_has_no_middle() -> None:
    assert centroid_mm(Structure("t", None, None)) is None
    assert centroid_mm(structure("t", np.zeros_like(ball((0, 0, 0), 1.0)))) is None


@pytest.mark.parametrize(
    ("site", "relation"), [(s, r) for s, relations in RELATIONS.items() for r in relations], ids=str
)
def test_each_relation_is_told_only_when_it_is_reversed(site: str, relation: tuple[str, str, str]) -> None:
    one, where, other = relation
    step = (30.0, 0.0, 0.0) if where == "above" else (0.0, 30.0, 0.0)
    right = {one: drawn(one, step), other: drawn(other, (0.0, 0.0, 0.0))}
    assert relation_problems(right, site) == ()
    wrong = {one: drawn(one, (0.0, 0.0, 0.0)), other: drawn(other, step)}
    (problem,) = relation_problems(wrong, site)
    assert problem.code == "ANATOMY_ORDER"
    assert one in problem.message
    assert other in problem.message
    assert "30 mm" in problem.message


def test_a_side_without_its_partner_is_held_against_body_and_targets() -> None:
    body, aim = drawn("External", (0, 0, 0), 150), drawn("PTV_7000", (0, 0, 5))
    for x, codes in ((60, []), (-15, []), (-60, ["SIDES_SWAPPED"])):
        structures = {"Femur_Head_L": drawn("Femur_Head_L", (0, 0, x)), "PTV_7000": aim}
        assert [p.code for p in relation_problems(structures, "prostate", body, ["PTV_7000"])] == codes
        assert relation_problems(structures, "prostate") == ()


def test_sides() -> None:
    left, right = drawn("Parotid_L", (0, 0, 40)), drawn("Parotid_R", (0, 0, -40))
    assert relation_problems({"Parotid_L": left, "Parotid_R": right}, "head and neck") == ()
    (problem,) = relation_problems({"Parotid_L": right, "Parotid_R": left}, "head and neck")
    assert problem.code == "SIDES_SWAPPED"


def prostate_targets(**half_mm: float) -> dict[str, Structure]:
    return {name: drawn(name, (0.0, 0.0, 0.0), half) for name, half in half_mm.items()}


def test_a_prostate_within_its_target_and_that_within_the_lower_one_are_right() -> None:
    assert relation_problems(prostate_targets(Prostate=20, PTV_7000=28), "prostate") == ()
    equal = prostate_targets(Prostate=20, PTV_7000=28, PTV_5600=28)
    assert relation_problems(equal, "prostate") == ()


def test_a_target_that_leaves_the_prostate_out_is_told() -> None:
    elsewhere = {"Prostate": drawn("Prostate", (0, 0, 0)), "PTV_7000": drawn("PTV_7000", (40, -30, 0), 30)}
    (problem,) = relation_problems(elsewhere, "prostate")
    assert problem.message == "The middle of Prostate lies outside PTV_7000."


def test_a_lower_target_within_the_higher_one_is_told() -> None:
    ring = np.array([[-20.0, -20.0], [-20.0, 20.0], [20.0, 20.0], [20.0, -20.0]])
    small = Contours(tuple(ContourPlane(z, (ring,)) for z in (0.0, 5.0)), 5.0, "1.2")
    wide = Contours(tuple(ContourPlane(z, (ring * 1.5,)) for z in (-10.0, -5.0, 0.0, 5.0, 10.0)), 5.0, "1.2")
    nested = {"PTV_7000": Structure("a", "PTV_7000", wide), "PTV_5600": Structure("b", "PTV_5600", small)}
    (problem,) = relation_problems(nested, "prostate")
    assert problem.message.startswith("PTV_5600 lies wholly within PTV_7000")
    assert relation_problems({"PTV_7000": nested["PTV_5600"], "PTV_5600": nested["PTV_7000"]}, "prostate") == ()
