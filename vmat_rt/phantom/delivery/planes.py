"""Bixel weights to planes of fluence convolved with kernels, and back.

Every beam has two planes facing the source at the isocentre: a coarse one, a node a bixel, that holds the smooth rest
of each kernel component out to its end, and a fine one around the field for the sharp part that all components share
(vmat_rt.phantom.delivery.kernels).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from vmat_rt.phantom.delivery.bixels import Bixels, Floats, Ints
from vmat_rt.phantom.delivery.compiled import COMPONENTS
from vmat_rt.phantom.delivery.kernels import KernelLattice, interpolate_kernels
from vmat_rt.phantom.delivery.machine import Machine


@dataclass(frozen=True)
class Planes:
    """coarse: (beams, v, u, 4), of which the last is empty, see delivery_kernels. fine: (beams, v, u)."""

    coarse: Floats
    fine: Floats


@dataclass(frozen=True)
class NodeAxis:
    """Nodes of a plane along v or u: first .. first + count - 1 are held, counted from the isocentre.

    A kernel matters up to `reach` nodes; a circular convolution of this `period` does not wrap into held nodes.
    """

    first: int
    count: int
    period: int
    reach: int


def make_plane_axis(field: tuple[int, int], wanted: tuple[int, int], reach: int) -> NodeAxis:
    """Nodes that bixels at field[0] .. field[1] reach, no further than `wanted` asks."""
    first = max(min(wanted[0], field[0]), field[0] - reach)
    last = min(max(wanted[1], field[1]), field[1] + reach)
    span = max(last - field[0], field[1] - first)
    reach = min(reach, span)
    return NodeAxis(first, last - first + 1, scipy.fft.next_fast_len(span + reach + 1, real=True), reach)


@dataclass(frozen=True)
class Spread:
    """Weights of bixels to planes of kernels * weights, and its transpose. spectra: (beams, kinds, v, half of u)."""

    spectra: NDArray[np.complex64]
    cell: Ints
    shape: tuple[int, int]

    @classmethod
    def plan(
        cls, bixels: Bixels, kernels: list[NDArray[np.float64]], axes: tuple[NodeAxis, NodeAxis], ratio: int
    ) -> Spread:
        """kernels: for each beam (kinds, v, u), centred; a bixel stands at node (row * ratio, column * ratio)."""
        shape = (axes[0].period, axes[1].period)
        v, u = (np.arange(-axis.reach, axis.reach + 1) for axis in axes)
        spectra = []
        for kernel in kernels:
            middle = kernel.shape[1] // 2, kernel.shape[2] // 2
            wrapped = np.zeros((len(kernel), *shape))
            wrapped[:, v[:, None], u[None, :]] = kernel[:, middle[0] + v[:, None], middle[1] + u[None, :]]
            spectra.append(scipy.fft.rfft2(wrapped).astype(np.complex64))
        node = (bixels.beam * shape[0] + bixels.row * ratio - axes[0].first) * shape[1]
        return cls(np.stack(spectra), node + bixels.column * ratio - axes[1].first, shape)

    def forward(self, weights: Floats) -> Floats:
        """Planes (beams, kinds, v, u)."""
        beams = len(self.spectra)
        field = np.zeros((beams, 1, *self.shape), np.float32)
        field.reshape(-1)[self.cell] = weights
        spectrum = scipy.fft.rfft2(field)
        return np.asarray(scipy.fft.irfft2(spectrum * self.spectra, self.shape, overwrite_x=True))

    def adjoint(self, planes: Floats) -> Floats:
        """Weights (bixels) from the held nodes of planes (beams, kinds, v, u)."""
        spectrum = (scipy.fft.rfft2(planes, self.shape) * self.spectra.conj()).sum(axis=1)
        return np.asarray(scipy.fft.irfft2(spectrum, self.shape).reshape(-1)[self.cell])


class FieldPlanes:
    """The two planes of all beams, for given open bixels.

    wanted: nodes (v, u) of the coarse lattice, first and last, that any point can need. ssd_mm: distance from source to
    surface of each beam.
    """

    def __init__(
        self,
        machine: Machine,
        lattice: KernelLattice,
        bixels: Bixels,
        wanted: tuple[tuple[int, int], tuple[int, int]],
        ssd_mm: Sequence[float],
    ) -> None:
        kernels = [interpolate_kernels(machine, lattice, ssd) for ssd in ssd_mm]
        coarse, fine = [], []
        for places, needed in zip((bixels.row, bixels.column), wanted, strict=True):
            field = int(places.min()), int(places.max())
            coarse.append(make_plane_axis(field, needed, lattice.rest_reach(machine)))
            field = field[0] * lattice.fine, field[1] * lattice.fine
            reach = lattice.near_reach(machine)
            fine.append(make_plane_axis(field, (field[0] - reach, field[1] + reach), reach))
        self._rest = Spread.plan(bixels, [each.rest for each in kernels], (coarse[0], coarse[1]), 1)
        self._near = Spread.plan(bixels, [each.near[None] for each in kernels], (fine[0], fine[1]), lattice.fine)
        self._shapes = [(axes[0].count, axes[1].count) for axes in (coarse, fine)]
        self.ratio = np.float32(lattice.fine)
        self.corner = np.array(
            [f.first / lattice.fine - c.first for f, c in zip(fine, coarse, strict=True)], np.float32
        )
        self.place = np.array([*(axis.first for axis in coarse), lattice.bixel_mm, *self._shapes[0]], np.float64)

    def empty(self) -> Planes:
        beams = len(self._rest.spectra)
        (v, u), fine = self._shapes
        return Planes(np.zeros((beams, v, u, COMPONENTS + 1), np.float32), np.zeros((beams, *fine), np.float32))

    def forward(self, weights: Floats) -> Planes:
        planes = self.empty()
        _, v, u, _ = planes.coarse.shape
        planes.coarse[..., :COMPONENTS] = np.moveaxis(self._rest.forward(weights)[:, :, :v, :u], 1, -1)
        _, v, u = planes.fine.shape
        planes.fine[:] = self._near.forward(weights)[:, 0, :v, :u]
        return planes

    def adjoint(self, planes: Planes) -> Floats:
        """The transpose of `forward`."""
        rest = np.moveaxis(planes.coarse[..., :COMPONENTS], -1, 1)
        return self._rest.adjoint(rest) + self._near.adjoint(planes.fine[:, None])
