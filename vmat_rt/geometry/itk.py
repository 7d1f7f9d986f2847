"""Between our arrays and SimpleITK images: same voxels, same place, one meaning of the axes."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from vmat_rt.grid import Grid


def to_image(array: NDArray[np.generic], grid: Grid) -> sitk.Image:
    """An image with the array's voxels (z, y, x) at the grid's place in LPS."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(grid.spacing_mm[::-1])
    image.SetOrigin(grid.origin_mm[::-1])
    return image


def to_array(image: sitk.Image) -> NDArray[np.float32]:
    """The image's voxels (z, y, x) as float32, C-contiguous."""
    return np.ascontiguousarray(sitk.GetArrayFromImage(image), np.float32)
