"""Structures that were voxels keep their volume and their place as contours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.dicom import written
from tests.dicom.write.exports import contours_of, exported
from vmat_rt.case import Structure, Volume
from vmat_rt.geometry.rasterize import even_odd_mask, fraction, volume_cc


def test_voxels_keep_their_volume_and_their_place(tmp_path: Path) -> None:
    study = exported(tmp_path)
    rectum = written.case().structures["Rectum"]
    assert isinstance(rectum.shape, Volume)
    seen = contours_of(study, "rectum")
    assert volume_cc(Structure("rectum", None, seen)) == pytest.approx(volume_cc(rectum), rel=0.001)
    assert np.array_equal(even_odd_mask(seen, study.ct.volume.grid), rectum.shape.array > 0.5)  # type: ignore[union-attr]


@pytest.mark.parametrize("voxels", [1, 2, 5])
def test_the_smallest_structures_keep_their_volume(tmp_path: Path, voxels: int) -> None:
    mask = np.zeros(written.CT_GRID.shape, np.float32)
    mask[4, 10, 7 : 7 + voxels] = 1.0
    tiny = Structure("cochlea", None, Volume(written.CT_GRID, mask))
    study = exported(tmp_path, case=replace(written.case(), unmapped=(tiny,)))
    # One plane stands for one slice.
    fractions = fraction(contours_of(study, "cochlea"), study.ct.volume.grid)  # type: ignore[union-attr]
    assert fractions.sum() == pytest.approx(voxels, rel=0.01)


def test_smooth_fractions_of_a_ball_come_back_with_its_volume(tmp_path: Path) -> None:
    """Drawn on eight planes; the voxels themselves hold 2 % more than the ball."""
    z, y, x = np.meshgrid(*(written.CT_GRID.axis_mm(a) for a in range(3)), indexing="ij")
    depth = 7.0 - np.sqrt((z + 29.5) ** 2 + (y + 98.0) ** 2 + (x - 88.0) ** 2)
    ball = Volume(written.CT_GRID, np.clip(0.5 + depth / 2.0, 0.0, 1.0).astype(np.float32))
    study = exported(tmp_path, case=replace(written.case(), unmapped=(Structure("ball", None, ball),)))
    seen = volume_cc(Structure("ball", None, contours_of(study, "ball")))
    assert seen == pytest.approx(4 / 3 * np.pi * 0.7**3, rel=0.01)


def test_rois_have_the_types_that_planning_systems_know(tmp_path: Path) -> None:
    study = exported(tmp_path)
    types = {roi.name: roi.interpreted_type for roi in study.structure_set.rois}
    assert types == {"ptv 70": "PTV", "rectum": "ORGAN", "BODY": "EXTERNAL"}
