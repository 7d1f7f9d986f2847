"""Which neighbouring planes of an ROI belong together: those between which no slice was left without a contour."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vmat_rt.dicom.files import DicomFile, read_header
from vmat_rt.errors import InputError
from vmat_rt.geometry.solid import CONNECTED_SLABS, TOLERANCE_MM

_SAME_PLACE_MM = 0.5
"""A slice nearer than this to a contour's plane is the one that it was drawn on."""
_EQUAL = 0.1
_MOST_SLABS = 3.0

Lengths = NDArray[np.float64]
Flags = NDArray[np.bool_]


def slice_places_mm(files: Iterable[DicomFile]) -> Lengths:
    """Where the slices of a CT lie in z, ascending, also of a CT that is not equally spaced; of its readable files."""
    places = []
    for file in files:
        try:
            header = read_header(file.path, "CT file", ["ImagePositionPatient"])
            places.append(float(header.need_numbers("ImagePositionPatient", 3)[2]))
        except InputError:
            # What is wrong with a CT file is said where the CT is read.
            continue
    return np.unique(np.array(places, np.float64))


def is_regular(z_mm: Lengths) -> bool:
    """Whether the distances between planes, ascending, differ too little for the rule of the slab to matter."""
    gaps = np.diff(z_mm)
    return gaps.size < 2 or bool(gaps.max() <= CONNECTED_SLABS * gaps.min() + TOLERANCE_MM)


def connected_by_slab(z_mm: Lengths, slab_mm: float) -> Flags:
    """Whether planes i and i + 1 lie no further apart than 1.5 usual distances, (n - 1,)."""
    flags: Flags = np.diff(z_mm) <= CONNECTED_SLABS * slab_mm + TOLERANCE_MM
    return flags


def connected_by_slices(z_mm: Lengths, slab_mm: float, slices_mm: Lengths) -> Flags:
    """Whether no CT slice between planes i and i + 1 was left without a contour, (n - 1,).

    A structure that is drawn on every other slice throughout skips none; beyond the CT its own distances decide.
    """
    gaps, by_slab = np.diff(z_mm), connected_by_slab(z_mm, slab_mm)
    beside = np.maximum(np.append(0.0, gaps[:-1]), np.append(gaps[1:], 0.0))
    usual_here = by_slab & (gaps <= CONNECTED_SLABS * beside + TOLERANCE_MM)
    connected = connected_by_distances(z_mm, slab_mm)
    for i, (low, high) in enumerate(pairwise(z_mm)):
        if slices_mm[0] - _SAME_PLACE_MM <= low and high <= slices_mm[-1] + _SAME_PLACE_MM:
            connected[i] = usual_here[i] or not _skips(float(low), float(high), slices_mm)
    return connected


def _skips(low_mm: float, high_mm: float, slices_mm: Lengths) -> bool:
    """Whether a slice lies between two planes, which are further apart than slices are there."""
    between = (slices_mm > low_mm + _SAME_PLACE_MM) & (slices_mm < high_mm - _SAME_PLACE_MM)
    if not between.any():
        return False
    first, last = np.flatnonzero(between)[[0, -1]]
    here_mm = np.diff(slices_mm[max(first - 1, 0) : last + 2]).max()
    return bool(high_mm - low_mm > CONNECTED_SLABS * here_mm)


def connected_by_distances(z_mm: Lengths, slab_mm: float) -> Flags:
    """Whether planes i and i + 1 lie as far apart as is usual for the structure, or for this part of it, (n - 1,).

    A wider distance is usual where three neighbouring gaps share it, or the two at an end: one or two that stand alone
    are slices without a contour.
    """
    gaps, connected = np.diff(z_mm), connected_by_slab(z_mm, slab_mm)
    first = 0
    while first < len(gaps):
        last = first
        while last < len(gaps) and abs(gaps[last] - gaps[first]) <= _EQUAL * gaps[first]:
            last += 1
        at_end = first == 0 or last == len(gaps)
        if last - first >= (2 if at_end else 3) and gaps[first] <= _MOST_SLABS * slab_mm:
            connected[first:last] = True
        first = last
    return connected
