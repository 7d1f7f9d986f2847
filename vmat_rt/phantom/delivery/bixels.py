"""Which bixels each beam opens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmat_rt.geometry.ray_kernels import SAD_MM
from vmat_rt.geometry.rays import Fan

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Bixels:
    """Open bixels of all beams, one after the other.

    row and column count bixels from the isocentre along v and u, so they may be negative. Beam b owns start[b] up to
    start[b + 1].
    """

    row: Ints
    column: Ints
    start: Ints

    @property
    def count(self) -> int:
        return len(self.row)

    @property
    def beam(self) -> Ints:
        """Beam of each bixel."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))

    def of_beam(self, beam: int) -> tuple[Ints, Ints, Ints]:
        """Rows, columns and indices of one beam's bixels; rows and columns start at 0."""
        index = np.arange(self.start[beam], self.start[beam + 1])
        row, column = self.row[index], self.column[index]
        return row - row.min(), column - column.min(), index


def find_open_bixels(fan: Fan, target_mm: Floats, bixel_mm: float, margin_mm: float) -> Bixels:
    """Bixels that points (n, 3) (z, y, x) of a target project into, or whose centre lies within margin_mm of one."""
    opened = [_find_near_projection(seen, bixel_mm, margin_mm) for seen in _project(fan, target_mm)]
    counts = [len(each) for each in opened]
    row, column = np.concatenate(opened).T
    return Bixels(row, column, np.concatenate([[0], np.cumsum(counts)]))


def _project(fan: Fan, points_mm: Floats) -> list[Floats]:
    """(v, u) of the points in the isocentre plane of each beam."""
    from_centre = points_mm - fan.centre
    views = []
    for sine, cosine in fan.directions:
        scale = SAD_MM / (SAD_MM + from_centre[:, 1] * cosine - from_centre[:, 2] * sine)
        across = from_centre[:, 2] * cosine + from_centre[:, 1] * sine
        views.append(np.stack([from_centre[:, 0] * scale, across * scale], axis=1))
    return views


def _find_near_projection(seen: Floats, bixel_mm: float, margin_mm: float) -> Ints:
    """(row, column), sorted, of the bixels near one projection."""
    reach = int(np.ceil(margin_mm / bixel_mm))
    low = np.round(seen.min(axis=0) / bixel_mm).astype(np.int64) - reach
    high = np.round(seen.max(axis=0) / bixel_mm).astype(np.int64) + reach
    nearest = np.round(seen / bixel_mm).astype(np.int64)
    offset = seen - nearest * bixel_mm
    is_open = np.zeros(high - low + 1, bool)
    is_open[tuple((nearest - low).T)] = True
    for step in np.ndindex(2 * reach + 1, 2 * reach + 1):
        move = np.asarray(step) - reach
        met = ((move * bixel_mm - offset) ** 2).sum(axis=1) <= margin_mm**2
        row, column = (nearest[met] + move - low).T
        is_open[row, column] = True
    return np.asarray(np.argwhere(is_open) + low, np.int64)
