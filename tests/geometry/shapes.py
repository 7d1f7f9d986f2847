"""Shapes with closed forms, a grid with every axis different, and an even-odd truth that shares no idea with ours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import ContourPlane, Contours, Polygon, Structure
from vmat_rt.grid import Grid

FRAME = "1.2.3"
GRID = Grid((7, 23, 31), (3.0, 1.1, 0.9), (-40.0, 12.0, -7.0), FRAME)


def disc(radius: float, centre: tuple[float, float] = (0.0, 0.0), vertices: int = 90, phase: float = 0.1) -> Polygon:
    """A regular polygon in the circle of this radius, vertices (y, x)."""
    angle = phase + 2 * np.pi * np.arange(vertices) / vertices
    return np.stack((centre[0] + radius * np.sin(angle), centre[1] + radius * np.cos(angle)), axis=1)


def disc_area(radius: float, vertices: int = 90) -> float:
    return vertices / 2 * radius**2 * float(np.sin(2 * np.pi / vertices))


def box(y0: float, x0: float, y1: float, x1: float) -> Polygon:
    return np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]], np.float64)


def rotated(polygon: Polygon, degrees: float, about: tuple[float, float]) -> Polygon:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (polygon - about) @ np.array([[c, s], [-s, c]]) + about


def shoelace(polygon: Polygon) -> float:
    y, x = polygon.T
    return 0.5 * abs(float(np.dot(y, np.roll(x, -1)) - np.dot(x, np.roll(y, -1))))


def contours(planes: dict[float, list[Polygon]], slab_mm: float, frame: str = FRAME) -> Contours:
    return Contours(tuple(ContourPlane(z, tuple(p)) for z, p in sorted(planes.items())), slab_mm, frame)


def structure(planes: dict[float, list[Polygon]], slab_mm: float, name: str = "Bladder") -> Structure:
    return Structure(name, name, contours(planes, slab_mm))


def sphere(radius: float, centre: tuple[float, float, float], slab_mm: float, vertices: int = 240) -> Contours:
    """Contours of a sphere at planes one slab apart, one of them through the centre (z, y, x).

    A plane stands for a slab, so its disc has the mean area of the sphere over the slab: the volume is the sphere's.
    """
    count = int(np.ceil(radius / slab_mm + 0.5))
    planes = {}
    for i in range(-count, count + 1):
        low, high = np.clip([(i - 0.5) * slab_mm, (i + 0.5) * slab_mm], -radius, radius)
        volume = np.pi * (radius**2 * (high - low) - (high**3 - low**3) / 3)
        if volume > 1e-9:
            # Equal area of the polygon, not equal radius.
            polygon = disc(1.0, vertices=vertices)
            scale = np.sqrt(volume / slab_mm / disc_area(1.0, vertices))
            planes[centre[0] + i * slab_mm] = [polygon * scale + np.array(centre[1:])]
    return contours(planes, slab_mm)


def line_by_line(polygons: list[Polygon], grid: Grid, lines: int = 64) -> NDArray[np.float64]:
    """Even-odd area fractions (y, x) from `lines` horizontal lines a pixel row, each cut exactly; plain loops."""
    _, rows, columns = grid.shape
    _, sy, sx = grid.spacing_mm
    faces = grid.origin_mm[2] + (np.arange(columns + 1) - 0.5) * sx
    result = np.zeros((rows, columns))
    for row in range(rows):
        for line in range(lines):
            y = grid.origin_mm[1] + (row - 0.5 + (line + 0.5) / lines) * sy
            result[row] += _inside_on_line(polygons, y, faces) / (sx * lines)
    return result


def _inside_on_line(polygons: list[Polygon], y: float, faces: NDArray[np.float64]) -> NDArray[np.float64]:
    """Length inside the polygons of each interval between faces, on the line at y."""
    crossings = []
    for polygon in polygons:
        for (y0, x0), (y1, x1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            if (y0 <= y) != (y1 <= y):
                crossings.append(x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    crossings.sort()
    assert len(crossings) % 2 == 0
    length = np.zeros(len(faces) - 1)
    for enter, leave in zip(crossings[::2], crossings[1::2], strict=True):
        length += np.clip(np.minimum(faces[1:], leave) - np.maximum(faces[:-1], enter), 0, None)
    return length
