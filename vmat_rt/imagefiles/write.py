"""A dose as NIfTI, marked in its header for what it is."""

# mypy: allow-untyped-calls
from __future__ import annotations

from pathlib import Path
from typing import Final

import SimpleITK as sitk

from vmat_rt.case import Volume
from vmat_rt.geometry.itk import to_image

_LONGEST: Final = 79
"""Characters of NIfTI's descrip."""


def write_dose(path: Path, dose: Volume, notice: str) -> None:
    """Write a dose (Gy, float32) as .nii.gz on its own grid, whose place NIfTI states in RAS. notice: for `descrip`."""
    image = to_image(dose.array, dose.grid)
    image.SetMetaData("ITK_FileNotes", notice[:_LONGEST])
    sitk.WriteImage(image, str(path), useCompression=True)
