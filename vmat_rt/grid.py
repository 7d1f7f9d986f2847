"""Grid: where voxels lie, in the DICOM patient system (LPS, mm). Pure numpy.

Every tuple and array that follows voxels is ordered (z, y, x); z grows to the head, y to the back, x to the
patient's left. A grid is axis-aligned and increasing; readers flip what arrives otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vmat_rt.errors import GeometryError

Triple = tuple[float, float, float]
Shape = tuple[int, int, int]
Box = tuple[slice, slice, slice]
"""A part of a grid: slices (z, y, x) of its arrays."""


@dataclass(frozen=True)
class Grid:
    """Voxel geometry.

    shape: voxels (z, y, x). spacing_mm: centre to centre (z, y, x). origin_mm: centre of the first voxel
    (z, y, x) in LPS. frame_uid: FrameOfReferenceUID; grids of different frames never meet.
    Raises GeometryError when a size or spacing is not positive or a value not finite.
    """

    shape: Shape
    spacing_mm: Triple
    origin_mm: Triple
    frame_uid: str

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise GeometryError(f"a grid needs at least one voxel along each axis, not {self.shape}")
        if not np.all(np.isfinite(self.spacing_mm + self.origin_mm)) or min(self.spacing_mm) <= 0:
            raise GeometryError(f"spacing {self.spacing_mm} mm or origin {self.origin_mm} mm is not usable")

    @property
    def voxel_cc(self) -> float:
        """Volume of one voxel in cm^3."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    @property
    def last_mm(self) -> Triple:
        """Centre of the last voxel, (z, y, x)."""
        z, y, x = (o + (n - 1) * s for o, n, s in zip(self.origin_mm, self.shape, self.spacing_mm, strict=True))
        return (z, y, x)

    @property
    def centre_mm(self) -> Triple:
        """Centre of the whole grid, (z, y, x)."""
        z, y, x = ((a + b) / 2 for a, b in zip(self.origin_mm, self.last_mm, strict=True))
        return (z, y, x)

    @property
    def bounds_mm(self) -> tuple[Triple, Triple]:
        """Lower and upper outer faces of the grid, each (z, y, x)."""
        low = tuple(o - s / 2 for o, s in zip(self.origin_mm, self.spacing_mm, strict=True))
        high = tuple(e + s / 2 for e, s in zip(self.last_mm, self.spacing_mm, strict=True))
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])

    def axis_mm(self, axis: int) -> NDArray[np.float64]:
        """Voxel centres along axis 0 (z), 1 (y) or 2 (x), mm."""
        return self.origin_mm[axis] + self.spacing_mm[axis] * np.arange(self.shape[axis], dtype=np.float64)

    def index_of(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fractional voxel indices (..., 3) of points (..., 3), both (z, y, x)."""
        return (np.asarray(points_mm, np.float64) - self.origin_mm) / self.spacing_mm

    def same_as(self, other: Grid, tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids have their voxels in the same places of the same frame."""
        return (
            self.frame_uid == other.frame_uid
            and self.shape == other.shape
            and np.allclose(self.origin_mm, other.origin_mm, rtol=0, atol=tolerance_mm)
            and np.allclose(self.last_mm, other.last_mm, rtol=0, atol=tolerance_mm)
        )

    def require_same_frame(self, other: Grid) -> None:
        """Raise GeometryError unless both grids lie in one frame of reference."""
        if self.frame_uid != other.frame_uid:
            raise GeometryError("two grids of different frames of reference cannot be combined")

    def require_same(self, other: Grid) -> None:
        """Raise GeometryError unless both grids coincide voxel for voxel."""
        self.require_same_frame(other)
        if not self.same_as(other):
            raise GeometryError(f"grids differ: {self.describe()} against {other.describe()}")

    def crop(self, start: Shape, stop: Shape) -> Grid:
        """The part from voxel `start` (inclusive) to `stop` (exclusive), (z, y, x)."""
        z, y, x = (o + a * s for o, a, s in zip(self.origin_mm, start, self.spacing_mm, strict=True))
        shape = (stop[0] - start[0], stop[1] - start[1], stop[2] - start[2])
        return replace(self, shape=shape, origin_mm=(z, y, x))

    def part(self, box: Box) -> Grid:
        """The grid of what an array on this one holds in the box."""
        z, y, x = box
        return self.crop((z.start, y.start, x.start), (z.stop, y.stop, x.stop))

    def box_of(self, mask: NDArray[np.bool_], margin: Shape = (0, 0, 0)) -> Box | None:
        """The smallest box round all that is true, grown by `margin` voxels (z, y, x) as far as the grid reaches.

        None where nothing is true. Raises GeometryError when the mask lies on another shape.
        """
        if mask.shape != self.shape:
            raise GeometryError(f"mask of shape {mask.shape} on a grid of {self.shape}")
        return box_of(mask, margin)

    def coarsened(self, factor: int) -> Grid:
        """Blocks of `factor` voxels along each axis as voxels; the last block may reach beyond the grid."""
        if factor == 1:
            return self
        z, y, x = (o + (factor - 1) / 2 * s for o, s in zip(self.origin_mm, self.spacing_mm, strict=True))
        shape, spacing = [-(-n // factor) for n in self.shape], [factor * s for s in self.spacing_mm]
        return Grid((shape[0], shape[1], shape[2]), (spacing[0], spacing[1], spacing[2]), (z, y, x), self.frame_uid)

    def describe(self) -> str:
        """One line for messages: shape, spacing and origin, without the frame's UID."""
        shape = " x ".join(str(n) for n in self.shape)
        spacing = " x ".join(f"{s:.4g}" for s in self.spacing_mm)
        origin = ", ".join(f"{o:.2f}" for o in self.origin_mm)
        return f"{shape} voxels of {spacing} mm at ({origin}) mm (z, y, x)"


def box_of(mask: NDArray[np.bool_], margin: Shape = (0, 0, 0)) -> Box | None:
    """As Grid.box_of, for arrays (z, y, x) that lie on no grid."""
    sides = []
    for axis, others in enumerate(((1, 2), (0, 2), (0, 1))):
        places = np.flatnonzero(mask.any(axis=others))
        if not places.size:
            return None
        first, stop = int(places[0]) - margin[axis], int(places[-1]) + 1 + margin[axis]
        sides.append(slice(max(0, first), min(mask.shape[axis], stop)))
    return sides[0], sides[1], sides[2]


def centred_grid(shape: Shape, spacing_mm: Triple, centre_mm: Triple, frame_uid: str) -> Grid:
    """The grid of this shape and spacing whose middle lies at centre_mm (z, y, x)."""
    z, y, x = (c - (n - 1) * s / 2 for c, n, s in zip(centre_mm, shape, spacing_mm, strict=True))
    return Grid(shape, spacing_mm, (z, y, x), frame_uid)
