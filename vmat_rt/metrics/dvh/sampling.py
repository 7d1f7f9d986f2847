"""Samples of dose inside a structure, from boxes that fill it: many small ones on its surface, few large ones within.

A box is a block of cells that lie wholly inside, or a single cell on the edge. Of an edge cell only its fraction
counts: the box is moved towards the inside and narrowed so that box and true piece agree in centre and width (exactly
so for an edge along a cell side). A box is cut into parts until the dose across a part differs by little, and finely
where the dose is highest.

Each part is one sample, at the next point of a low-discrepancy sequence within the part rather than at its centre:
centres lie in rows, which share one dose wherever dose follows an axis, and the curve would rise in stairs as high as
a part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vmat_rt.case import FloatArray, Volume
from vmat_rt.grid import Grid

_LEAST_FRACTION = 1e-5
"""Cells with less are rounding of the rasteriser, not volume."""
_STRIDE_Z, _STRIDE_Y, _STRIDE_X = 0.8191725133961645, 0.6710436067037893, 0.5497004779019703
"""Steps of the sequence: 1/g, 1/g^2, 1/g^3 with g^4 = g + 1 (M. Roberts 2018, generalised golden ratio)."""
_MOST_PARTS = 8
_MOST_HOT_PARTS = 24
_MOST_HOT_POINTS = 120_000

Parts = NDArray[np.int16]


@dataclass(frozen=True)
class Detail:
    """How finely boxes are cut.

    blocks: so many full cells along each axis become one box, the first number where possible, else the next.
    part_mm: no part is larger. quantum_gy: dose differs by no more across a part (up to 8 parts per axis; not asked of
    single cells beside blocks). Boxes above hot_gy are cut to hot_part_mm, the hottest first.
    """

    blocks: tuple[int, ...] = ()
    part_mm: float = math.inf
    quantum_gy: float = math.inf
    hot_gy: float = math.inf
    hot_part_mm: float = 1.0


@dataclass(frozen=True)
class DoseSamples:
    """Doses (n,) Gy and weights (n,) cm^3 of a structure inside the dose grid."""

    doses_gy: FloatArray
    weights_cc: FloatArray


def sample_cells(fraction: FloatArray, cells: Grid, dose: Volume, detail: Detail) -> DoseSamples:
    """Trilinear dose, Gy, in the cells of `fraction` (z, y, x), the area fraction of each voxel of `cells`.

    Beyond the outermost voxel centres the dose is that of the nearest one, up to the outer face of the dose grid; parts
    further out are left out. Raises GeometryError when the frames differ.
    """
    cells.require_same_frame(dose.grid)
    array = np.ascontiguousarray(dose.array, np.float32)
    boxes = _make_boxes(np.ascontiguousarray(fraction, np.float32), detail.blocks)
    # From cells to dose voxels.
    step = np.divide(cells.spacing_mm, dose.grid.spacing_mm).astype(np.float32)
    boxes[:, 0:3] = dose.grid.index_of(np.asarray(cells.origin_mm)) + step * boxes[:, 0:3]
    boxes[:, 3:6] *= step
    once = _sample_once(boxes, array)
    parts = _count_parts(boxes, once, array, dose.grid, detail)
    cut = np.flatnonzero((parts[:, 0] > 1) | (parts[:, 1] > 1) | (parts[:, 2] > 1))
    whole = np.ones(len(boxes), np.bool_)
    whole[cut] = False
    finer_doses, finer_weights = _cut_samples(boxes[cut], parts[cut], array)
    doses = np.concatenate([once[whole], finer_doses])
    weights = np.concatenate([boxes[whole, 6], finer_weights])
    inside = doses >= 0
    if not inside.all():
        doses, weights = doses[inside], weights[inside]
    return DoseSamples(doses, weights * np.float32(cells.voxel_cc))


def join_samples(pieces: list[DoseSamples]) -> DoseSamples:
    """Samples of several parts of one structure as one."""
    return DoseSamples(
        np.concatenate([piece.doses_gy for piece in pieces]),
        np.concatenate([piece.weights_cc for piece in pieces]),
    )


def interpolate_dose(points_mm: NDArray[np.float64], dose: Volume) -> FloatArray:
    """Trilinear dose, Gy, at points (n, 3) in (z, y, x) LPS mm; points outside the dose grid are left out."""
    index = dose.grid.index_of(points_mm)
    doses = _interpolate_points(index, np.ascontiguousarray(dose.array, np.float32))
    inside: FloatArray = doses[doses >= 0]
    return inside


def _make_boxes(fraction: FloatArray, blocks: tuple[int, ...]) -> FloatArray:
    """Boxes (n, 7): centre and size along (z, y, x) in cells, and volume in cells."""
    full = fraction >= 1 - _LEAST_FRACTION
    single = fraction > _LEAST_FRACTION
    boxes = []
    for block in blocks:
        cut = tuple(slice(0, n // block * block) for n in fraction.shape)
        whole = full[cut]
        for axis in range(3):
            whole = _find_full_blocks(whole, axis, block)
        corner = np.argwhere(whole)
        large = np.full((len(corner), 7), block, np.float32)
        large[:, 0:3] = corner * block + (block - 1) / 2
        large[:, 6] = block**3
        boxes.append(large)
        rest = ~whole.repeat(block, axis=0).repeat(block, axis=1).repeat(block, axis=2)
        full[cut] &= rest
        single[cut] &= rest
    return np.concatenate([*boxes, _make_edge_boxes(fraction, np.flatnonzero(single))])


def _find_full_blocks(full: NDArray[np.bool_], axis: int, block: int) -> NDArray[np.bool_]:
    """Whether all of each `block` neighbours along an axis are full."""
    along = np.moveaxis(full, axis, 0)
    result: NDArray[np.bool_] = np.logical_and.reduce([along[i::block] for i in range(block)])
    return np.moveaxis(result, 0, axis)


def _count_parts(boxes: FloatArray, doses: FloatArray, array: FloatArray, grid: Grid, detail: Detail) -> Parts:
    """Into how many parts along (z, y, x) each box is cut, (n, 3)."""
    voxel_mm = np.asarray(grid.spacing_mm, np.float32)
    # Boxes of one cell are as fine as the geometry is resolved; only larger ones hide a gradient.
    parts: Parts = _count_needed_parts(boxes, array, detail.quantum_gy, voxel_mm / detail.part_mm, bool(detail.blocks))
    if not math.isfinite(detail.hot_gy):
        return parts
    peaks = _bound_peaks(boxes, array, doses)
    hot = np.flatnonzero(peaks > detail.hot_gy)
    hot = hot[np.argsort(-peaks[hot], kind="stable")]
    finer = np.ceil(boxes[hot, 3:6] * voxel_mm / detail.hot_part_mm)
    finer = np.clip(finer, parts[hot], _MOST_HOT_PARTS).astype(np.int16)
    few = np.cumsum(finer.prod(axis=1, dtype=np.int64)) <= _MOST_HOT_POINTS
    parts[hot[few]] = finer[few]
    return parts


@njit(cache=True, nogil=True)
def _interpolate_at(dose, z, y, x):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Trilinear value at fractional indices, clamped to the outermost centres; negative beyond the outer faces."""
    nz, ny, nx = dose.shape
    edge = 0.5 + 1e-4
    if not (-edge <= z <= nz - 1 + edge and -edge <= y <= ny - 1 + edge and -edge <= x <= nx - 1 + edge):
        return np.float32(-1)
    z, y, x = min(max(z, 0.0), nz - 1.0), min(max(y, 0.0), ny - 1.0), min(max(x, 0.0), nx - 1.0)
    i, j, k = int(z), int(y), int(x)
    p, q, r = min(i + 1, nz - 1), min(j + 1, ny - 1), min(k + 1, nx - 1)
    tz, ty, tx = np.float32(z - i), np.float32(y - j), np.float32(x - k)
    # a + t (b - a) returns a uniform dose unchanged, which (1 - t) a + t b does not.
    a = dose[i, j, k] + tx * (dose[i, j, r] - dose[i, j, k])
    b = dose[i, q, k] + tx * (dose[i, q, r] - dose[i, q, k])
    c = dose[p, j, k] + tx * (dose[p, j, r] - dose[p, j, k])
    d = dose[p, q, k] + tx * (dose[p, q, r] - dose[p, q, k])
    low = a + ty * (b - a)
    return low + tz * (c + ty * (d - c) - low)


@njit(cache=True, nogil=True)
def _interpolate_points(points, dose):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    out = np.empty(len(points), np.float32)
    for n in range(len(points)):
        out[n] = _interpolate_at(dose, points[n, 0], points[n, 1], points[n, 2])
    return out


@njit(cache=True, nogil=True)
def _sample_once(boxes, dose):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Dose (n,) at one point of each box; negative outside the dose grid."""
    out = np.empty(len(boxes), np.float32)
    for n in range(len(boxes)):
        z = boxes[n, 0] + boxes[n, 3] * ((n * _STRIDE_Z) % 1 - 0.5)
        y = boxes[n, 1] + boxes[n, 4] * ((n * _STRIDE_Y) % 1 - 0.5)
        x = boxes[n, 2] + boxes[n, 5] * ((n * _STRIDE_X) % 1 - 0.5)
        out[n] = _interpolate_at(dose, z, y, x)
    return out


@njit(cache=True, nogil=True)
def _compute_inward_shift(fraction, i, j, k):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Compute how far the piece of an edge cell lies from the cell's centre along (y, x), in cells.

    A piece of fraction f reaches (1 - f) / 2 towards the inside, which is where the fraction grows. A slope below 1 is
    a fraction that fades over several cells (between two contours of different size) rather than an edge.
    """
    _, ny, nx = fraction.shape
    gy = (fraction[i, j + 1, k] if j + 1 < ny else 0) - (fraction[i, j - 1, k] if j > 0 else 0)
    gx = (fraction[i, j, k + 1] if k + 1 < nx else 0) - (fraction[i, j, k - 1] if k > 0 else 0)
    slope = math.sqrt(gy * gy + gx * gx)
    if slope == 0:
        return 0.0, 0.0
    reach = (1 - fraction[i, j, k]) / 2 * min(1.0, slope) / slope
    return reach * gy, reach * gx


@njit(cache=True, nogil=True)
def _make_edge_boxes(fraction, index):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Boxes (n, 7), as _boxes has them, of the cells at `index` (flat, into fraction)."""
    _, ny, nx = fraction.shape
    out = np.empty((len(index), 7), np.float32)
    for n in range(len(index)):
        i, j, k = index[n] // (ny * nx), index[n] // nx % ny, index[n] % nx
        f = fraction[i, j, k]
        dy, dx = _compute_inward_shift(fraction, i, j, k) if f < 1 else (0.0, 0.0)
        out[n, 0], out[n, 1], out[n, 2] = i, j + dy, k + dx
        out[n, 3], out[n, 4], out[n, 5] = 1, 1 - 2 * abs(dy), 1 - 2 * abs(dx)
        out[n, 6] = f
    return out


@njit(cache=True, nogil=True)
def _compute_difference(dose, z, y, x, dz, dy, dx):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    low, high = _interpolate_at(dose, z - dz, y - dy, x - dx), _interpolate_at(dose, z + dz, y + dy, x + dx)
    return abs(high - low) if low >= 0 and high >= 0 else np.float32(0)


@njit(cache=True, nogil=True)
def _count_needed_parts(boxes, dose, quantum_gy, least, only_large):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Parts (n, 3) along (z, y, x): size * least, and more where dose between opposite faces exceeds the quantum."""
    parts = np.ones((len(boxes), 3), np.int16)
    for n in range(len(boxes)):
        for axis in range(3):
            parts[n, axis] = max(1, math.ceil(boxes[n, 3 + axis] * least[axis] - 1e-4))
        if only_large and boxes[n, 6] <= 1:
            continue
        z, y, x, a, b, c = boxes[n, 0], boxes[n, 1], boxes[n, 2], boxes[n, 3] / 2, boxes[n, 4] / 2, boxes[n, 5] / 2
        along_z = 1 + int(_compute_difference(dose, z, y, x, a, 0.0, 0.0) / quantum_gy)
        along_y = 1 + int(_compute_difference(dose, z, y, x, 0.0, b, 0.0) / quantum_gy)
        along_x = 1 + int(_compute_difference(dose, z, y, x, 0.0, 0.0, c) / quantum_gy)
        parts[n, 0] = max(parts[n, 0], min(along_z, _MOST_PARTS))
        parts[n, 1] = max(parts[n, 1], min(along_y, _MOST_PARTS))
        parts[n, 2] = max(parts[n, 2], min(along_x, _MOST_PARTS))
    return parts


@njit(cache=True, nogil=True)
def _bound_peaks(boxes, dose, sampled):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """A dose (n,) that no part of each box exceeds: the highest of the dose voxels that it is interpolated from."""
    nz, ny, nx = dose.shape
    peaks = sampled.copy()
    for n in range(len(boxes)):
        z, y, x, a, b, c = boxes[n, 0], boxes[n, 1], boxes[n, 2], boxes[n, 3] / 2, boxes[n, 4] / 2, boxes[n, 5] / 2
        for i in range(max(0, math.floor(z - a)), min(nz - 1, math.ceil(z + a)) + 1):
            for j in range(max(0, math.floor(y - b)), min(ny - 1, math.ceil(y + b)) + 1):
                for k in range(max(0, math.floor(x - c)), min(nx - 1, math.ceil(x + c)) + 1):
                    peaks[n] = max(peaks[n], dose[i, j, k])
    return peaks


@njit(cache=True, nogil=True)
def _cut_samples(boxes, parts, dose):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Dose (negative outside the dose grid) and weight of every part of every box."""
    count = 0
    for box in range(len(boxes)):
        count += int(parts[box, 0]) * int(parts[box, 1]) * int(parts[box, 2])
    doses = np.empty(count, np.float32)
    weights = np.empty(count, np.float32)
    n = 0
    for box in range(len(boxes)):
        pz, py, px = int(parts[box, 0]), int(parts[box, 1]), int(parts[box, 2])
        dz, dy, dx = boxes[box, 3] / pz, boxes[box, 4] / py, boxes[box, 5] / px
        z, y = boxes[box, 0] - boxes[box, 3] / 2, boxes[box, 1] - boxes[box, 4] / 2
        x = boxes[box, 2] - boxes[box, 5] / 2
        for part in range(pz * py * px):
            a = part // (py * px) + (n * _STRIDE_Z) % 1
            b = part // px % py + (n * _STRIDE_Y) % 1
            c = part % px + (n * _STRIDE_X) % 1
            doses[n] = _interpolate_at(dose, z + a * dz, y + b * dy, x + c * dx)
            weights[n] = boxes[box, 6] / (pz * py * px)
            n += 1
    return doses, weights
