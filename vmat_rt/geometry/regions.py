"""Boolean operations on polygons of one plane, by Clipper (A. Johnson's, through pyclipper): non-zero winding, union.

Clipper works on whole numbers: coordinates are rounded to about a nanometre. Regions are paths of such numbers, outer
ones positive and holes negative, so that they combine by winding and, once they do not overlap, by even-odd as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyclipper
from numpy.typing import NDArray

from vmat_rt.case import Polygon

Path = Sequence[Sequence[int]]

_PER_MM = 2.0**20
_MOST_VERTICES = 4000
"""Clipper's time grows with the square of the vertices; an outline that has more is judged by some of them."""
_TANGLED = 10_000
_MARGIN_MM = 1.0
_SAME_AREA = 1e-3
_SAME_AREA_MM2 = 1e-3
_PEN_MM = 0.05
_SLIVER_MM = 0.1
"""What is thinner than this on average is what two copies of an outline leave of each other, not a region."""


@dataclass(frozen=True)
class Region:
    """What one closed outline encloses, every part once. paths are Clipper's. rewritten: the outline as drawn
    would not give this region by even-odd.
    """

    polygon: Polygon
    paths: tuple[Path, ...]
    rewritten: bool = False

    @cached_property
    def area_mm2(self) -> float:
        return paths_area_mm2(self.paths)

    @cached_property
    def perimeter_mm(self) -> float:
        return sum(_length_mm(polygon) for polygon in self.polygons)

    @cached_property
    def box(self) -> tuple[float, float, float, float]:
        """(low y, low x, high y, high x) mm."""
        low, high = self.polygon.min(axis=0), self.polygon.max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @property
    def polygons(self) -> tuple[Polygon, ...]:
        """Polygons that make the region by even-odd: the outline as drawn wherever it does."""
        return polygons_of(self.paths) if self.rewritten else (self.polygon,)

    @property
    def is_sliver(self) -> bool:
        return is_sliver(self.area_mm2, _length_mm(self.polygon))


def is_sliver(area_mm2: float, perimeter_mm: float, width_mm: float = _SLIVER_MM) -> bool:
    """Whether a region is thinner than width_mm on average."""
    return 2 * area_mm2 < width_mm * perimeter_mm


def region_of(polygon: Polygon) -> Region:
    """The region of one closed outline by non-zero winding.

    An outline run round twice counts once; one run round and back again, which would cancel itself, counts once too. A
    hole reached by a cut runs the other way than its outline, and stays one. `rewritten` tells whether even-odd would
    see another region in the outline as drawn; where it would not, the outline is kept as it is.
    """
    outline = _thinned(polygon)
    path = _path(outline)
    if _turns_once(outline):
        return Region(polygon, (path if pyclipper.Orientation(path) else path[::-1],))
    paths = tuple(pyclipper.SimplifyPolygon(path, pyclipper.PFT_NONZERO))
    region = Region(polygon, paths)
    if region.is_sliver:
        surrounded = Region(polygon, _surrounded(path), rewritten=True)
        if not surrounded.is_sliver:
            return surrounded
    by_even_odd = paths_area_mm2(pyclipper.SimplifyPolygon(path, pyclipper.PFT_EVENODD))
    return Region(polygon, paths, rewritten=not _same(by_even_odd, region.area_mm2))


def is_tangled(polygon: Polygon) -> bool:
    """Whether an outline is so long for the room it takes that it must cross itself thousands of times.

    A line of random directions crosses itself length^2 / (pi * area) times (Buffon); drawn outlines stay below 200.
    """
    return estimate_crossings(polygon) > _TANGLED


def estimate_crossings(polygon: Polygon) -> float:
    """How often a line of this length would cross itself in the room that it takes; about 3 for a circle."""
    outline = _thinned(polygon)
    high, wide = np.ptp(outline, axis=0) + _MARGIN_MM
    return float(_length_mm(outline) ** 2 / (np.pi * high * wide))


def count_vertices(polygon: Polygon) -> int:
    """The vertices by which an outline is judged."""
    return min(len(polygon), _MOST_VERTICES)


def united(regions: Iterable[Region]) -> tuple[Path, ...]:
    """The union of regions."""
    return _combined(pyclipper.CT_UNION, [path for region in regions for path in region.paths], [])


def shared_mm2(one: Region, other: Region) -> float:
    """Area that two regions have in common."""
    return paths_area_mm2(_combined(pyclipper.CT_INTERSECTION, one.paths, other.paths))


def even_odd_paths(polygons: Iterable[Polygon]) -> tuple[Path, ...]:
    """The region that polygons make by even-odd."""
    paths = [_path(_thinned(polygon)) for polygon in polygons]
    return tuple(pyclipper.SimplifyPolygons(paths, pyclipper.PFT_EVENODD)) if paths else ()


def unite_paths(polygons: Iterable[Polygon]) -> tuple[Path, ...]:
    """The union of polygons whose holes run the other way than their outlines."""
    return _combined(pyclipper.CT_UNION, [_path(polygon) for polygon in polygons if len(polygon) >= 3], [])


def subtract_paths(paths: Sequence[Path], other: Sequence[Path]) -> tuple[Path, ...]:
    """The part of a region that lies outside of another."""
    return _combined(pyclipper.CT_DIFFERENCE, paths, other)


def open_paths(paths: Sequence[Path]) -> tuple[Path, ...]:
    """A region without what is thinner than a tenth of a millimetre: what two copies of an outline leave."""
    pen: pyclipper.PyclipperOffset = pyclipper.PyclipperOffset()
    thinner: Sequence[Path] = paths
    for width in (-_PEN_MM, _PEN_MM):
        pen.Clear()
        pen.AddPaths(thinner, pyclipper.JT_MITER, pyclipper.ET_CLOSEDPOLYGON)
        thinner = pen.Execute(width * _PER_MM)
        if not thinner:
            return ()
    return tuple(thinner)


def polygons_of(paths: Iterable[Path]) -> tuple[Polygon, ...]:
    """Paths in mm, (y, x)."""
    return tuple(np.asarray(path, np.float64) / _PER_MM for path in paths if len(path) >= 3)


def paths_area_mm2(paths: Iterable[Path]) -> float:
    """Area of outer paths less that of holes."""
    return float(sum(pyclipper.Area(path) for path in paths)) / _PER_MM**2


def paths_length_mm(paths: Iterable[Path]) -> float:
    """Length of all outlines."""
    return sum(_length_mm(polygon) for polygon in polygons_of(paths))


def _combined(operation: int, subject: Sequence[Path], clip: Sequence[Path]) -> tuple[Path, ...]:
    clipper = pyclipper.Pyclipper()
    try:
        clipper.AddPaths(subject, pyclipper.PT_SUBJECT, True)
        if clip:
            clipper.AddPaths(clip, pyclipper.PT_CLIP, True)
    except pyclipper.ClipperException:
        # Clipper takes no path without area; with nothing to combine nothing is left.
        return ()
    return tuple(clipper.Execute(operation, pyclipper.PFT_NONZERO, pyclipper.PFT_NONZERO))


def _path(polygon: Polygon) -> Path:
    path: Path = np.rint(polygon * _PER_MM).astype(np.int64).tolist()
    return path


def _thinned(polygon: Polygon) -> Polygon:
    return polygon[:: -(-len(polygon) // _MOST_VERTICES)]


def _turns_once(polygon: Polygon) -> bool:
    """Whether every edge goes on in one direction round the middle, once: such an outline cannot meet itself."""
    arms = polygon - polygon.mean(axis=0)
    following = np.roll(arms, -1, axis=0)
    cross = arms[:, 0] * following[:, 1] - arms[:, 1] * following[:, 0]
    if not (np.all(cross > 0) or np.all(cross < 0)):
        return False
    turned = np.arctan2(cross, np.einsum("ij,ij->i", arms, following)).sum()
    return bool(abs(turned) < 3 * np.pi)


def _surrounded(path: Path) -> tuple[Path, ...]:
    """All that an outline keeps from the outside, whichever way it runs: a band along it, filled, less the band."""
    pen: pyclipper.PyclipperOffset = pyclipper.PyclipperOffset()
    pen.AddPath(path, pyclipper.JT_MITER, pyclipper.ET_CLOSEDLINE)
    outer = [band for band in pen.Execute(_PEN_MM * _PER_MM) if pyclipper.Orientation(band)]
    pen.Clear()
    pen.AddPaths(outer, pyclipper.JT_MITER, pyclipper.ET_CLOSEDPOLYGON)
    return tuple(pen.Execute(-_PEN_MM * _PER_MM))


def _length_mm(polygon: Polygon) -> float:
    way: NDArray[np.float64] = np.roll(polygon, -1, axis=0) - polygon
    return float(np.hypot(way[:, 0], way[:, 1]).sum())


def _same(one_mm2: float, other_mm2: float) -> bool:
    return abs(one_mm2 - other_mm2) <= max(_SAME_AREA_MM2, _SAME_AREA * max(one_mm2, other_mm2))
