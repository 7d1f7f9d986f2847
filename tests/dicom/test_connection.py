"""Which planes are connected, by the CT's slices and by distances alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.dicom_phantom import Drawn, disc, write_study
from vmat_rt.dicom.connection import connected_by_distances, connected_by_slices, is_regular
from vmat_rt.dicom.study import read_study

THREE = np.arange(-60.0, 100.0, 3.0)
MIXED = np.concatenate((np.arange(-60.0, 9.0, 3.0), np.arange(9.0, 100.0, 6.0)))


def at(*gaps: float) -> np.ndarray:
    return np.concatenate(([0.0], np.cumsum(gaps)))


@pytest.mark.parametrize(
    ("gaps", "slab_mm", "expected"),
    [
        ((3, 3, 3, 6, 6, 6, 6), 3.0, (1, 1, 1, 1, 1, 1, 1)),
        ((3, 3, 3, 6), 3.0, (1, 1, 1, 1)),
        ((3, 3, 3, 12, 6), 3.0, (1, 1, 1, 0, 1)),
        ((3, 6, 3, 6), 3.0, (1, 0, 1, 1)),
    ],
)
def test_a_ct_of_two_spacings_tells_what_was_skipped(
    gaps: tuple[float, ...], slab_mm: float, expected: tuple[int, ...]
) -> None:
    z_mm = at(*gaps)
    slices = np.concatenate((np.arange(-30.0, 10.0, 3.0), np.arange(15.0, 100.0, 6.0))) if gaps[1] == 3 else MIXED + 3
    assert connected_by_slices(z_mm, slab_mm, slices).tolist() == [bool(flag) for flag in expected]


@pytest.mark.parametrize(
    ("gaps", "slab_mm", "expected"),
    [
        ((3, 3, 6, 3, 3), 3.0, (1, 1, 0, 1, 1)),
        ((3, 3, 6, 6, 6, 6), 3.0, (1, 1, 0, 0, 0, 0)),
        ((6, 6, 6, 6), 6.0, (1, 1, 1, 1)),
        ((6, 6, 12, 6), 6.0, (1, 1, 0, 1)),
        ((6, 6, 6, 3, 6, 3, 3), 6.0, (1, 1, 1, 1, 0, 1, 1)),
        ((2.5, 2.5, 2.5, 5), 2.5, (1, 1, 1, 0)),
        ((3, 1, 3, 1, 3), 3.0, (1, 1, 1, 1, 1)),
    ],
)
def test_on_slices_three_mm_apart(gaps: tuple[float, ...], slab_mm: float, expected: tuple[int, ...]) -> None:
    assert connected_by_slices(at(*gaps), slab_mm, THREE).tolist() == [bool(flag) for flag in expected]


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ((3, 3, 3, 6, 6, 6), (1, 1, 1, 1, 1, 1)),
        ((6, 6, 3, 3, 3), (1, 1, 1, 1, 1)),
        ((3, 3, 6, 3, 3), (1, 1, 0, 1, 1)),
        ((3, 3, 6, 6, 3, 3), (1, 1, 0, 0, 1, 1)),
        ((3, 3, 3, 21, 21), (1, 1, 1, 0, 0)),
        ((3, 3, 3, 6), (1, 1, 1, 0)),
    ],
)
def test_without_ct_a_wider_spacing_must_be_shared(gaps: tuple[float, ...], expected: tuple[int, ...]) -> None:
    assert connected_by_distances(at(*gaps), 3.0).tolist() == [bool(flag) for flag in expected]


def test_regular_distances_need_no_ct() -> None:
    assert is_regular(at(3, 3.02, 2.98))
    assert is_regular(at(30))
    assert not is_regular(at(3, 6))


@pytest.mark.parametrize("with_ct", [True, False])
def test_an_roi_drawn_on_every_slice_but_one_has_a_gap(tmp_path: Path, with_ct: bool) -> None:
    disc_ = disc(0.0, 0.0, 12.0)
    planes = {z: [disc_] for z in (-25.5, -22.5, -19.5, -13.5, -10.5, -7.5)}
    write_study(tmp_path, rois=(Drawn("A", 1, planes),), ct=with_ct)
    (roi,) = read_study(tmp_path, need_ct=False).structure_set.rois
    assert [problem.code for problem in roi.problems] == ["ROI_SKIPPED_SLICES"]
    assert "z -19.5 to -13.5 mm" in roi.problems[0].message


def test_uneven_planes_without_ct_are_told(tmp_path: Path) -> None:
    planes = {z: [disc(0.0, 0.0, 12.0)] for z in (0.0, 3.0, 6.0, 9.0, 15.0, 21.0, 27.0)}
    write_study(tmp_path, rois=(Drawn("A", 1, planes),), ct=False)
    (roi,) = read_study(tmp_path, need_ct=False).structure_set.rois
    assert roi.contours is not None
    assert roi.contours.connected == (True,) * 6
    assert [problem.code for problem in roi.problems] == ["ROI_UNEVEN_PLANES"]
    assert "6.0 mm apart" in roi.problems[0].message
