"""Whether numbers can be what they are said to be: HU of a patient, area fractions, Gy, millimetres."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Volume
from vmat_rt.errors import InputError, Problem
from vmat_rt.grid import Grid

AIR_BELOW_HU: Final = -300.0
"""Round every patient lies air; fat, the lightest tissue outside the lungs, has about -100 HU."""
_HU_LIMITS: Final = (-32768.0, 32767.0)
_SPACING_MM: Final = (0.1, 20.0)
_EXTENT_MM: Final = (20.0, 3000.0)
_ROUNDING: Final = 1e-3
_MARGIN: Final = 2
"""Empty voxels kept round a mask: what interpolates near its edge finds the zeros that lie there."""
_TIMES_PRESCRIBED: Final = 2.5
_DOSE_REMEDY: Final = "Give the whole plan's dose in Gy, in total over all fractions."


def frame_of(ct: NDArray[np.float32]) -> str:
    """A frame of reference for what comes without one: that of this image (HU, C-contiguous)."""
    return f"voxels of {hashlib.sha256(ct.data).hexdigest()[:16]}"


def grid_problems(grid: Grid) -> Iterator[Problem]:
    """A spacing or extent that is not in millimetres."""
    extent_mm = [n * s for n, s in zip(grid.shape, grid.spacing_mm, strict=True)]
    small, large = min(grid.spacing_mm), max(grid.spacing_mm)
    if small < _SPACING_MM[0] or large > _SPACING_MM[1] or not _within(extent_mm[1:], _EXTENT_MM):
        across = " x ".join(f"{mm:.3g}" for mm in extent_mm)
        spacing = " x ".join(f"{mm:.3g}" for mm in grid.spacing_mm)
        message = (
            f"The CT has voxels of {spacing} mm and measures {across} mm (z, y, x), which is not a patient's scan."
        )
        yield Problem("SPACING_IMPLAUSIBLE", message, "Give spacing and origin in millimetres, as (z, y, x).")


def ct_problems(hu: NDArray[Any]) -> Iterator[Problem]:
    """Values (z, y, x) that are not numbers, or not Hounsfield units of a patient in air."""
    if not np.isfinite(hu).all():
        count = int(np.count_nonzero(~np.isfinite(hu)))
        yield Problem("VALUES_NOT_FINITE", f"{count} voxels of the CT are NaN or infinite.", "Set them to -1000 HU.")
        return
    low, high = float(hu.min()), float(hu.max())
    found = f"The values of the CT run from {low:g} to {high:g}"
    if low >= 0 and high > 0:
        message = f"{found}, none below 0: stored values without their offset, or another image than CT."
        yield Problem("CT_NOT_HU", message, "Give Hounsfield units: subtract the offset (often 1024 or 1000).")
    elif low < _HU_LIMITS[0] or high > _HU_LIMITS[1]:
        yield Problem("CT_NOT_HU", f"{found}, beyond any CT scale.", "Give Hounsfield units.")
    elif low > AIR_BELOW_HU:
        message = f"{found}: there is no air in it (about -1000 HU), so it was clipped, normalised or cropped."
        yield Problem("CT_NOT_HU", message, "Give the CT in Hounsfield units as it was scanned, with the air round it.")


def dose_problems(dose_gy: NDArray[Any], highest_gy: float | None) -> Iterator[Problem]:
    """Values (z, y, x) that are not a dose in Gy. highest_gy: the highest prescription, where it is known."""
    unknown = int(np.count_nonzero(~np.isfinite(dose_gy)))
    if unknown:
        yield Problem("DOSE_NAN", f"{unknown} voxels of the dose are NaN or infinite.", _DOSE_REMEDY)
        return
    negative = int(np.count_nonzero(dose_gy < 0))
    if negative:
        yield Problem("DOSE_NEGATIVE", f"{negative} voxels of the dose are below 0 Gy.", _DOSE_REMEDY)
    highest = float(dose_gy.max())
    if highest_gy is not None and highest > _TIMES_PRESCRIBED * highest_gy:
        message = f"The dose reaches {highest:.4g} Gy, {highest / highest_gy:.3g} times the highest prescription."
        yield Problem("DOSE_SCALE", message, f"{_DOSE_REMEDY} Values in cGy are divided by 100.")


def fraction_volume(roi_name: str, values: NDArray[Any], grid: Grid) -> Volume:
    """A mask (z, y, x) of bool, of 0 and 1, or of area fractions -> the part of it that is not empty, on its own grid.

    Raises InputError: MASK_INVALID for other values, STRUCTURE_EMPTY where all voxels are 0.
    """
    if values.dtype.kind not in "biuf":
        _refuse_mask(roi_name, f"holds values of type {values.dtype}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        _refuse_mask(roi_name, "holds NaN or infinite values")
    low, high = (0.0, 1.0) if values.dtype.kind == "b" else (float(values.min()), float(values.max()))
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        _refuse_mask(roi_name, f"holds values from {low:g} to {high:g}")
    occupied = [np.flatnonzero(values.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not len(occupied[0]):
        raise InputError(
            Problem("STRUCTURE_EMPTY", f"The mask {roi_name!r} is empty.", "Leave it out, or give the right mask.")
        )
    start = [max(0, int(along[0]) - _MARGIN) for along in occupied]
    stop = [min(n, int(along[-1]) + 1 + _MARGIN) for along, n in zip(occupied, grid.shape, strict=True)]
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    part = np.clip(values[box].astype(np.float32), 0, 1)
    return Volume(grid.crop((start[0], start[1], start[2]), (stop[0], stop[1], stop[2])), np.ascontiguousarray(part))


def _refuse_mask(roi_name: str, found: str) -> None:
    remedy = "A mask is true and false, 0 and 1, or fractions of 0 to 1; of a label map say which label is meant."
    raise InputError(Problem("MASK_INVALID", f"The mask {roi_name!r} {found}.", remedy))


def _within(values: Sequence[float], limits: tuple[float, float]) -> bool:
    return min(values) >= limits[0] and max(values) <= limits[1]
