"""A target with slices left out, and targets of separate parts."""

from __future__ import annotations

import pytest

from tests.geometry.shapes import disc, structure
from vmat_rt.assembly.target_slices import missing_target_slices
from vmat_rt.case import Structure

HERE, BESIDE = disc(15.0, (3.0, 4.0)), disc(15.0, (3.0, 80.0))


@pytest.mark.parametrize("missing", [1, 3, 8])
def test_slices_left_out_within_a_target_are_an_error(missing: int) -> None:
    above = 9.0 + 3.0 * missing
    z_mm = [0.0, 3.0, 6.0, *(above + 3.0 * k for k in range(4))]
    (problem,) = missing_target_slices(structure({z: [HERE] for z in z_mm}, 3.0, "PTV_7000"))
    assert (problem.code, problem.severity) == ("TARGET_SLICES_MISSING", "error")
    assert f"PTV_7000 has no contour between z 6.0 to {above:.1f} mm" in problem.message
    assert "--allow TARGET_SLICES_MISSING" in problem.remedy


def test_separate_parts_and_whole_targets_are_none() -> None:
    whole = structure({3.0 * k: [HERE] for k in range(8)}, 3.0)
    nodes = structure({0.0: [HERE], 3.0: [HERE], 12.0: [BESIDE], 15.0: [BESIDE]}, 3.0)
    far = structure({0.0: [HERE], 3.0: [HERE], 60.0: [HERE], 63.0: [HERE]}, 3.0)
    for target in (whole, nodes, far, Structure("PTV", "PTV", None)):
        assert missing_target_slices(target) == ()


def test_many_gaps_make_one_short_message() -> None:
    planes = {z: [HERE] for k in range(60) for z in (9.0 * k, 9.0 * k + 3.0)}
    (problem,) = missing_target_slices(structure(planes, 3.0, "PTV_7000"))
    assert "and 54 more gaps" in problem.message
    assert len(problem.message) < 300
