"""CT slices whose places are rounded, of two spacings or a tenth of a degree off: read, with what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.dicom.ct.test_read import _change_all, ct_of, refusal
from tests.dicom_phantom import edited, write_study


def test_positions_rounded_to_a_tenth_are_accepted_with_a_warning(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, structures=False, spacing_mm=(2.54, 2.5, 2.0))
    for path in phantom.ct_files:
        with edited(path) as ds:
            ds.ImagePositionPatient = [*ds.ImagePositionPatient[:2], round(float(ds.ImagePositionPatient[2]), 1)]
    ct = ct_of(phantom)
    assert [problem.code for problem in ct.problems] == ["CT_POSITIONS_ROUNDED"]
    assert ct.volume.grid.same_as(phantom.grid, tolerance_mm=0.06)
    np.testing.assert_array_equal(ct.volume.array, phantom.hu)


def test_between_slices_further_apart_hu_are_interpolated(tmp_path: Path) -> None:
    """The phantom's HU grow by 2 from slice to slice inside the body, so that the mean of two is the one between."""
    phantom = write_study(tmp_path, structures=False, shape=(14, 40, 52))
    removed = (6, 8, 10, 12)
    for k in removed:
        phantom.ct_files[k].unlink()
    ct = ct_of(phantom)
    assert [problem.code for problem in ct.problems] == ["CT_MIXED_SPACING"]
    assert "3.00 mm from z" in ct.problems[0].message
    assert "6.00 mm from z" in ct.problems[0].message
    assert ct.volume.grid.same_as(phantom.grid)
    np.testing.assert_allclose(ct.volume.array, phantom.hu, atol=1e-3)
    kept = [phantom.options.uid(f"ct {k}") for k in range(14) if k not in removed]
    assert set(ct.sop_uids) == set(kept)
    assert len(ct.sop_uids) == 14


@pytest.mark.parametrize("degrees", [0.08, 0.1])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_tenth_of_a_degree_is_not_oblique(tmp_path: Path, degrees: float, axis: int) -> None:
    phantom = write_study(tmp_path, structures=False, shape=(90, 40, 52))
    turned = _rotation(axis, np.radians(degrees))
    middle = np.array(phantom.grid.centre_mm[::-1])
    for path in phantom.ct_files:
        with edited(path) as ds:
            ds.ImageOrientationPatient = [round(float(v), 8) for v in (*turned[:, 0], *turned[:, 1])]
            place = middle + turned @ (np.array(ds.ImagePositionPatient, float) - middle)
            ds.ImagePositionPatient = [round(float(v), 5) for v in place]
    ct = ct_of(phantom)
    assert ct.problems == ()
    assert ct.volume.grid.same_as(phantom.grid, tolerance_mm=0.25)
    np.testing.assert_array_equal(ct.volume.array, phantom.hu)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_fifth_of_a_degree_is_oblique(tmp_path: Path, axis: int) -> None:
    phantom = write_study(tmp_path, structures=False)
    turned = _rotation(axis, np.radians(0.2))
    _change_all(phantom, ImageOrientationPatient=[float(f"{v:.8f}") for v in (*turned[:, 0], *turned[:, 1])])
    assert set(refusal(phantom)) == {"CT_OBLIQUE"}


def _rotation(axis: int, angle: float) -> np.ndarray:
    one, other = (k for k in range(3) if k != axis)
    matrix = np.eye(3)
    matrix[one, one] = matrix[other, other] = np.cos(angle)
    matrix[one, other], matrix[other, one] = -np.sin(angle), np.sin(angle)
    return matrix
