"""One image file -> values on a canonical grid (z, y, x), increasing in LPS mm. SimpleITK decodes."""

# mypy: allow-untyped-calls
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from vmat_rt.case import Volume
from vmat_rt.errors import GeometryError, InputError, Problem
from vmat_rt.geometry.orientation import make_canonical_volume
from vmat_rt.imagefiles.nifti import check_nifti, report_not_finite, report_unreadable
from vmat_rt.imagefiles.nrrd import check_nrrd

SUFFIXES: Final = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd")
OBLIQUE_DEG: Final = 0.1
_MOST_LAYERS: Final = 64
_DECIMALS: Final = 6
"""Of an origin in mm; what flipping an axis adds beyond them is rounding."""


def find_suffix(path: Path) -> str | None:
    """The suffix that makes the file one of ours (".nii.gz", ".seg.nrrd", ...), or None."""
    return next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)


def strip_suffix(path: Path) -> str:
    """The file's name without that suffix."""
    return path.name[: -len(find_suffix(path) or "")] if find_suffix(path) else path.stem


def read_volume(path: Path, frame_uid: str) -> Volume:
    """The image of one value per voxel, float32, with the file's own scaling applied (scl_slope, scl_inter).

    Axes are exchanged and flipped as the file's directions say; values stay as they are. Raises InputError.
    """
    layers = read_layers(path, frame_uid)
    if len(layers) != 1:
        message = f"The file {path.name!r} holds {len(layers)} values per voxel; one is expected."
        raise InputError(Problem("IMAGE_NOT_3D", message, "Give a single image of three axes."))
    return layers[0]


def read_layers(path: Path, frame_uid: str) -> tuple[Volume, ...]:
    """The image as one volume for each of its values per voxel: layers of overlapping segments. Raises InputError."""
    if not path.is_file():
        remedy = "Check the name in the mapping file."
        raise InputError(Problem("IMAGE_UNREADABLE", f"There is no file {path.name!r} in the folder.", remedy))
    suffix = find_suffix(path)
    if suffix is None:
        remedy = f"Give files that end in {', '.join(SUFFIXES)}."
        raise InputError(Problem("IMAGE_UNREADABLE", f"The file {path.name!r} is neither NIfTI nor NRRD.", remedy))
    (check_nifti if suffix.startswith(".nii") else check_nrrd)(path)
    image = _drop_extra_axes(_decode(path), path)
    array = sitk.GetArrayViewFromImage(image)
    if array.dtype.kind not in "iuf":
        raise InputError(Problem("IMAGE_NOT_3D", f"The file {path.name!r} holds {array.dtype}.", "Give real numbers."))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(report_not_finite(path, int(np.count_nonzero(~np.isfinite(array)))))
    if array.ndim == 3:
        return (_place(array, image, path, frame_uid),)
    return tuple(_place(array[..., k], image, path, frame_uid) for k in range(array.shape[3]))


def _decode(path: Path) -> sitk.Image:
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise InputError(_report_oblique(path, "its axes are not at right angles")) from None
        raise InputError(report_unreadable(path, "cannot be decoded")) from None


def _drop_extra_axes(image: sitk.Image, path: Path) -> sitk.Image:
    """The image without trailing axes of one voxel."""
    size = image.GetSize()
    if len(size) < 3 or math.prod(size[3:]) != 1 or image.GetNumberOfComponentsPerPixel() > _MOST_LAYERS:
        shape = " x ".join(map(str, size))
        message = f"The file {path.name!r} has {shape} voxels; three axes are expected."
        raise InputError(Problem("IMAGE_NOT_3D", message, "Give a single image of three axes."))
    while image.GetDimension() > 3:
        image = sitk.Extract(image, [*image.GetSize()[:-1], 0], [0] * image.GetDimension())
    return image


def _place(array: NDArray[np.generic], image: sitk.Image, path: Path, frame_uid: str) -> Volume:
    """Put an image on the patient's axes. Less than OBLIQUE_DEG of rotation is turned back round the image's centre."""
    directions = np.array(image.GetDirection(), np.float64).reshape(3, 3)
    spacing, first = _restore_stated(image.GetSpacing(), path), _restore_stated(image.GetOrigin(), path)
    axes = np.argmax(np.abs(directions), axis=0)
    straight = np.zeros((3, 3))
    straight[axes, range(3)] = np.sign(directions[axes, range(3)])
    # Between two unit vectors; the cosine of a small angle would lose its digits.
    chords = np.linalg.norm(directions - straight, axis=0)
    angle_deg = math.degrees(2 * math.asin(min(1.0, float(chords.max()) / 2)))
    if len(set(axes.tolist())) < 3 or not angle_deg <= OBLIQUE_DEG:
        raise InputError(_report_oblique(path, f"it is turned by {angle_deg:.2f} degrees"))
    half = (np.array(image.GetSize()) - 1) / 2 * spacing
    origin = first + (directions - straight) @ half
    values = np.asarray(array, np.float32)
    try:
        z, y, x = spacing[2], spacing[1], spacing[0]
        vectors = (straight[:, 2], straight[:, 1], straight[:, 0])
        volume = make_canonical_volume(values, origin, vectors, (float(z), float(y), float(x)), frame_uid)
    except GeometryError:
        raise InputError(report_unreadable(path, "places no voxels: its spacing or origin is not usable")) from None
    z, y, x = (round(mm, _DECIMALS) for mm in volume.grid.origin_mm)
    return Volume(replace(volume.grid, origin_mm=(z, y, x)), np.array(volume.array, np.float32, order="C"))


def _restore_stated(values: Sequence[float], path: Path) -> NDArray[np.float64]:
    """Millimetres as they were before a NIfTI header took them in 32 bits: 3.906, not 3.9059999.

    Trees decide by thresholds: so little a change of a grid moves single voxels of a dose by Gy.
    """
    if (find_suffix(path) or "").startswith(".nii"):
        values = [float(str(np.float32(value))) for value in values]
    return np.array(values, np.float64)


def _report_oblique(path: Path, directions: str) -> Problem:
    message = f"The image {path.name!r} lies oblique to the patient's axes: {directions}."
    return Problem("IMAGE_OBLIQUE", message, "Resample it on axial slices.")
