"""ImageOrientationPatient: the normal is row times column, and what is not orthonormal is none."""

from __future__ import annotations

import numpy as np
import pytest

from vmat_rt.dicom.orientation import cosines


def test_the_normal_is_row_times_column() -> None:
    row, column, normal = cosines(np.array([0.0, 1, 0, 0, 0, -1]))  # type: ignore[misc]
    assert (row.tolist(), column.tolist(), normal.tolist()) == ([0, 1, 0], [0, 0, -1], [-1, 0, 0])


@pytest.mark.parametrize(
    "orientation", [[1, 0, 0, 0, 0.99, 0], [1, 0, 0, 0.1, 0.995, 0], [0, 0, 0, 0, 1, 0]], ids=["short", "skew", "zero"]
)
def test_cosines_that_are_not_orthonormal_are_none(orientation: list[float]) -> None:
    assert cosines(np.array(orientation, float)) is None
