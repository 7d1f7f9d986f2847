"""Growing a ball gives the larger ball; margins of patients are in test_patient.py."""

from __future__ import annotations

import numpy as np
import pytest

from vmat_rt.phantom.anatomy.lattice import STEP_MM
from vmat_rt.phantom.anatomy.targets import grow


def test_growing_a_ball_gives_the_larger_ball() -> None:
    axis = (np.arange(41, dtype=np.float32) - 20.3) * np.float32(STEP_MM)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    radius = np.sqrt(z * z + y * y + x * x)
    result = grow(np.asarray(radius - 18, np.float32), 7.0)
    shell = np.abs(radius - 25) < 4
    np.testing.assert_allclose(result[shell], (radius - 25)[shell], atol=0.25)
    # Half an ellipsoid behind: 5 mm straight back, 7 mm elsewhere.
    behind = grow(np.asarray(radius - 18, np.float32), 7.0, 5.0)
    middle = behind[20, :, 20]
    crossings = np.interp(0, middle[20:35], axis[20:35]), -np.interp(0, middle[:20][::-1], -axis[:20][::-1])
    assert crossings[0] == pytest.approx(23, abs=0.35)
    assert crossings[1] == pytest.approx(-25, abs=0.35)
