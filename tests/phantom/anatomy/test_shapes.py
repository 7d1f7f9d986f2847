"""Shapes in closed form."""

from __future__ import annotations

import numpy as np

from vmat_rt.phantom.anatomy.shapes import Points, cone, sphere


def test_a_rod_without_length_is_a_ball() -> None:
    axis = np.linspace(-9, 9, 7, dtype=np.float32)
    points = Points(*np.meshgrid(axis, axis, axis, indexing="ij"))
    rod = cone(points, (1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 3.0, 4.0))
    np.testing.assert_allclose(rod, sphere(points, (1.0, 2.0, 3.0), 4.0), atol=1e-5)
