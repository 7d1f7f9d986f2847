"""The treatment machine of the simulated plans: a generic 6 MV linac described by photon pencil-beam kernels.

The numbers are facts of matRad's generic machine (photons_6mv.json names source and licence). They were never compared
with a measurement here: good enough to make doses that look like a linac's, not to commission one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Volume


@dataclass(frozen=True, eq=False)
class Machine:
    """Singular-value decomposed pencil beam (Bortfeld, Schlegel and Rhein, Med. Phys. 20(2), 311-318, 1993).

    Dose of a pencil of unit fluence at radius r, projected to the isocentre plane, and water-equivalent depth d is
    sum_c D_c(d) K_c(r), times the inverse square (sad / distance)^2. D_c is `depth_dose`; K_c stands in `kernels`
    (ssd, component, radius) per mm^2 at radii 0, radius_step_mm, 2 radius_step_mm, ...

    A kernel value is the mean over a square pixel of side radius_step_mm, not a sample of a smooth curve: the first one
    carries the unscattered fluence, a delta function that the pixel spreads over its area. Taken for the tip of a cone
    and interpolated, it weighs 5 to 7 % too much, and doses come out 3 to 5 % high.
    """

    name: str
    sad_mm: float
    attenuation_per_mm: float
    build_up_per_mm: NDArray[np.float64]
    penumbra_fwhm_mm: float
    radius_step_mm: float
    ssd_mm: NDArray[np.float64]
    kernels: NDArray[np.float64]
    density_curve: NDArray[np.float64]

    @property
    def penumbra_sigma_mm(self) -> float:
        """Standard deviation of the source's Gaussian image in the isocentre plane."""
        return self.penumbra_fwhm_mm / float(np.sqrt(8 * np.log(2)))

    def depth_dose(self, depth_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """D_c at water-equivalent depths: (components, *depth_mm.shape), zero at the surface."""
        m = self.attenuation_per_mm
        depth = np.asarray(depth_mm, np.float64)
        rows = [b / (b - m) * (np.exp(-m * depth) - np.exp(-b * depth)) for b in self.build_up_per_mm]
        return np.stack(rows)

    def electron_density(self, ct: Volume, outline: NDArray[np.bool_]) -> Volume:
        """Electron density relative to water from HU, zero outside the outline (z, y, x).

        A straight line through air and water (geometry.beams.compute_relative_density) is meant for features: at
        1000 HU it says 1.7, where this curve has 1.52. Attenuation needs the curve.
        """
        density = np.interp(ct.array, self.density_curve[:, 0], self.density_curve[:, 1]).astype(np.float32)
        return Volume(ct.grid, np.where(outline, density, np.float32(0)))


@lru_cache(maxsize=1)
def load_machine() -> Machine:
    """The machine that ships with the package."""
    facts = json.loads(files("vmat_rt.phantom.delivery").joinpath("photons_6mv.json").read_text("utf-8"))
    return Machine(
        name=facts["name"],
        sad_mm=float(facts["sad_mm"]),
        attenuation_per_mm=float(facts["attenuation_per_mm"]),
        build_up_per_mm=np.asarray(facts["build_up_per_mm"], np.float64),
        penumbra_fwhm_mm=float(facts["penumbra_fwhm_mm"]),
        radius_step_mm=float(facts["radius_step_mm"]),
        ssd_mm=np.asarray(facts["ssd_mm"], np.float64),
        kernels=np.asarray(facts["kernels_per_mm2"], np.float64),
        density_curve=np.asarray(facts["hu_to_relative_electron_density"], np.float64),
    )
