"""numpy arrays -> Case: what is behind `Case.from_arrays`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vmat_rt.assembly.values import fraction_volume, frame_of
from vmat_rt.assembly.voxels import GivenDoses, Voxels, case_of_voxels
from vmat_rt.case import Case, Volume
from vmat_rt.errors import GeometryError, InputError, Problem
from vmat_rt.grid import Grid, Triple
from vmat_rt.protocol import Protocol, load_protocol, packaged_protocols

_ASK: Final = "prescription={{'{name}': {gy}}}"
_ORDER: Final = "Arrays are (z, y, x), and all of one shape."


@dataclass(frozen=True)
class PatientArrays:
    """What `Case.from_arrays` was given; see there."""

    ct_hu: ArrayLike
    spacing_mm: Sequence[float]
    origin_mm: Sequence[float]
    masks: Mapping[str, ArrayLike]
    dose_gy: ArrayLike | None = None


def case_from_arrays(
    arrays: PatientArrays,
    prescription: Mapping[str, float],
    fractions: int | None = None,
    protocol: Protocol | str | Path | None = None,
    key: str = "",
) -> Case:
    """As `Case.from_arrays`."""
    problems: list[Problem] = []
    ct = _volume("CT", arrays.ct_hu, problems)
    grid = None if ct is None else _grid(ct, arrays, problems)
    given = GivenDoses(prescription, fractions, "given by the caller", _ASK)
    voxels = Voxels(
        ct=None if grid is None or ct is None else Volume(grid, ct),
        masks={name: _mask(name, mask, ct, grid, problems) for name, mask in arrays.masks.items()},
        dose=_dose(arrays, ct, grid, problems),
        given=(given,),
        problems=tuple(problems),
    )
    return case_of_voxels(voxels, _protocols(protocol), key)


def _protocols(protocol: Protocol | str | Path | None) -> tuple[Protocol, ...]:
    if protocol is None:
        return tuple(load_protocol(name) for name in packaged_protocols())
    return (protocol if isinstance(protocol, Protocol) else load_protocol(protocol),)


def _volume(what: str, values: ArrayLike, problems: list[Problem]) -> NDArray[np.float32] | None:
    """float32 (z, y, x), or None with its problem."""
    try:
        array = np.asarray(values)
        if array.ndim == 3 and array.size and array.dtype.kind in "biuf":
            return np.ascontiguousarray(array, np.float32)
        found = f"has shape {array.shape} and type {array.dtype}"
    except ValueError:
        found = "is not an array"
    problems.append(Problem("ARRAY_SHAPE", f"The {what} {found}; three axes of numbers are expected.", _ORDER))
    return None


def _grid(ct: NDArray[np.float32], arrays: PatientArrays, problems: list[Problem]) -> Grid | None:
    try:
        z, y, x = ct.shape
        return Grid((z, y, x), _triple(arrays.spacing_mm), _triple(arrays.origin_mm), frame_of(ct))
    except (GeometryError, TypeError, ValueError):
        message = f"spacing_mm {arrays.spacing_mm!r} and origin_mm {arrays.origin_mm!r} place no voxels."
        remedy = "Give three numbers each, in mm as (z, y, x): origin is the centre of the first voxel in LPS."
        problems.append(Problem("SPACING_IMPLAUSIBLE", message, remedy))
        return None


def _triple(values: Sequence[float]) -> Triple:
    z, y, x = (float(value) for value in values)
    return z, y, x


def _mask(
    name: str, values: ArrayLike, ct: NDArray[np.float32] | None, grid: Grid | None, problems: list[Problem]
) -> Volume | None:
    """Also without a usable CT the values are looked at, so that one call tells all."""
    try:
        array = np.asarray(values)
    except ValueError:
        problems.append(Problem("ARRAY_SHAPE", f"The mask {name!r} is not an array.", _ORDER))
        return None
    if ct is not None and array.shape != ct.shape:
        message = f"The mask {name!r} has shape {array.shape}, the CT {ct.shape}."
        problems.append(Problem("ARRAY_SHAPE", message, _ORDER))
        return None
    try:
        if array.ndim == 3 and array.size:
            shape = (array.shape[0], array.shape[1], array.shape[2])
            fraction = fraction_volume(name, array, grid or Grid(shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), "none"))
            return None if grid is None else fraction
    except InputError as refusal:
        problems.extend(refusal.problems)
    return None


def _dose(
    arrays: PatientArrays, ct: NDArray[np.float32] | None, grid: Grid | None, problems: list[Problem]
) -> Volume | None:
    if arrays.dose_gy is None:
        return None
    dose = _volume("dose", arrays.dose_gy, problems)
    if dose is not None and ct is not None and dose.shape != ct.shape:
        message = f"The dose has shape {dose.shape}, the CT {ct.shape}."
        problems.append(Problem("ARRAY_SHAPE", message, _ORDER))
        return None
    return None if dose is None or grid is None else Volume(grid, dose)
