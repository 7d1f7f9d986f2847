"""Signed distances against closed forms on a grid with three unequal spacings."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from tests.geometry.shapes import FRAME, GRID
from vmat_rt.errors import GeometryError
from vmat_rt.geometry.distance import signed_distance_mm
from vmat_rt.grid import Grid

CUBE = Grid((40, 61, 70), (3.0, 1.9, 1.6), (-60.0, -58.0, -55.0), FRAME)


def coordinates(grid: Grid) -> list[NDArray[np.float64]]:
    return list(np.meshgrid(*(grid.axis_mm(axis) for axis in range(3)), indexing="ij"))


def test_a_sphere() -> None:
    z, y, x = coordinates(CUBE)
    truth = np.sqrt(z**2 + y**2 + x**2) - 25.0
    distance = signed_distance_mm((truth <= 0).astype(np.float32), CUBE, 20.0)
    expected = np.clip(truth, -20, 20)
    error = distance - expected
    # A surface of voxels is known within half a voxel's diagonal; the mean shows that there is no bias.
    assert np.abs(error).max() < np.linalg.norm(CUBE.spacing_mm) / 2
    for side in ((truth > 0) & (truth < 15), (truth < 0) & (truth > -15)):
        assert abs(error[side].mean()) < 0.2


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slab_reaching_the_edges_of_the_grid_is_known_within_a_sixth_of_a_voxel(axis: int) -> None:
    place = coordinates(CUBE)[axis]
    centres = CUBE.axis_mm(axis)
    face = centres[20] + CUBE.spacing_mm[axis] / 2
    distance = signed_distance_mm((place < face).astype(np.float32), CUBE, 30.0)
    # Half a spacing lies between the nearest centre and a level face, of which a third of the mean is taken off.
    offset = CUBE.spacing_mm[axis] / 2 - np.mean(CUBE.spacing_mm) / 3
    expected = np.clip(place - face + offset * np.sign(place - face), -30, 30)
    np.testing.assert_allclose(distance, expected, atol=1e-4)


def test_a_box_across_its_edges() -> None:
    part = np.zeros(CUBE.shape, np.float32)
    part[10:25, 20:40, 15:50] = 1
    distance = signed_distance_mm(part, CUBE, 80.0)
    # From the voxels of the box's last edge, 24 and 39, diagonally out in z and y.
    dz, dy = 3.0 * np.arange(1, 10), 1.9 * np.arange(1, 10)
    diagonal = distance[25:34, 40:49, 30][np.arange(9), np.arange(9)]
    np.testing.assert_allclose(diagonal, np.hypot(dz, dy) - np.mean(CUBE.spacing_mm) / 3, atol=1e-4)


def test_far_voxels_are_clipped_and_the_crop_changes_nothing() -> None:
    part = np.zeros(CUBE.shape, np.float32)
    part[18:22, 28:33, 30:36] = 1
    wide, narrow = signed_distance_mm(part, CUBE, 1000.0), signed_distance_mm(part, CUBE, 15.0)
    np.testing.assert_allclose(narrow, np.clip(wide, -15, 15), atol=1e-4)
    assert narrow[0, 0, 0] == 15


def test_distances_are_those_of_scipy() -> None:
    z, y, x = coordinates(CUBE)
    blobs = np.sin(z / 9) + np.cos(y / 7) * np.sin(x / 11) > 0.7
    to_inside = distance_transform_edt(~blobs, sampling=CUBE.spacing_mm)
    to_outside = distance_transform_edt(blobs, sampling=CUBE.spacing_mm)
    shift = np.mean(CUBE.spacing_mm) / 3
    expected = np.maximum(to_inside - shift, 0) - np.maximum(to_outside - shift, 0)
    distance = signed_distance_mm(blobs.astype(np.float32), CUBE, 40.0)
    np.testing.assert_allclose(distance, np.clip(expected, -40, 40), atol=1e-3)


def test_a_structure_thinner_than_half_a_voxel_still_has_a_place() -> None:
    part = np.zeros(GRID.shape, np.float32)
    part[3, 10, 12:15] = (0.2, 0.3, 0.1)
    distance = signed_distance_mm(part, GRID, 10.0)
    assert (distance < 0).sum() == 2
    assert distance[3, 10, 13] < 0


def test_a_structure_without_outside_is_inside_everywhere() -> None:
    assert np.all(signed_distance_mm(np.ones(GRID.shape, np.float32), GRID, 12.0) == -12)


def test_nothing_has_no_distance() -> None:
    with pytest.raises(GeometryError, match="empty"):
        signed_distance_mm(np.zeros(GRID.shape, np.float32), GRID, 10.0)
    with pytest.raises(GeometryError, match="shape"):
        signed_distance_mm(np.ones((2, 2, 2), np.float32), GRID, 10.0)
