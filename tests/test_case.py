"""Which frame of reference a structure lies in."""

from __future__ import annotations

import numpy as np
import pytest

from vmat_rt.case import ContourPlane, Contours, Structure, Volume
from vmat_rt.grid import Grid

GRID = Grid((1, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), "1.2.3")
SQUARE = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


@pytest.mark.parametrize(
    ("shape", "frame"),
    [
        (Volume(GRID, np.ones(GRID.shape, np.float32)), "1.2.3"),
        (Contours((ContourPlane(0.0, (SQUARE,)),), 3.0, "1.2.4"), "1.2.4"),
        (None, None),
    ],
)
def test_a_structure_lies_in_the_frame_of_its_shape(shape: Contours | Volume | None, frame: str | None) -> None:
    assert Structure("roi", "Rectum", shape).frame_uid == frame
