"""Contours against the CT: within, out by so many mm, wholly outside, and enclosing nothing."""

from __future__ import annotations

import numpy as np
import pytest

from vmat_rt.assembly.placement import placement_problems
from vmat_rt.case import ContourPlane, Contours, Structure
from vmat_rt.grid import Grid

CT = Grid((10, 20, 30), (3.0, 2.0, 1.0), (-13.5, -19.0, -14.5), "1.2")  # faces at -15..15, -20..20, -15..15


def box(low: tuple[float, float, float], high: tuple[float, float, float]) -> Structure:
    (z0, y0, x0), (z1, y1, x1) = low, high
    ring = np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]])
    return Structure("box", None, Contours(tuple(ContourPlane(z, (ring,)) for z in (z0, z1)), abs(z1 - z0), "1.2"))


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        ((-3, -5, -5), (3, 5, 5), None),
        ((-3, -20.4, -5), (3, 5, 5), None),  # within the tolerance of 0.5 mm
        ((-3, -23, -5), (3, 5, 5), "3.0 mm in front"),
        ((-3, -5, -5), (3, 22, 5), "2.0 mm behind"),
        ((-3, -5, -19), (3, 5, 5), "4.0 mm right"),
        ((-3, -5, -5), (3, 5, 16), "1.0 mm left"),
        ((-18, -5, -5), (3, 5, 5), "3.0 mm below its lowest slice"),
        ((-3, -5, -5), (21, 5, 17), "6.0 mm above its highest slice, 2.0 mm left"),
    ],
)
def test_what_leaves_the_ct_is_told_in_mm(
    low: tuple[float, float, float], high: tuple[float, float, float], said: str | None
) -> None:
    problems = placement_problems(box(low, high), CT)
    if said is None:
        assert problems == ()
        return
    (problem,) = problems
    assert (problem.code, problem.severity) == ("STRUCTURE_LEAVES_CT", "warning")
    assert f"leaves the CT: {said}." in problem.message


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [1, -1])
def test_what_lies_wholly_outside_is_an_error_with_its_centre(axis: int, sign: int) -> None:
    centre = [0.0, 0.0, 0.0]
    centre[axis] = sign * 40.0
    low, high = (tuple(c + d for c in centre) for d in (-3.0, 3.0))
    (problem,) = placement_problems(box(low, high), CT)  # type: ignore[arg-type]
    assert (problem.code, problem.severity) == ("STRUCTURE_OUTSIDE_CT", "error")
    assert f"({', '.join(f'{c:.1f}' for c in centre)}) mm" in problem.message


def test_two_contours_that_cancel_enclose_nothing() -> None:
    ring = np.array([[0.0, 0.0], [0.0, 4.0], [4.0, 4.0], [4.0, 0.0]])
    twice = Structure("twin", None, Contours((ContourPlane(0.0, (ring, ring.copy())),), 3.0, "1.2"))
    (problem,) = placement_problems(twice, CT)
    assert problem.code == "STRUCTURE_EMPTY"
    assert "2 contours" in problem.message
