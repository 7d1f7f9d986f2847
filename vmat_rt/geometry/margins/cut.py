"""What of a structure lies outside of others that are grown by a margin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from vmat_rt.case import ContourPlane, Contours, Structure, Volume
from vmat_rt.errors import GeometryError
from vmat_rt.geometry.margins.grow import grow_sections
from vmat_rt.geometry.rasterize import plane_fractions
from vmat_rt.geometry.regions import Path, even_odd_paths, open_paths, polygons_of, subtract_paths, unite_paths
from vmat_rt.geometry.solid import plane_stack


def outside_grown(structure: Structure, others: Sequence[Structure], margin_mm: float) -> Contours | Volume | None:
    """The shape of `structure` without what lies in any of `others` or within margin_mm of it; None if nothing is left.

    Contours keep their planes and, where nothing is cut off, their outlines; voxels keep their grid, with area
    fractions. Others may be contours or voxels. Raises GeometryError when frames differ, for a margin that is negative
    or not a number, and for a structure without contours or voxels.
    """
    if not (np.isfinite(margin_mm) and margin_mm >= 0):
        raise GeometryError(f"a margin is 0 mm or more, not {margin_mm}")
    shape = structure.shape
    if shape is None or any(other.shape is None for other in others):
        raise GeometryError("a structure without contours or voxels has no inside")
    if any(other.frame_uid != structure.frame_uid for other in others):
        raise GeometryError("the structures lie in different frames of reference")
    if isinstance(shape, Volume):
        return _cut_voxels(shape, others, margin_mm)
    return _cut_contours(shape, others, margin_mm)


def _cut_contours(shape: Contours, others: Sequence[Structure], margin_mm: float) -> Contours | None:
    stack = plane_stack(shape)
    grown = [grow_sections(other, margin_mm, stack.z_mm) for other in others]
    planes: list[ContourPlane | None] = []
    for plane, *sections in zip(stack.planes, *grown, strict=True):
        planes.append(_cut_plane(plane, unite_paths([p for polygons in sections for p in polygons])))
    kept = [i for i, plane in enumerate(planes) if plane is not None]
    if not kept:
        return None
    # Planes that were neighbours stay connected; where one between them is gone, the solid ends.
    connected = tuple(bool(b == a + 1 and stack.connected[a]) for a, b in pairwise(kept))
    left = tuple(plane for plane in planes if plane is not None)
    return replace(shape, planes=left, connected=connected)


def _cut_plane(plane: ContourPlane, grown: tuple[Path, ...]) -> ContourPlane | None:
    """The plane without the grown region: as drawn where it does not reach, None where nothing is left."""
    if not grown:
        return plane
    drawn = even_odd_paths(plane.polygons)
    left = subtract_paths(drawn, grown)
    if left == subtract_paths(drawn, ()):
        return plane
    polygons = polygons_of(open_paths(left))
    return replace(plane, polygons=polygons) if polygons else None


def _cut_voxels(shape: Volume, others: Sequence[Structure], margin_mm: float) -> Volume | None:
    z_mm = shape.grid.axis_mm(0)
    grown = [grow_sections(other, margin_mm, z_mm) for other in others]
    united = [
        polygons_of(unite_paths([p for polygons in sections for p in polygons]))
        for sections in zip(*grown, strict=True)
    ]
    array = shape.array * (1 - plane_fractions(united, shape.grid)) if grown else shape.array
    return Volume(shape.grid, array.astype(np.float32)) if np.any(array > 0) else None
