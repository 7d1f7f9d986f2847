"""Exact even-odd coverage of pixels by polygons, for a stack of planes at once. Vectorised numpy.

The plane is cut at every vertex, pixel row boundary and crossing of edges into slabs in which each edge is one straight
piece and no two pieces cross. Sorted by x, pieces alternate between entering and leaving the region (even-odd), so the
signed area to the right of each piece, summed, is the area of the region. Each piece is split over the pixel columns
that it spans and adds its exact trapezoid there; a running sum along x then fills the interior. Planes are stacked
along y, which makes one scan of all planes of a structure.

Coordinates here are pixels: pixel (i, j) is the square [i, i + 1] x [j, j + 1] in (y, x). Adding up area and cover of
cells is how anti-aliasing font rasterisers work (LibArt, FreeType); slabs between events as in Bentley & Ottmann 1979.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import FloatArray, Polygon
from vmat_rt.errors import GeometryError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PolygonSets = Sequence[Sequence[Polygon]]
"""One set of polygons a plane."""

# Far below any meaning (a nanometre at most), far above the rounding of stacked coordinates (7e-12).
TOLERANCE_PX = 1e-9
# Vertices meant to lie on a pixel centre miss it by the rounding of text (DICOM decimal strings) and division.
_SNAP_PX = 1e-6
# Planes are scanned together up to so many pixels: the buffer stays in cache.
_CHUNK_PIXELS = 1 << 17
# Areas need no pixels; this many planes at once bound the number of pieces.
_AREA_PLANES = 8
# Pieces an edge from which on another direction is tried; 2 to 6 are usual.
_CROWDED = 24.0


@dataclass(frozen=True)
class Edges:
    """Straight, not horizontal edges from (top, x_top) down to (bottom, x_bottom), top < bottom, in pixels."""

    top: Floats
    bottom: Floats
    x_top: Floats
    x_bottom: Floats

    def __len__(self) -> int:
        return len(self.top)

    def take(self, which: NDArray[np.bool_] | Ints) -> Edges:
        return Edges(self.top[which], self.bottom[which], self.x_top[which], self.x_bottom[which])

    def x_at(self, y: Floats) -> Floats:
        """Position x of each edge at its y; exact at both ends, so that edges which share a vertex keep sharing it."""
        share = np.clip((y - self.top) / (self.bottom - self.top), 0, 1)
        return np.where(y >= self.bottom, self.x_bottom, self.x_top + share * (self.x_bottom - self.x_top))


def stacked_edges(
    polygon_sets: PolygonSets, origin: tuple[float, float], pixel: tuple[float, float], rows: int
) -> Edges:
    """The edges of all planes in pixels; plane k occupies rows k * rows to (k + 1) * rows and is clipped to them.

    polygon_sets holds vertices (n, 2) as (y, x) in mm; origin is the corner of pixel (0, 0) and pixel its size, (y, x).
    Raises GeometryError when a coordinate is not finite.
    """
    polygons = [polygon for polygons in polygon_sets for polygon in polygons if len(polygon) > 1]
    planes = [k for k, polygons in enumerate(polygon_sets) for polygon in polygons if len(polygon) > 1]
    if not polygons:
        nothing = np.empty(0)
        return Edges(nothing, nothing, nothing, nothing)
    sizes = np.array([len(polygon) for polygon in polygons])
    points = (np.concatenate(polygons).astype(np.float64) - origin) / pixel
    if not np.isfinite(points).all():
        raise GeometryError("a contour has a coordinate that is not a number")
    last = np.cumsum(sizes) - 1
    following = np.arange(1, len(points) + 1)
    following[last] = last - sizes + 1
    ends = points[following]
    return _oriented(points, ends, np.repeat(np.array(planes), sizes), rows)


def _oriented(start: Floats, end: Floats, plane: Ints, rows: int) -> Edges:
    """Edges from the upper to the lower end, clipped to 0..rows of their plane, stacked."""
    lower_y, upper_y = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    offset = plane * float(rows)
    # Stacking rounds; doing it before anything else gives every use of a vertex the same value.
    top, bottom = np.clip(lower_y, 0, rows) + offset, np.clip(upper_y, 0, rows) + offset
    keep = top < bottom
    start, end, top, bottom, offset = start[keep], end[keep], top[keep], bottom[keep], offset[keep]
    down = start[:, 0] < end[:, 0]
    x_top, x_bottom = np.where(down, start[:, 1], end[:, 1]), np.where(down, end[:, 1], start[:, 1])
    y_top, y_bottom = lower_y[keep], upper_y[keep]
    slope = (x_bottom - x_top) / (y_bottom - y_top)
    clipped_top, clipped_bottom = y_top < 0, y_bottom > rows
    return Edges(
        top,
        bottom,
        np.where(clipped_top, x_top - y_top * slope, x_top),
        np.where(clipped_bottom, x_bottom - (y_bottom - rows) * slope, x_bottom),
    )


def coverage(
    polygon_sets: PolygonSets, origin: tuple[float, float], pixel: tuple[float, float], shape: tuple[int, int]
) -> FloatArray:
    """Area fraction (plane, y, x) of every pixel inside each plane's polygons, even-odd.

    polygon_sets, origin and pixel as in stacked_edges; shape is (rows, columns).
    """
    rows, columns = shape
    result = np.zeros((len(polygon_sets), rows, columns), np.float32)
    step = max(1, _CHUNK_PIXELS // (rows * (columns + 1)))
    for first in range(0, len(polygon_sets), step):
        sets = polygon_sets[first : first + step]
        # Rounding leaves 1e-12 where there is nothing; the stretch by 1e-9 makes empty 0 and full 1 exactly.
        cells = _cells(sets, origin, pixel, shape) * (1 + 2e-9) - 1e-9
        np.clip(cells, 0, 1, out=result[first : first + step], casting="same_kind")
    return result


def areas_mm2(polygon_sets: PolygonSets, low: tuple[float, float], high: tuple[float, float]) -> Floats:
    """Even-odd area of each plane's polygons inside the box from low to high, both (y, x) mm; exact, no pixels."""
    pixel = (high[0] - low[0], high[1] - low[1])
    if min(pixel) <= 0 or not polygon_sets:
        return np.zeros(len(polygon_sets))
    # A grid of one pixel is the box itself.
    parts = [
        _cells(polygon_sets[k : k + _AREA_PLANES], low, pixel, (1, 1))
        for k in range(0, len(polygon_sets), _AREA_PLANES)
    ]
    return np.clip(np.concatenate(parts)[:, 0, 0], 0, 1) * pixel[0] * pixel[1]


def centre_mask(
    polygon_sets: PolygonSets, origin: tuple[float, float], pixel: tuple[float, float], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Whether each pixel's centre lies inside each plane's polygons (plane, y, x), even-odd.

    A centre exactly on an edge counts as inside where the region lies to its right or below it (growing x, growing y),
    and as outside where it lies to its left or above: of two regions that share an edge exactly one has the centre.
    """
    rows, columns = shape
    result = np.zeros((len(polygon_sets), rows, columns), np.bool_)
    step = max(1, _CHUNK_PIXELS // (rows * columns))
    for first in range(0, len(polygon_sets), step):
        sets = polygon_sets[first : first + step]
        edges = stacked_edges(sets, origin, pixel, rows)
        # Centres lie at i + 1/2: an edge meets the rows whose centres are in [top, bottom).
        begin, end = (np.ceil(y - 0.5 - _SNAP_PX).astype(np.int64) for y in (edges.top, edges.bottom))
        parent = np.repeat(np.arange(len(edges)), end - begin)
        row = np.arange(len(parent)) - np.repeat(np.cumsum(end - begin) - end, end - begin)
        x = edges.take(parent).x_at(row.astype(np.float64) + 0.5)
        column = np.clip(np.ceil(x - 0.5 - _SNAP_PX), 0, columns).astype(np.int64)
        toggles = np.bincount(row * (columns + 1) + column, minlength=len(sets) * rows * (columns + 1))
        parity = np.cumsum((toggles & 1).astype(np.uint8).reshape(len(sets), rows, columns + 1), axis=2, dtype=np.uint8)
        result[first : first + step] = (parity[:, :, :columns] & 1).astype(np.bool_)
    return result


def _cells(
    sets: PolygonSets, origin: tuple[float, float], pixel: tuple[float, float], shape: tuple[int, int]
) -> Floats:
    """Coverage (plane, y, x), unrounded. Crowded planes (a noisy outline on a flat couch) are scanned turned."""
    edges = stacked_edges(sets, origin, pixel, shape[0])
    crowding = _crowding(edges)
    if crowding > _CROWDED:
        turned_sets = [[polygon[:, ::-1] for polygon in polygons] for polygons in sets]
        turned = stacked_edges(turned_sets, origin[::-1], pixel[::-1], shape[1])
        if _crowding(turned) < crowding / 2:
            cells = _scan(turned, len(sets) * shape[1], shape[0]).reshape(len(sets), shape[1], shape[0] + 1)
            return cells[:, :, : shape[0]].transpose(0, 2, 1)
    cells = _scan(edges, len(sets) * shape[0], shape[1]).reshape(len(sets), shape[0], shape[1] + 1)
    return cells[:, :, : shape[1]]


def _crowding(edges: Edges) -> float:
    """Pieces that an edge is cut into by the ends of others, on average."""
    if not len(edges):
        return 0.0
    levels = np.sort(np.concatenate((edges.top, edges.bottom)))
    return float((np.searchsorted(levels, edges.bottom) - np.searchsorted(levels, edges.top)).mean())


def _scan(edges: Edges, rows: int, columns: int) -> Floats:
    """Coverage (rows, columns + 1) of the stacked planes; the last column collects what lies right of the grid."""
    cells = np.zeros(rows * (columns + 1))
    crossings: Floats = np.arange(rows + 1, dtype=np.float64)
    while len(edges):
        pieces, slab = _cut(edges, crossings)
        order = _order(pieces, slab)
        pieces, slab = pieces.take(order), slab[order]
        tangled, crossings = _crossings(pieces, slab)
        sign = _alternating(slab)
        if tangled is None:
            cells += _deposit(pieces, sign, rows, columns)
            break
        cells += _deposit(pieces.take(~tangled), sign[~tangled], rows, columns)
        edges = pieces.take(tangled)
    by_row = cells.reshape(rows, columns + 1)
    return np.cumsum(by_row, axis=1, out=by_row)


def _cut(edges: Edges, extra: Floats) -> tuple[Edges, Ints]:
    """Edges cut at every end of an edge and at the extra y's; with the slab that each piece fills."""
    levels = np.unique(np.concatenate((edges.top, edges.bottom, extra)))
    first, last = np.searchsorted(levels, edges.top), np.searchsorted(levels, edges.bottom)
    count = last - first
    parent = np.repeat(np.arange(len(edges)), count)
    begin = np.cumsum(count) - count
    slab = np.arange(len(parent)) - np.repeat(begin - first, count)
    top, bottom = levels[slab], levels[slab + 1]
    whole = edges.take(parent)
    return Edges(top, bottom, whole.x_at(top), whole.x_at(bottom)), slab


def _order(pieces: Edges, slab: Ints) -> Ints:
    """Positions that sort pieces by slab, then by x at half height.

    One key for both: pieces closer than about 1e-8 pixels may change places, which moves no area worth mention.
    """
    middle = pieces.x_top + pieces.x_bottom
    low = middle.min()
    width = (middle.max() - low) * 1.0001 + 1e-30
    return np.argsort(slab + (middle - low) / width)


def _alternating(slab: Ints) -> Floats:
    """+1 for the pieces at even places within their slab, -1 at odd ones. slab is sorted."""
    place = np.arange(len(slab))
    fresh = np.concatenate(([True], slab[1:] != slab[:-1]))
    place -= np.maximum.accumulate(np.where(fresh, place, 0))
    return np.where(place % 2 == 0, 1.0, -1.0)


def _crossings(pieces: Edges, slab: Ints) -> tuple[NDArray[np.bool_] | None, Floats]:
    """Which pieces lie in slabs where neighbours cross, and the y's of those crossings; None when there are none.

    Neighbours at half height whose order differs at the top or bottom cross in between; every pair of crossing pieces
    becomes a pair of neighbours at the latest when those between them have been cut.
    """
    at_top, at_bottom = np.diff(pieces.x_top), np.diff(pieces.x_bottom)
    pair = np.flatnonzero((slab[1:] == slab[:-1]) & (np.minimum(at_top, at_bottom) < -TOLERANCE_PX))
    if not len(pair):
        return None, np.empty(0)
    top, bottom = pieces.top[pair], pieces.bottom[pair]
    y = top + (bottom - top) * at_top[pair] / (at_top[pair] - at_bottom[pair])
    inside = (y > top + TOLERANCE_PX) & (y < bottom - TOLERANCE_PX)
    if not inside.any():
        return None, np.empty(0)
    return np.isin(slab, slab[pair[inside]]), y[inside]


def _deposit(pieces: Edges, sign: Floats, rows: int, columns: int) -> Floats:
    """What each piece adds to the cells, as differences along x: summed up they are the area right of the piece."""
    left, right = np.minimum(pieces.x_top, pieces.x_bottom), np.maximum(pieces.x_top, pieces.x_bottom)
    first = np.clip(np.floor(left), -1, columns).astype(np.int64)
    last = np.clip(np.floor(right), -1, columns).astype(np.int64)
    height = sign * (pieces.bottom - pieces.top)
    row_start = pieces.top.astype(np.int64) * (columns + 1)
    wide = last > first
    if wide.any():
        left, right, height, column, row_start = _split(left, right, height, first, last, row_start)
    else:
        column = first
    # Left of the grid everything counts from its edge; right of it nothing does (the last column is dropped).
    share = np.where((column < 0) | (column >= columns), 0.0, (left + right) / 2 - column)
    cell = row_start + np.clip(column, 0, columns)
    size = rows * (columns + 1)
    cells: Floats = np.bincount(cell, height * (1 - share), size + 1).astype(np.float64, copy=False)
    cells += np.bincount(cell + 1, height * share, size + 1)
    return cells[:size]


def _split(
    left: Floats, right: Floats, height: Floats, first: Ints, last: Ints, row_start: Ints
) -> tuple[Floats, Floats, Floats, Ints, Ints]:
    """Each piece cut at the column boundaries that it crosses; heights in proportion."""
    count = last - first + 1
    parent = np.repeat(np.arange(len(left)), count)
    column = np.arange(len(parent)) - np.repeat(np.cumsum(count) - count - first, count)
    whole_left, whole_right = left[parent], right[parent]
    part_left = np.where(column == first[parent], whole_left, column)
    part_right = np.where(column == last[parent], whole_right, column + 1.0)
    length = whole_right - whole_left
    part = np.divide(part_right - part_left, length, out=np.ones_like(length), where=length > 0)
    return part_left, part_right, height[parent] * part, column, row_start[parent]
