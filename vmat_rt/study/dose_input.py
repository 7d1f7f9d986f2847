"""A dose in any form in which a user has one: a file, a volume, a prediction, or an array whose place is known."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import FloatArray, Volume
from vmat_rt.dicom.dose import DoseFile, read_dose
from vmat_rt.errors import ConfigError
from vmat_rt.grid import Grid, Triple
from vmat_rt.study.prediction import Prediction

Dose: TypeAlias = "str | os.PathLike[str] | Volume | Prediction | NDArray[np.floating]"
"""An RTDOSE file, a dose on its grid, a prediction, or an array (z, y, x) in Gy, which has no place of its own."""

_FRAME = "arrays"
"""Frame of reference of arrays that come with nothing but a spacing."""


def read_any_dose(dose: Dose) -> Volume | FloatArray:
    """The dose on its grid, or the array, float32. Raises InputError as read_dose, else ConfigError."""
    if isinstance(dose, Volume):
        return dose
    if isinstance(dose, Prediction):
        return dose.dose
    if isinstance(dose, str | os.PathLike):
        if not Path(dose).is_file():
            raise ConfigError(f"there is no file {os.fspath(dose)}")
        return read_dose(Path(dose)).volume
    try:
        array = np.ascontiguousarray(dose, np.float32)
    except (TypeError, ValueError):
        raise ConfigError(f"a dose is an RTDOSE file, a Volume, a Prediction or an array, not {type(dose)}") from None
    if array.ndim != 3 or not array.size:
        raise ConfigError(f"an array of dose has three axes (z, y, x), not the shape {array.shape}")
    return array


def read_for_study(dose: Dose) -> Volume | DoseFile:
    """The dose with what its file says of it, where it is a file. Raises as read_any_dose and place."""
    if isinstance(dose, str | os.PathLike) and Path(dose).is_file():
        return read_dose(Path(dose))
    return place(read_any_dose(dose), None)


def grid_at(spacing_mm: Triple, array: FloatArray) -> Grid:
    """The grid of an array whose place does not matter: its first voxel at zero. Raises ConfigError."""
    z, y, x = _three(spacing_mm)
    if not all(np.isfinite(size) and size > 0 for size in (z, y, x)):
        raise ConfigError(f"spacing_mm is three positive sizes in mm (z, y, x), not {spacing_mm!r}")
    planes, rows, columns = array.shape
    return Grid((planes, rows, columns), (z, y, x), (0.0, 0.0, 0.0), _FRAME)


def _three(spacing_mm: Triple) -> Triple:
    try:
        z, y, x = (float(size) for size in spacing_mm)
    except (TypeError, ValueError):
        raise ConfigError(f"spacing_mm is three sizes in mm (z, y, x), not {spacing_mm!r}") from None
    return z, y, x


def place(dose: Volume | FloatArray, grid: Grid | None) -> Volume:
    """The dose on its own grid; an array on `grid`. Raises ConfigError where it has no place or another shape."""
    if isinstance(dose, Volume):
        return dose
    if grid is None:
        raise ConfigError("an array does not say where its voxels lie: give a vmat_rt.Volume or an RTDOSE file")
    if dose.shape != grid.shape:
        raise ConfigError(f"the array has the shape {dose.shape}, and the voxels that it is to lie on {grid.shape}")
    return Volume(grid, dose)


def place_together(doses: tuple[Dose, ...], spacing_mm: Triple | None) -> tuple[Volume, ...]:
    """Every dose on its own grid; an array on that of the first dose that has one, else at spacing_mm (z, y, x).

    Raises ConfigError for arrays without a place or of unequal shapes, and for a spacing that nothing needs.
    """
    read = [read_any_dose(dose) for dose in doses]
    grid = next((dose.grid for dose in read if isinstance(dose, Volume)), None)
    if grid is None and not isinstance(first := read[0], Volume):
        if spacing_mm is None:
            raise ConfigError("arrays do not say how large their voxels are: give spacing_mm=(z, y, x) in mm")
        grid = grid_at(spacing_mm, first)
    elif spacing_mm is not None:
        raise ConfigError("spacing_mm is for arrays, and the grid of a dose is known here")
    return tuple(place(dose, grid) for dose in read)
