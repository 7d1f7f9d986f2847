"""Dose of many small photon fields around a patient: matrix-free pencil beams with an exact adjoint.

Dose at a point, from all beams and their bixels (u, v: the point's ray in the isocentre plane; d: its water-equivalent
depth; r: its distance from the source):

    dose = sum_beams (sad / r)^2 sum_c D_c(d) [sum_bixels w K_c * bixel * penumbra](v, u)

(Bortfeld, Schlegel and Rhein, Med. Phys. 20(2), 311-318, 1993). The bracket is a convolution on two lattices, see
vmat_rt.phantom.delivery.kernels; the points look it up. No influence matrix is stored, and no lateral cut-off: tails go
to the end of the kernel, 180 mm. Lateral density changes, electron return and the linac's head do not exist here.

Frames as in vmat_rt.geometry.rays: LPS mm, points (z, y, x); gantry 0 enters from the front, 90 from the patient's
left. Dose is in Gy where weights count bixel fluence in units of 100 MU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from vmat_rt.case import Volume
from vmat_rt.errors import ConfigError, GeometryError
from vmat_rt.geometry import ray_kernels
from vmat_rt.geometry.rays import list_voxel_points, place_beams
from vmat_rt.grid import Grid, Triple
from vmat_rt.phantom.delivery import compiled as delivery_kernels
from vmat_rt.phantom.delivery.bixels import Floats, find_open_bixels
from vmat_rt.phantom.delivery.kernels import KernelLattice, compute_delta_shares
from vmat_rt.phantom.delivery.machine import Machine
from vmat_rt.phantom.delivery.planes import FieldPlanes, Planes

SURFACE_DENSITY = 0.05
"""Relative electron density at which a ray has reached the patient."""

_BLOCK = 1 << 15


@dataclass(frozen=True)
class EngineSettings:
    """bixel_mm: side of a bixel in the isocentre plane. fine: nodes per bixel of the sharp plane.

    margin_mm: a bixel is open where its centre lies this close to the target's projection, or the target inside it.
    """

    bixel_mm: float = 7.0
    margin_mm: float = 7.0
    fine: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.bixel_mm <= 20 or self.margin_mm < 0 or not 1 <= self.fine <= 20:
            raise ConfigError(f"dose engine settings are out of range: {self}")


class DoseEngine:
    """Beams on a patient, ready to be asked for dose at any points.

    density: electron density relative to water (z, y, x), zero outside the body. target: area fractions on any grid of
    the same frame; every beam opens bixels on its projection. isocentre_mm (z, y, x). angles_deg: IEC 61217 gantry
    angles. Raises GeometryError without an angle, matter or target, when frames differ, or when matter comes near the
    source.
    """

    def __init__(
        self,
        machine: Machine,
        density: Volume,
        target: Volume,
        isocentre_mm: Triple,
        angles_deg: Sequence[float],
        settings: EngineSettings | None = None,
    ) -> None:
        if machine.sad_mm != ray_kernels.SAD_MM:
            raise GeometryError(f"rays start {ray_kernels.SAD_MM:.0f} mm from the axis, not {machine.sad_mm:.0f} mm")
        density.grid.require_same_frame(target.grid)
        self.settings = settings or EngineSettings()
        self.machine = machine
        self._density = density
        self._beams = place_beams(density, density.array > 0, density.array > 0, angles_deg, isocentre_mm)
        inside = target.array >= 0.5
        if not inside.any():
            raise GeometryError("the target does not fill half of any voxel, so that beams have nothing to aim at")
        voxel_mm = 0.75 * max(target.grid.spacing_mm)  # from a voxel's centre to its corner in a slice, and a little
        aimed, margin_mm = list_voxel_points(target.grid, inside), self.settings.margin_mm + voxel_mm
        self._bixels = find_open_bixels(self._beams.fan, aimed, self.settings.bixel_mm, margin_mm)
        lattice = KernelLattice(self.settings.bixel_mm, self.settings.fine)
        ssd = [self._measure_ssd_mm(direction) for direction in self._beams.fan.directions]
        self._planes = FieldPlanes(machine, lattice, self._bixels, self._find_nodes_in_matter(), ssd)
        shares = compute_delta_shares(machine)
        self._physics = np.array([machine.sad_mm, machine.attenuation_per_mm, *machine.build_up_per_mm, *shares])

    @property
    def bixels(self) -> int:
        """Number of bixels of all beams together."""
        return self._bixels.count

    @property
    def angles_deg(self) -> tuple[float, ...]:
        return self._beams.fan.angles_deg

    def bixel_map(self, beam: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Rows (along z), columns (along u) and indices into the weights of one beam's bixels."""
        return self._bixels.of_beam(beam)

    def bixel_centres_mm(self, beam: int) -> NDArray[np.float64]:
        """(v, u) of one beam's bixels in the isocentre plane, in the order of bixel_map."""
        index = self._bixels.of_beam(beam)[2]
        position = np.stack([self._bixels.row[index], self._bixels.column[index]], axis=1)
        return np.asarray(self.settings.bixel_mm * position, np.float64)

    def influence(self, points_mm: NDArray[np.floating]) -> Influence:
        """The linear map from weights to dose at points (n, 3) as (z, y, x) mm, in the frame of the density."""
        if points_mm.ndim != 2 or points_mm.shape[1] != 3 or not np.isfinite(points_mm).all():
            raise GeometryError(f"sample points of shape {points_mm.shape} are not finite rows (z, y, x)")
        return Influence(self, np.ascontiguousarray(points_mm, np.float32))

    def dose(self, weights: NDArray[np.floating], grid: Grid, body: NDArray[np.bool_]) -> Volume:
        """Dose on a grid, zero outside `body` (z, y, x), in Gy per unit of weight."""
        self._beams.grid.require_same_frame(grid)
        points, planes = list_voxel_points(grid, body), self._weight_planes(weights)
        values = np.zeros(len(points), np.float32)
        for first in range(0, len(points), _BLOCK):
            block = slice(first, first + _BLOCK)
            for beam in range(len(self.angles_deg)):
                self._gather(self._locate(beam, points[block]), planes, beam, values[block])
        array = np.zeros(grid.shape, np.float32)
        array[body] = values
        return Volume(grid, array)

    def _weight_planes(self, weights: NDArray[np.floating]) -> Planes:
        if np.shape(weights) != (self.bixels,):
            raise GeometryError(f"{np.shape(weights)} weights for {self.bixels} bixels")
        return self._planes.forward(np.asarray(weights, np.float32))

    def _locate(self, beam: int, points: Floats) -> Floats:
        """Rows that delivery_kernels.gather understands, one per point."""
        fan = self._beams.fan
        depths = self._beams.depths[beam]
        seen = ray_kernels.look_at_points(points, fan.directions[beam], fan.centre, fan.depth_start, depths)
        return np.asarray(delivery_kernels.locate(seen, self._physics, self._planes.place))

    def _gather(self, located: Floats, planes: Planes, beam: int, dose: Floats) -> None:
        """Add one beam's dose at its located points."""
        field = self._planes
        delivery_kernels.gather(located, planes.coarse[beam], planes.fine[beam], field.corner, field.ratio, dose)

    def _find_nodes_in_matter(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """First and last bixel (v, u) that matter projects to, from any beam."""
        fan, bixel = self._beams.fan, self.settings.bixel_mm
        low = np.asarray(fan.depth_start_mm[:2])
        high = low + ray_kernels.DEPTH_STEP_MM * np.asarray(fan.depth_shape[:2])
        first, last = np.floor(low / bixel).astype(int), np.ceil(high / bixel).astype(int)
        return (int(first[0]), int(last[0])), (int(first[1]), int(last[1]))

    def _measure_ssd_mm(self, direction: NDArray[np.float64]) -> float:
        """Distance from the source to matter along the central axis; the axis distance where it meets none."""
        sine, cosine = direction
        grid = self._density.grid
        s = np.arange(self._beams.fan.depth_start_mm[2], -self._beams.fan.depth_start_mm[2], 1.0)
        z, y, x = self._beams.fan.isocentre_mm
        line = np.stack([np.full_like(s, z), y + s * cosine, x - s * sine], axis=1)
        position = grid.index_of(line).T
        met = map_coordinates(self._density.array, position, order=1, mode="constant") > SURFACE_DENSITY
        return self.machine.sad_mm + float(s[np.argmax(met)]) if met.any() else self.machine.sad_mm


class Influence:
    """Dose at fixed points as a linear function of the bixels' weights.

    What the weights do not change is worked out once: six numbers for each point and beam, 1.4 kB a point at 60 beams.
    """

    def __init__(self, engine: DoseEngine, points: Floats) -> None:
        self._engine = engine
        self._located = [engine._locate(beam, points) for beam in range(len(engine.angles_deg))]
        self._points = len(points)

    def forward(self, weights: NDArray[np.floating]) -> Floats:
        """Dose (points,) for weights (bixels,)."""
        planes = self._engine._weight_planes(weights)
        dose = np.zeros(self._points, np.float32)
        for beam, located in enumerate(self._located):
            self._engine._gather(located, planes, beam, dose)
        return dose

    def adjoint(self, gradient: NDArray[np.floating]) -> Floats:
        """The transpose: (bixels,) for values at the points (points,), such as a cost's derivative by dose."""
        field = self._engine._planes
        if np.shape(gradient) != (self._points,):
            raise GeometryError(f"{np.shape(gradient)} values for {self._points} points")
        planes, values = field.empty(), np.asarray(gradient, np.float32)
        for beam, located in enumerate(self._located):
            delivery_kernels.scatter(located, values, field.corner, field.ratio, planes.coarse[beam], planes.fine[beam])
        return field.adjoint(planes)
