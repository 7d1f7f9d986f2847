"""A DICOM study written as image files, by SimpleITK alone, in the orientations that people's files have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from vmat_rt.case import Case, Structure, Volume
from vmat_rt.geometry.rasterize import structure_fraction


def image(array: NDArray[np.generic], volume: Volume) -> sitk.Image:
    made = sitk.GetImageFromArray(array)
    made.SetSpacing(volume.grid.spacing_mm[::-1])
    made.SetOrigin(volume.grid.origin_mm[::-1])
    return made


def write(array: NDArray[np.generic], volume: Volume, path: Path, orientation: str = "LPS") -> None:
    """orientation: where the file's first, second and third axis point to, e.g. RAS; ITK says it as "LPS" for ours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.DICOMOrient(image(array, volume), orientation), str(path), useCompression=True)


def fractions_of(case: Case) -> Mapping[str, NDArray[np.float32]]:
    """Every structure as area fractions on the CT's grid; the body among them."""
    structures: dict[str, Structure] = {str(case.body.name): case.body, **case.structures}
    return {name: structure_fraction(structure, case.ct.grid) for name, structure in structures.items()}


def export(
    case: Case, folder: Path, suffix: str = ".nii.gz", orientation: str = "LPS", *, dose: bool = True
) -> Mapping[str, NDArray[np.float32]]:
    """ct, dose and a file of area fractions for each structure; returns the fractions."""
    write(case.ct.array, case.ct, folder / f"ct{suffix}", orientation)
    if dose and case.reference_dose is not None:
        write(case.reference_dose.array, case.reference_dose, folder / f"dose{suffix}", orientation)
    masks = fractions_of(case)
    for name, fraction in masks.items():
        write(fraction, case.ct, folder / f"{name}{suffix}", orientation)
    return masks
