"""Signed distance to the surface of a structure, mm, by Maurer's exact Euclidean transform (SimpleITK).

C. R. Maurer et al. (2003), "A linear time algorithm for computing exact Euclidean distance transforms of binary images
in arbitrary dimensions", IEEE Trans. Pattern Anal. Mach. Intell. 25, 265.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from vmat_rt.case import FloatArray
from vmat_rt.errors import GeometryError
from vmat_rt.geometry.itk import to_image
from vmat_rt.grid import Grid
from vmat_rt.system.threads import THREADS


def signed_distance_mm(fraction: FloatArray, grid: Grid, clip_mm: float) -> FloatArray:
    """Distance of each voxel's centre from the structure's surface, mm: float32 (z, y, x), negative inside.

    Values are limited to +-clip_mm. The structure is the voxels of at least half area fraction, or of at least half of
    the highest fraction where none reaches that (a chiasm on a coarse grid). Outside it is the distance to the nearest
    voxel inside, inside that to the nearest voxel outside, each less a third of the mean spacing: the nearest centre
    lies half a spacing behind a level face and almost on a slanted one; a third leaves no bias on spheres.
    Only a box of clip_mm round the structure is computed; beyond it the value is clip_mm.
    Raises GeometryError when every fraction is 0: absence is the caller's to encode.
    """
    if fraction.shape != grid.shape:
        raise GeometryError(f"fractions of shape {fraction.shape} on a grid of {grid.shape}")
    inside = _find_inside(fraction)
    z, y, x = (int(np.ceil(clip_mm / spacing)) + 1 for spacing in grid.spacing_mm)
    box = grid.box_of(inside, (z, y, x))
    assert box is not None, "the highest fraction is inside"
    image = to_image(inside[box].astype(np.uint8), grid.part(box))
    result = np.full(grid.shape, clip_mm, np.float32)
    if inside[box].all():
        # Without a voxel outside there is no surface: the structure fills the grid.
        result[box] = -clip_mm
        return result
    behind_surface = sum(grid.spacing_mm) / 9
    to_inside = np.maximum(sitk.GetArrayFromImage(_compute_maurer(image)) - behind_surface, 0)
    to_outside = np.maximum(sitk.GetArrayFromImage(_compute_maurer(1 - image)) - behind_surface, 0)
    np.clip(to_inside - to_outside, -clip_mm, clip_mm, out=result[box])
    return result


def _find_inside(fraction: FloatArray) -> NDArray[np.bool_]:
    highest = float(fraction.max())
    if not highest > 0:
        raise GeometryError("an empty structure has no distance")
    return np.asarray(fraction >= min(0.5, highest / 2))


def _compute_maurer(image: sitk.Image) -> sitk.Image:
    """Distance from the nearest voxel centre of the object (value 1): 0 on its border, negative deeper inside."""
    transform: sitk.SignedMaurerDistanceMapImageFilter = sitk.SignedMaurerDistanceMapImageFilter()
    transform.SetNumberOfThreads(THREADS)
    transform.SetUseImageSpacing(True)
    transform.SetSquaredDistance(False)
    transform.SetInsideIsPositive(False)
    distance: sitk.Image = transform.Execute(image)
    return distance
