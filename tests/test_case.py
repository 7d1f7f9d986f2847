"""What a case says of its targets and structures, and that an array fits its grid."""

from __future__ import annotations

import numpy as np
import pytest

from vmat_rt.case import Case, ContourPlane, Contours, Prescription, Structure, Volume
from vmat_rt.errors import GeometryError
from vmat_rt.grid import Grid

GRID = Grid((3, 4, 5), (3.0, 2.0, 1.0), (-7.0, 11.0, 13.0), "1.2")
RING = np.array([[0.0, 0.0], [0.0, 4.0], [4.0, 0.0]])


def test_an_array_of_another_shape_is_refused() -> None:
    with pytest.raises(GeometryError, match=r"\(3, 5, 4\) on a grid of \(3, 4, 5\)"):
        Volume(GRID, np.zeros((3, 5, 4), np.float32))


def test_contours_are_counted_over_all_planes_and_voxels_have_none() -> None:
    planes = (ContourPlane(0.0, (RING, RING + 9)), ContourPlane(3.0, (RING,)))
    assert Structure("a", None, Contours(planes, 3.0, "1.2")).contour_count == 3
    assert Structure("a", None, Volume(GRID, np.ones(GRID.shape, np.float32))).contour_count == 0
    assert Structure("a", None, None).contour_count == 0


def test_targets_are_those_contoured_from_the_highest_dose_down() -> None:
    voxels = Volume(GRID, np.ones(GRID.shape, np.float32))
    prescription = Prescription({"PTV_5600": 56.0, "PTV_7000": 70.0, "PTV_6300": 63.0}, 28, "plan")
    structures = {name: Structure(name, name, voxels) for name in ("PTV_5600", "Rectum", "PTV_7000")}
    case = Case("k", voxels, structures, Structure("BODY", "External", voxels), prescription, "prostate_sib_70_56")
    assert list(case.targets().items()) == [("PTV_7000", 70.0), ("PTV_5600", 56.0)]
    assert (prescription.highest_gy, prescription.lowest_gy) == (70.0, 56.0)


@pytest.mark.parametrize(
    ("shape", "frame"),
    [
        (Volume(GRID, np.ones(GRID.shape, np.float32)), "1.2"),
        (Contours((ContourPlane(0.0, (RING,)),), 3.0, "1.2.4"), "1.2.4"),
        (None, None),
    ],
)
def test_a_structure_lies_in_the_frame_of_its_shape(shape: Contours | Volume | None, frame: str | None) -> None:
    assert Structure("roi", "Rectum", shape).frame_uid == frame
