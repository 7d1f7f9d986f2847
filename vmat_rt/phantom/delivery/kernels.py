"""What one bixel does to its surroundings: pencil-beam kernels spread over a square bixel, on two lattices.

The kernels K_c of the machine hold a delta function, a steep foot of a few mm and a tail of 180 mm. Each is written as

    K_c = share_c * near + rest_c

near: the first kernel's delta and foot, faded out between FADE_MM; share_c scales it to K_c's own delta. It needs a
fine lattice, but only around the field, and one plane serves all components. The rests are smooth: a lattice as coarse
as the bixels holds them to the end of the table. Both lattices have a node at the centre of every bixel, so a plane's
nodes are exact; between nodes the planes are interpolated linearly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from vmat_rt.phantom.delivery.machine import Machine

FADE_MM = (10.0, 25.0)
_SIGMAS = 4.0


@dataclass(frozen=True)
class BixelKernels:
    """Response to a bixel of unit fluence at lattice offsets -reach..reach: near (v, u), rest (component, v, u)."""

    near: NDArray[np.float64]
    rest: NDArray[np.float64]


@dataclass(frozen=True)
class KernelLattice:
    """Square bixels of side bixel_mm with a node in each centre; the fine lattice divides that distance by `fine`."""

    bixel_mm: float
    fine: int

    @property
    def fine_mm(self) -> float:
        return self.bixel_mm / self.fine

    def near_reach(self, machine: Machine) -> int:
        """Fine nodes from a bixel's centre to the end of the near kernel."""
        return self._reach(FADE_MM[1], machine, self.fine_mm)

    def rest_reach(self, machine: Machine) -> int:
        """Coarse nodes from a bixel's centre to the end of the tails."""
        return self._reach(machine.radius_step_mm * machine.kernels.shape[-1], machine, self.bixel_mm)

    def _reach(self, range_mm: float, machine: Machine, step_mm: float) -> int:
        return int(np.ceil((range_mm + self.bixel_mm / 2 + _SIGMAS * machine.penumbra_sigma_mm) / step_mm))


def compute_delta_shares(machine: Machine) -> NDArray[np.float64]:
    """Each component's unscattered fluence relative to the first one's. It hardly depends on the SSD."""
    delta = machine.kernels[:, :, 0].mean(axis=0)
    return np.asarray(delta / delta[0])


def interpolate_kernels(machine: Machine, lattice: KernelLattice, ssd_mm: float) -> BixelKernels:
    """Kernels for one source-to-surface distance, linear between the machine's tables."""
    position = float(np.interp(ssd_mm, machine.ssd_mm, np.arange(len(machine.ssd_mm))))
    low = min(int(position), len(machine.ssd_mm) - 2)
    share = position - low
    first, second = (_read_table(machine, lattice, index) for index in (low, low + 1))
    return BixelKernels(
        near=(1 - share) * first.near + share * second.near, rest=(1 - share) * first.rest + share * second.rest
    )


@lru_cache(maxsize=64)
def _read_table(machine: Machine, lattice: KernelLattice, index: int) -> BixelKernels:
    """Kernels for the machine's table number `index`."""
    table, step = machine.kernels[index], machine.radius_step_mm
    pixels = np.arange(1 - table.shape[1], table.shape[1]) * step
    radius = np.hypot(pixels[:, None], pixels[None, :])
    near_mm, far_mm = FADE_MM
    fade = 0.5 + 0.5 * np.cos(np.pi * np.clip((radius - near_mm) / (far_mm - near_mm), 0, 1))
    known = np.arange(table.shape[1]) * step
    images = np.stack([np.interp(radius, known, row, right=0) for row in table]) * step**2
    near = images[0] * fade
    # Linear interpolation acts, on average, as a convolution with a triangle of variance step^2 / 6: the penumbra of
    # the fine plane is made sharper by as much.
    variance = machine.penumbra_sigma_mm**2
    sharper = float(np.sqrt(max(variance - lattice.fine_mm**2 / 6, variance / 4)))
    fine = _compute_profile(lattice.near_reach(machine), lattice.fine_mm, pixels, lattice.bixel_mm, sharper)
    coarse = _compute_profile(
        lattice.rest_reach(machine), lattice.bixel_mm, pixels, lattice.bixel_mm, machine.penumbra_sigma_mm
    )
    rest = images - compute_delta_shares(machine)[:, None, None] * near
    return BixelKernels(near=fine @ near @ fine.T, rest=coarse @ rest @ coarse.T)


def _compute_profile(
    reach: int, step_mm: float, pixels: NDArray[np.float64], bixel_mm: float, sigma_mm: float
) -> NDArray[np.float64]:
    """Fluence of a bixel with Gaussian edges, seen at the lattice's nodes when it is shifted to each pixel."""
    nodes = np.arange(-reach, reach + 1) * step_mm
    distance = nodes[:, None] - pixels[None, :]
    scale = np.sqrt(2) * sigma_mm
    return np.asarray((erf((distance + bixel_mm / 2) / scale) - erf((distance - bixel_mm / 2) / scale)) / 2)
