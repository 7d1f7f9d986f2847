"""The contours of one plane as polygons that combine by even-odd, whatever they were drawn as.

By PS3.3 C.8.8.6.3 CLOSED_PLANAR contours are each a region: those that overlap in part are united; one that lies
wholly inside another is taken as its hole, as planning systems write them. CLOSEDPLANAR_XOR combine by exclusive or.
A contour that stands twice, rounded or slightly moved, counts once. What is simple stays as it was drawn, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vmat_rt.case import Polygon
from vmat_rt.geometry.regions import (
    Region,
    count_vertices,
    estimate_crossings,
    even_odd_paths,
    is_sliver,
    paths_area_mm2,
    paths_length_mm,
    polygons_of,
    region_of,
    shared_mm2,
    united,
)

_COPY_MM = 0.15
"""Outlines that are so far apart on average are one: of a copy moved by 0.2 mm the average is 0.13 mm."""
_COPY_LIKENESS = 0.7
_CROSSING_COPY_LIKENESS = 0.98
"""Intersection over union from which outlines that cross each other are one."""
_MOVED_COPY_LIKENESS = 0.95
_MOVED_BALANCE = 0.25
"""A copy that was moved sticks out on one side nearly as much as it falls short on the other; a hole does not."""
_NESTED = 0.98
_MEET = 0.005
"""Regions that share less than this part of the smaller one lie side by side; from _NESTED on one lies in the other."""
_FAR_BELOW = 0.5
_THIN_MM = 0.5
"""A ring thinner than this is more likely what two copies leave than a wall."""

_MOST_OUTLINES = 2000
"""Outlines of one plane; those of a skeleton found by threshold are some hundreds."""
_USUAL_CROSSINGS = 20.0
_PER_CROSSING = 150.0


@dataclass(frozen=True)
class ResolvedPlane:
    """polygons combine by even-odd. repeated, wound: places among the contours given of those that stand twice and of
    those that run round a part of themselves more than once. united: whether contours overlapped in part. cancelled:
    area left and area of the largest contour, mm2, where most of it went without a hole being drawn.
    """

    polygons: tuple[Polygon, ...]
    repeated: tuple[int, ...] = ()
    wound: tuple[int, ...] = ()
    united: bool = False
    cancelled: tuple[float, float] | None = None


def resolve_plane(outlines: Sequence[Polygon], exclusive: bool = False) -> ResolvedPlane:
    """The region of one plane's closed outlines, vertices (y, x) mm; exclusive: they combine by exclusive or."""
    regions = [region_of(outline) for outline in outlines]
    wound = tuple(k for k, region in enumerate(regions) if region.rewritten)
    kept, repeated = _without_copies(regions)
    overlap = _overlaps(kept) if len(kept) > 1 else _Overlaps([], False)
    pairs = [] if exclusive else overlap.pairs
    polygons: list[Polygon] = []
    for group in _groups(len(kept), pairs):
        members = [kept[k] for k in group]
        polygons += members[0].polygons if len(members) == 1 else polygons_of(united(members))
    cancelled = _cancelled(kept, polygons, overlap.nested)
    return ResolvedPlane(tuple(polygons), repeated, wound, bool(pairs), cancelled)


def estimate_work(outlines: Sequence[Polygon]) -> float:
    """What `resolve_plane` costs, in vertices of pairs of outlines whose boxes meet; about 0.7 microseconds each.

    A crossing of an outline with itself counts as many; those that any drawn outline may have are left out.
    """
    if len(outlines) > _MOST_OUTLINES:
        return math.inf
    crossings = sum(max(0.0, estimate_crossings(outline) - _USUAL_CROSSINGS) for outline in outlines)
    low = np.array([outline.min(axis=0) for outline in outlines])
    high = np.array([outline.max(axis=0) for outline in outlines])
    meet = np.all((low[:, None] < high[None]) & (high[:, None] > low[None]), axis=2)
    vertices = np.array([count_vertices(outline) for outline in outlines])
    return float(((meet.sum(axis=1) - 1) * vertices).sum()) + _PER_CROSSING * crossings


@dataclass(frozen=True)
class _Overlaps:
    """pairs: regions that overlap in part; nested: whether any lies inside another."""

    pairs: list[tuple[int, int]]
    nested: bool


def _without_copies(regions: Sequence[Region]) -> tuple[list[Region], tuple[int, ...]]:
    """Regions that are not copies of an earlier one, and the places of the copies."""
    seen: set[bytes] = set()
    kept: list[Region] = []
    repeated = []
    for k, region in enumerate(regions):
        drawn = region.polygon.tobytes()
        if drawn in seen or any(_is_copy(region, other) for other in kept):
            repeated.append(k)
        else:
            seen.add(drawn)
            kept.append(region)
    return kept, tuple(repeated)


def _is_copy(one: Region, other: Region) -> bool:
    smaller, larger = sorted((one.area_mm2, other.area_mm2))
    if not _boxes_meet(one, other) or smaller < _COPY_LIKENESS * larger:
        return False
    shared = shared_mm2(one, other)
    likeness = shared / max(smaller + larger - shared, 1e-12)
    apart_mm = (smaller + larger - 2 * shared) / max((one.perimeter_mm + other.perimeter_mm) / 2, 1e-12)
    crossing = shared < smaller * (1 - 1e-4)
    moved = smaller - shared >= _MOVED_BALANCE * (larger - shared)
    least = _MOVED_COPY_LIKENESS if moved else _CROSSING_COPY_LIKENESS
    return (apart_mm <= _COPY_MM and likeness >= _COPY_LIKENESS) or (crossing and likeness >= least)


def _boxes_meet(one: Region, other: Region) -> bool:
    a, b = one.box, other.box
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _overlaps(regions: Sequence[Region]) -> _Overlaps:
    pairs, nested = [], False
    boxes = np.array([region.box for region in regions])
    for k, region in enumerate(regions):
        low, high = boxes[k, :2], boxes[k, 2:]
        meet = np.all((boxes[:k, :2] < high) & (boxes[:k, 2:] > low), axis=1)
        for other in np.flatnonzero(meet).tolist():
            share = shared_mm2(region, regions[other]) / max(min(region.area_mm2, regions[other].area_mm2), 1e-12)
            nested |= share >= _NESTED
            if _MEET < share < _NESTED:
                pairs.append((other, k))
    return _Overlaps(pairs, nested)


def _groups(count: int, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Places 0 to count - 1 in groups that the pairs connect, each ascending, in order of their first."""
    group = list(range(count))
    for one, other in pairs:
        first, second = sorted((group[one], group[other]))
        group = [first if g == second else g for g in group]
    return [[k for k in range(count) if group[k] == g] for g in sorted(set(group))]


def _cancelled(regions: Sequence[Region], polygons: Sequence[Polygon], nested: bool) -> tuple[float, float] | None:
    largest = max((region.area_mm2 for region in regions), default=0.0)
    if len(polygons) == 1:
        return (regions[0].area_mm2, largest) if regions[0].is_sliver else None
    paths = even_odd_paths(polygons)
    area = paths_area_mm2(paths)
    if area >= _FAR_BELOW * largest:
        return None
    thin = is_sliver(area, paths_length_mm(paths), _THIN_MM)
    return None if nested and not thin else (area, largest)
