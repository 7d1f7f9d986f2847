"""How a grid's voxels are laid out in DICOM images: orientation, first pixel, spacing, and decimal strings.

Arrays here are (z, y, x) and increasing in LPS; a DICOM image may run the other way along any of the three. The way
follows from ImageOrientationPatient: row and column cosines give x and y, their cross product gives the direction in
which frames and slices follow each other (PS3.3 C.7.6.2.1.1 and C.8.8.3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.valuerep import format_number_as_ds

from vmat_rt.errors import GeometryError
from vmat_rt.grid import Grid

Cosines = tuple[float, float, float, float, float, float]
HEAD_FIRST_SUPINE: Cosines = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_AXIAL_TOLERANCE = 2e-3


def decimal_string(value: float) -> str:
    """A DS of at most 16 characters, the shortest that keeps nine decimals (a picometre of a position)."""
    rounded = round(float(value), 9)
    text = repr(int(rounded) if rounded == int(rounded) else rounded)
    return text if len(text) <= 16 and "e" not in text else format_number_as_ds(float(value))


def decimal_strings(values: Sequence[float] | NDArray[np.float64]) -> list[str]:
    """decimal_string of each value."""
    return [decimal_string(value) for value in values]


@dataclass(frozen=True)
class Layout:
    """The way image axes run: +1 with the grid's axis, -1 against it, ordered (z, y, x)."""

    signs: tuple[int, int, int]

    @property
    def cosines(self) -> list[str]:
        """ImageOrientationPatient: row direction (along x), then column direction (along y)."""
        _, y, x = self.signs
        return decimal_strings((x, 0, 0, 0, y, 0))

    def arranged(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """A view of a (z, y, x) array as frames, rows and columns of this layout."""
        z, y, x = self.signs
        return array[::z, ::y, ::x]

    def first_voxel_mm(self, grid: Grid) -> tuple[float, float, float]:
        """Centre of the first voxel of the first frame, (z, y, x)."""
        pairs = zip(self.signs, grid.origin_mm, grid.last_mm, strict=True)
        z, y, x = (first if sign > 0 else last for sign, first, last in pairs)
        return (z, y, x)


def layout_for(cosines: Sequence[float]) -> Layout:
    """The layout of an axial image with these six direction cosines.

    Cosines within 0.002 of an axis count as that axis, as the grid is exactly axis-aligned. Raises GeometryError when
    rows do not run along x and columns along y.
    """
    rounded = np.round(np.asarray(cosines, np.float64))
    row, column = rounded[:3], rounded[3:]
    axial = abs(row[0]) == 1 and abs(column[1]) == 1 and np.abs(rounded).sum() == 2
    if not axial or np.abs(rounded - cosines).max() > _AXIAL_TOLERANCE:
        raise GeometryError(f"images of orientation {tuple(float(c) for c in cosines)} are not axial")
    return Layout((int(np.cross(row, column)[2]), int(column[1]), int(row[0])))
