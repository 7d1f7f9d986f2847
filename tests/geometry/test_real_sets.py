"""Contours of real systems (MIM, XiO) against the published masks and volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.external import shared_file, shared_folder
from tests.geometry.real_sets import read_set, unpack
from tests.geometry.shapes import shoelace
from vmat_rt.case import Contours, Structure
from vmat_rt.geometry.rasterize import even_odd_mask, fraction, volume_cc

PATIENTS = ["STS_002", "STS_006", "STS_008", "STS_019", "STS_025", "STS_042"]


@pytest.mark.parametrize("patient", PATIENTS)
def test_masks_equal_the_truth_voxel_for_voxel(patient: str) -> None:
    real = read_set(shared_folder(f"real_dicom/{patient}"))
    assert real.truth is not None
    assert real.truth.sum() > 1000
    np.testing.assert_array_equal(even_odd_mask(real.contours, real.grid), real.truth)


def stack_cc(contours: Contours) -> float:
    """Every plane's area times the usual spacing, as planning systems add up polygons."""
    return sum(shoelace(polygon) for plane in contours.planes for polygon in plane.polygons) * contours.slab_mm / 1000


@pytest.mark.parametrize("patient", PATIENTS)
def test_fractions_and_volume_agree_with_the_truth(patient: str) -> None:
    real = read_set(shared_folder(f"real_dicom/{patient}"))
    assert real.truth is not None
    covered_cc = float(fraction(real.contours, real.grid).sum(dtype=np.float64)) * real.grid.voxel_cc
    assert volume_cc(Structure("GTV", None, real.contours)) == pytest.approx(covered_cc, rel=3e-3)
    assert covered_cc == pytest.approx(float(real.truth.sum()) * real.grid.voxel_cc, rel=0.01)


def test_thorax_of_xio(tmp_path: Path) -> None:
    archive = shared_file("real_dicom/thorax_xio.tar.xz")
    real = read_set(unpack(archive, tmp_path) / "thorax_xio")
    assert real.grid.shape == (111, 512, 512)
    # Published with the set: 358.7 cc by the stack of its polygons.
    assert stack_cc(real.contours) == pytest.approx(358.7, abs=0.05)
    assert volume_cc(Structure("GTV-1", None, real.contours)) == pytest.approx(358.7, rel=1e-3)
    mask_cc = float(even_odd_mask(real.contours, real.grid).sum()) * real.grid.voxel_cc
    assert mask_cc == pytest.approx(358.7, rel=0.01)
