"""What ImageOrientationPatient says of an image's axes.

Pixel (column i, row j, frame k) lies at ImagePositionPatient + i * row cosine * column spacing + j * column cosine *
row spacing + k * frame step (PS3.3 C.7.6.2.1.1); the frame step follows row cosine x column cosine.
"""

from __future__ import annotations

import numpy as np

from vmat_rt.geometry.orientation import COSINE_TOLERANCE, Vector


def cosines(orientation: Vector) -> tuple[Vector, Vector, Vector] | None:
    """Row, column and normal direction (x, y, z) of ImageOrientationPatient; None unless orthonormal."""
    row, column = orientation[:3], orientation[3:]
    lengths = np.array([np.linalg.norm(row), np.linalg.norm(column)])
    if np.any(np.abs(lengths - 1) > COSINE_TOLERANCE) or abs(float(row @ column)) > COSINE_TOLERANCE:
        return None
    return row, column, np.cross(row, column)
