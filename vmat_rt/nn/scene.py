"""Scene: one case on one grid, and what several channels of it share. No torch."""

from __future__ import annotations

from functools import cached_property
from typing import Final

import numpy as np
from pydantic import Field, field_validator

from vmat_rt.case import AIR_HU, Case, FloatArray, Structure, Volume
from vmat_rt.errors import ConfigError, InputError, Problem
from vmat_rt.geometry import beams
from vmat_rt.geometry.bands import sector_bands
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.geometry.rays import Beams, place_beams
from vmat_rt.geometry.resample import resample
from vmat_rt.grid import Grid
from vmat_rt.strict import Strict

INSIDE: Final = 0.5
"""Area fraction from which a voxel counts as inside a structure."""


class Normalisation(Strict):
    """The constants that bring every input to about [-1, 1]. They live here once and travel in the bundle's settings.

    hu_window: CT is clipped to it and mapped to [-1, 1]. distance_mm: signed distances are clipped to +- this and
    mapped to [-1, 1]. absent: the value of a whole distance channel whose structure is absent, outside [-1, 1] so that
    it is neither near nor far. chord_cm: divisor of the beam map that is a length. dose_gy and fractions: divisors of
    the condition vector's doses and fraction count.
    """

    hu_window: tuple[float, float] = (-1000.0, 1000.0)
    distance_mm: float = Field(default=50.0, gt=0)
    absent: float = 2.0
    chord_cm: float = Field(default=10.0, gt=0)
    dose_gy: float = Field(default=70.0, gt=0)
    fractions: float = Field(default=30.0, gt=0)

    @field_validator("absent")
    @classmethod
    def _absent_is_no_distance(cls, value: float) -> float:
        if abs(value) <= 1:
            raise ValueError(f"absent must lie outside [-1, 1], where the distances are, not at {value}")
        return value

    @field_validator("hu_window")
    @classmethod
    def _window_is_open(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not value[0] < value[1]:
            raise ValueError(f"the HU window must ascend, not {value}")
        return value


class Scene:
    """A case looked at on a grid. What is costly is computed when first asked for, and kept.

    angles_deg are the gantry angles (IEC 61217) where the case has no plan of its own that says them.
    prior_gy is another predictor's dose on the grid (z, y, x), for the channel "prior". targets are those that the
    network knows, whether this case has them or not. Raises ConfigError when its
    shape is not the grid's, GeometryError when case and grid lie in different frames of reference.
    """

    def __init__(
        self,
        case: Case,
        grid: Grid,
        normalisation: Normalisation,
        angles_deg: tuple[float, ...] = (),
        prior_gy: FloatArray | None = None,
        targets: tuple[str, ...] = (),
    ) -> None:
        case.ct.grid.require_same_frame(grid)
        if prior_gy is not None and prior_gy.shape != grid.shape:
            raise ConfigError(f"the prior dose has shape {prior_gy.shape}, the grid {grid.shape}")
        self.case = case
        self.grid = grid
        self.normalisation = normalisation
        self.angles_deg = case.gantry_angles_deg or angles_deg
        self.prior_gy = prior_gy
        self.targets = frozenset((*targets, *case.prescription.dose_gy, *case.structures))
        self._fractions: dict[str, FloatArray | None] = {}
        self._bands: dict[int, FloatArray] = {}

    def fraction(self, name: str) -> FloatArray | None:
        """Area fraction (z, y, x) of a structure by TG-263 name, or None when it is absent.

        Absent means not contoured, or without any part on this grid: an empty mask says nothing of where an organ is.
        """
        if name not in self._fractions:
            self._fractions[name] = self._rasterised(name)
        return self._fractions[name]

    def _rasterised(self, name: str) -> FloatArray | None:
        case = self.case
        structure = case.structures.get(name) or (case.body if case.body.name == name else None)
        if structure is None or structure.shape is None:
            return None
        return _something(structure, self.grid)

    @cached_property
    def body(self) -> FloatArray:
        """Area fraction (z, y, x) of the body. Raises InputError (NO_BODY) when the grid misses it."""
        fraction = None if self.case.body.shape is None else _something(self.case.body, self.grid)
        if fraction is None:
            raise InputError(
                Problem(
                    "NO_BODY",
                    f"No part of the body lies on the model's grid of {self.grid.describe()}.",
                    "Check the External contour and the position of the targets.",
                )
            )
        return fraction

    @cached_property
    def target_gy(self) -> dict[str, float]:
        """Prescribed targets that lie on this grid, highest dose first: name -> Gy. Raises InputError (NO_TARGET)."""
        present = {name: dose for name, dose in self.case.targets().items() if self.fraction(name) is not None}
        if not present:
            prescribed = ", ".join(sorted(self.case.prescription.dose_gy)) or "nothing"
            raise InputError(
                Problem(
                    "NO_TARGET",
                    f"None of the prescribed targets ({prescribed}) is contoured on the model's grid.",
                    "Contour a prescribed target, or give the prescription of one that is contoured.",
                )
            )
        return present

    @property
    def highest_gy(self) -> float:
        """The highest prescribed dose among the targets present: the unit of every relative dose."""
        return next(iter(self.target_gy.values()))

    @cached_property
    def ct_hu(self) -> Volume:
        """The CT on the grid, HU; air outside it."""
        return resample(self.case.ct, self.grid, AIR_HU)

    @cached_property
    def beam_maps(self) -> dict[str, FloatArray]:
        """The maps of vmat_rt.geometry.beams, (z, y, x); the isocentre is the centre of gravity of all targets.

        Raises ConfigError when no gantry angles are known.
        """
        return beams.compute_view_maps(self._beams, self._target_fractions)

    def bands(self, sectors: int) -> FloatArray:
        """The bands of vmat_rt.geometry.bands, (sectors, z, y, x), of the same beams. Raises as beam_maps."""
        if sectors not in self._bands:
            levels = {name: dose_gy / self.highest_gy for name, dose_gy in self.target_gy.items()}
            self._bands[sectors] = sector_bands(self._beams, self._target_fractions, levels, sectors)
        return self._bands[sectors]

    @cached_property
    def _target_fractions(self) -> dict[str, FloatArray]:
        return {name: fraction for name in self.target_gy if (fraction := self.fraction(name)) is not None}

    @cached_property
    def _beams(self) -> Beams:
        if not self.angles_deg:
            raise ConfigError("beam maps need gantry angles: neither the plan nor the model's channels give any")
        union = np.max(np.stack(list(self._target_fractions.values())), axis=0)
        outline = self.body >= INSIDE
        return place_beams(
            beams.compute_relative_density(self.ct_hu, outline),
            outline,
            union > 0,
            beams.thin_angles(self.angles_deg),
            beams.compute_centroid_mm(Volume(self.grid, union)),
        )


def _something(structure: Structure, grid: Grid) -> FloatArray | None:
    """The structure's area fraction, or None when all of it is zero."""
    fraction = structure_fraction(structure, grid)
    return fraction if fraction.any() else None
