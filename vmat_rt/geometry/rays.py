"""Rays of coplanar beams: where a point is seen from, how deep it lies, and tables looked up along rays.

Gantry angles follow IEC 61217 for a head-first supine patient; in LPS the source stands at
    (x, y) = isocentre + SAD (sin g, -cos g),    z = isocentre
so 0 degrees enters from the front and 90 degrees from the patient's left. Couch and collimator stay at zero: plain
geometry, no dose engine. A ray is named by where it crosses the plane through the isocentre that faces the source: u
along (x, y) = (cos g, sin g) and v along z, both mm.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from vmat_rt.case import FloatArray, Volume
from vmat_rt.errors import GeometryError
from vmat_rt.geometry import ray_kernels
from vmat_rt.geometry.ray_kernels import DEPTH_STEP_MM, SAD_MM
from vmat_rt.grid import Grid, Triple
from vmat_rt.system.threads import run_threads

PENUMBRA_MM = 3.0
"""Standard deviation of the soft edge of a view, in the isocentre plane."""

MARGIN_MM = 24.0
"""What the views hold beyond the target: more than three standard deviations of the widest blur."""

_BLOCK = 1 << 15


@dataclass(frozen=True)
class Fan:
    """The rays of all beams: gantry angles, the isocentre and the two tables that rays are looked up in.

    view: cells (v, u) of the beam's-eye views; depth: cells (v, u, s) of the depth tables, s being the distance past
    the isocentre plane along the central axis, away from the source. Tables have a start and a step, mm.
    """

    angles_deg: tuple[float, ...]
    isocentre_mm: Triple
    view_shape: tuple[int, int]
    view_start_mm: tuple[float, float]
    view_step_mm: tuple[float, float]
    depth_shape: tuple[int, int, int]
    depth_start_mm: Triple

    @property
    def directions(self) -> NDArray[np.float64]:
        """(angles, 2): sine and cosine of each gantry angle."""
        radians = np.deg2rad(np.asarray(self.angles_deg, np.float64))
        return np.stack([np.sin(radians), np.cos(radians)], axis=1)

    @property
    def centre(self) -> NDArray[np.float64]:
        return np.asarray(self.isocentre_mm, np.float64)

    @property
    def view(self) -> NDArray[np.float64]:
        return np.asarray(self.view_start_mm + self.view_step_mm, np.float64)

    @property
    def depth_start(self) -> NDArray[np.float64]:
        return np.asarray(self.depth_start_mm, np.float64)


@dataclass(frozen=True)
class Beams:
    """A fan in a patient: grid and body (z, y, x), and the water-equivalent depths (angles, v, u, s) in mm."""

    fan: Fan
    grid: Grid
    body: NDArray[np.bool_]
    depths: NDArray[np.float32]

    @functools.cached_property
    def points(self) -> NDArray[np.float32]:
        """Centres (n, 3) of the body's voxels, (z, y, x) mm."""
        return list_voxel_points(self.grid, self.body)

    def volume(self, values: NDArray[np.float32]) -> FloatArray:
        """Values of the body's voxels as (z, y, x), zero elsewhere."""
        out = np.zeros(self.grid.shape, np.float32)
        out[self.body] = values
        return out


def list_voxel_points(grid: Grid, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Centres (n, 3) of the voxels of `mask` as (z, y, x) in mm, in C order."""
    index = np.argwhere(mask).astype(np.float64)
    points = index * np.asarray(grid.spacing_mm) + np.asarray(grid.origin_mm)
    return np.asarray(points, np.float32)


def place_beams(
    density: Volume,
    body: NDArray[np.bool_],
    target: NDArray[np.bool_],
    angles_deg: Sequence[float],
    isocentre_mm: Triple,
) -> Beams:
    """Beams at the angles, with tables large enough for every voxel of the target (views) and of the body (depths).

    density (relative to water), body and target lie on one grid. Raises GeometryError without angles, body or target,
    or when voxels come near the source.
    """
    grid = density.grid
    if not len(angles_deg) or not target.any() or not body.any():
        raise GeometryError("beam geometry needs a gantry angle, a body and a target on the grid")
    spacing = (grid.spacing_mm[0], max(grid.spacing_mm[1:]))
    far, low, high = _find_reach(grid, target, isocentre_mm)
    margin = [MARGIN_MM + 2 * step for step in spacing]
    view_v = _make_axis(low - margin[0], high + margin[0], spacing[0])
    view_u = _make_symmetric_axis(far + margin[1], spacing[1])
    radius, low, high = _find_reach(grid, body | (density.array > 0), isocentre_mm)
    step = DEPTH_STEP_MM
    depth_v = _make_axis(low - step, high + step, step)
    across = _make_symmetric_axis(radius + step, step)
    fan = Fan(
        angles_deg=tuple(float(angle) for angle in angles_deg),
        isocentre_mm=isocentre_mm,
        view_shape=(view_v[1], view_u[1]),
        view_start_mm=(view_v[0], view_u[0]),
        view_step_mm=spacing,
        depth_shape=(depth_v[1], across[1], across[1]),
        depth_start_mm=(depth_v[0], across[0], across[0]),
    )
    return Beams(fan, grid, body, _compute_depth_tables(fan, density))


def _make_axis(low: float, high: float, step: float) -> tuple[float, int]:
    """Start and number of cells; one more than needed, so that interpolation always finds a next cell."""
    return low, int(np.ceil((high - low) / step)) + 2


def _make_symmetric_axis(reach: float, step: float) -> tuple[float, int]:
    """As _axis, with a cell on the central axis, so that a mirrored patient is sampled in mirrored places."""
    half = int(np.ceil(reach / step))
    return -half * step, 2 * half + 2


def _find_reach(grid: Grid, mask: NDArray[np.bool_], isocentre_mm: Triple) -> tuple[float, float, float]:
    """Greatest |u| or |s|, least v and greatest v at which any beam can see the voxels of the mask."""
    columns = mask.any(axis=0)
    dy = grid.axis_mm(1)[:, None] - isocentre_mm[1]
    dx = grid.axis_mm(2)[None, :] - isocentre_mm[2]
    radius = float(np.sqrt((dy**2 + dx**2)[columns].max())) + max(grid.spacing_mm[1:])
    if radius > 0.8 * SAD_MM:
        raise GeometryError(f"voxels lie {radius:.0f} mm from the isocentre, but the source is at {SAD_MM:.0f} mm")
    z = grid.axis_mm(0)[mask.any(axis=(1, 2))][[0, -1]] - isocentre_mm[0]
    nearest, farthest = SAD_MM / (SAD_MM - radius), SAD_MM / (SAD_MM + radius)
    return (
        float(SAD_MM * radius / np.sqrt(SAD_MM**2 - radius**2)),
        float(min(z[0] * nearest, z[0] * farthest)),
        float(max(z[1] * nearest, z[1] * farthest)),
    )


def _compute_depth_tables(fan: Fan, density: Volume) -> NDArray[np.float32]:
    """Water-equivalent depth (angles, v, u, s) in mm from where each ray enters matter.

    Matter is taken to go on unchanged past the first and last slice that hold any: the end of a scan is not air.
    """
    slices = np.flatnonzero(density.array.any(axis=(1, 2)))
    if not slices.size:
        return np.zeros((len(fan.angles_deg), *fan.depth_shape), np.float32)
    first, end = int(slices[0]), int(slices[-1]) + 1
    matter = np.ascontiguousarray(density.array[first:end])
    grid = density.grid.crop((first, 0, 0), (end, *density.grid.shape[1:]))
    origin_spacing = np.asarray(grid.origin_mm + grid.spacing_mm, np.float64)

    def one(direction: NDArray[np.float64]) -> NDArray[np.float32]:
        table: NDArray[np.float32] = ray_kernels.sum_depths(
            matter, origin_spacing, direction, fan.centre, fan.depth_start, fan.depth_shape
        )
        return table

    return np.stack(run_threads(one, list(fan.directions)))


def measure_target_chords(fan: Fan, grid: Grid, fraction: FloatArray) -> NDArray[np.float32]:
    """Length of target (mm) that each ray (angle, v, u) passes through; the target is area fractions on the grid."""
    mask = fraction > 0
    points = list_voxel_points(grid, mask)
    volume = (fraction[mask] * np.float32(np.prod(grid.spacing_mm))).astype(np.float32)

    def one(direction: NDArray[np.float64]) -> NDArray[np.float32]:
        chords: NDArray[np.float32] = ray_kernels.project_target(
            points, volume, direction, fan.centre, fan.view, fan.view_shape
        )
        return chords

    return np.stack(run_threads(one, list(fan.directions)))


def soften(fan: Fan, views: NDArray[np.float32], sigma_mm: float = PENUMBRA_MM) -> NDArray[np.float32]:
    """Views (..., v, u) blurred by a Gaussian, dark outside the table."""
    sigma = [0.0] * (views.ndim - 2) + [sigma_mm / step for step in fan.view_step_mm]
    return np.asarray(gaussian_filter(views, sigma, mode="constant", truncate=3.0), np.float32)


def gather(beams: Beams, views: NDArray[np.float32], attenuated: int) -> NDArray[np.float32]:
    """Mean over the beams of what reaches each voxel of the body: (k + 1, voxels).

    views (angles, k, v, u) are looked up at each voxel's ray; the first `attenuated` of them are multiplied by
    exp(-mu depth) and the inverse square of the distance to the source. The last row is that factor alone. Each
    voxel sums its beams in order, so the result does not depend on the number of threads.
    """
    fan, points = beams.fan, beams.points
    out = np.zeros((views.shape[1] + 1, len(points)), np.float32)
    tables = (fan.directions, fan.centre, fan.view, fan.depth_start, beams.depths, views, attenuated)

    def one(first: int) -> None:
        block = slice(first, first + _BLOCK)
        ray_kernels.gather_beams(points[block], *tables, out[:, block])  # each block writes its own columns

    run_threads(one, range(0, len(points), _BLOCK))
    return out
