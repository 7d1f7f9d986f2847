"""The CT image: tissues painted over each other with partial volume, slice by slice, then couch and noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vmat_rt.case import AIR_HU, FloatArray
from vmat_rt.grid import Box, Grid, Triple
from vmat_rt.phantom.anatomy.fields import BELL_SPREAD, Draws
from vmat_rt.phantom.anatomy.lattice import Lattice, Sampler, find_box_below
from vmat_rt.phantom.anatomy.shapes import f32

BLUR_MM = 2.2
"""Width over which a scanner spreads an edge, beyond the voxel."""

HIGHEST_HU, LOWEST_HU = 3071, -1024


@dataclass(frozen=True)
class Layer:
    """A tissue to paint: its field, and its HU as a number or as a field over the lattice."""

    field: FloatArray
    hu: float | FloatArray


def convert_to_fraction(distance: FloatArray, width_mm: float) -> FloatArray:
    """Share of a voxel of this width that lies inside: 1/2 on the surface, linear across it."""
    return np.asarray(np.minimum(np.maximum(f32(0.5) - distance / f32(width_mm), f32(0)), f32(1)), np.float32)


def compute_structure_fractions(sampler: Sampler, field: FloatArray) -> FloatArray:
    """Area fractions (z, y, x) on the CT, multiples of 1/255, float32."""
    grid = sampler.grid
    result = np.zeros(grid.shape, np.float32)
    box = find_box_below(field, 4.0)
    if box is None:
        return result
    slices, rows, columns = sampler.voxels(box)
    for k in range(slices.start, slices.stop):
        share = convert_to_fraction(sampler.plane(field, k, rows, columns), 1.1 * grid.spacing_mm[1])
        result[k, rows, columns] = np.rint(share * f32(255)) / f32(255)
    return result


def paint(sampler: Sampler, layers: list[Layer], finish: Callable[[int, FloatArray], FloatArray]) -> FloatArray:
    """HU (z, y, x), whole numbers: layers over air in their order; finish(k, slice) adds what is not tissue."""
    grid = sampler.grid
    width = BLUR_MM + 0.4 * grid.spacing_mm[1]
    hu = np.empty(grid.shape, np.float32)
    placed = [(layer, sampler.voxels(box)) for layer in layers if (box := find_box_below(layer.field, 5.0)) is not None]
    for k in range(grid.shape[0]):
        plane = np.full(grid.shape[1:], AIR_HU, np.float32)
        for layer, box in placed:
            _paint_layer(plane, sampler, layer, box, k, width)
        plane = np.rint(finish(k, plane))
        hu[k] = np.minimum(np.maximum(plane, f32(LOWEST_HU)), f32(HIGHEST_HU))
    return hu


def _paint_layer(plane: FloatArray, sampler: Sampler, layer: Layer, box: Box, k: int, width: float) -> None:
    slices, rows, columns = box
    if not slices.start <= k < slices.stop:
        return
    share = convert_to_fraction(sampler.plane(layer.field, k, rows, columns), width)
    part = plane[rows, columns]
    own = f32(layer.hu) if isinstance(layer.hu, float) else sampler.plane(layer.hu, k, rows, columns)
    part += (own - part) * share


@dataclass(frozen=True)
class Couch:
    """A carbon-fibre table top: thin dense skins round foam, its upper face at top_mm (y in the patient's frame)."""

    top_mm: float
    half_width_mm: float = 250.0
    thickness_mm: float = 45.0
    skin_mm: float = 2.5

    def paint(self, plane: FloatArray, grid: Grid, shift_mm: Triple) -> None:
        """Add it where there is air; plane (y, x) HU."""
        y = (grid.axis_mm(1) - shift_mm[1] - self.top_mm).astype(np.float32)[:, None]
        x = (grid.axis_mm(2) - shift_mm[2]).astype(np.float32)[None]
        outer = np.maximum(np.maximum(-y, y - f32(self.thickness_mm)), np.abs(x) - f32(self.half_width_mm))
        width = grid.spacing_mm[1]
        skin = convert_to_fraction(outer, width) - convert_to_fraction(outer + f32(self.skin_mm), width)
        foam = convert_to_fraction(outer + f32(self.skin_mm), width)
        np.maximum(plane, f32(AIR_HU) + skin * f32(820) + foam * f32(45), out=plane)


def draw_noise_plane(draws: Draws, shape: tuple[int, int], sigma_hu: float) -> FloatArray:
    """Grainy noise of one slice (y, x), smoothed with 1 2 1 along both axes as a scanner's kernel does."""
    grain = draws.bell(shape[0] + 2, shape[1] + 2)
    grain = grain[:-2] + 2 * grain[1:-1] + grain[2:]
    grain = grain[:, :-2] + 2 * grain[:, 1:-1] + grain[:, 2:]
    # 1 2 1 twice leaves 6 of the standard deviation: sqrt(6) along each axis.
    return grain.astype(np.float32) * f32(sigma_hu / (6 * BELL_SPREAD))


def draw_texture(
    lattice: Lattice, draws: Draws, amplitudes: tuple[tuple[float, float], ...], mean: float
) -> FloatArray:
    """HU over the lattice: mean and noise of several (wavelength mm, amplitude HU)."""
    field = np.full(lattice.shape, mean, np.float32)
    for wavelength, amplitude in amplitudes:
        field += lattice.noise(draws, wavelength) * f32(amplitude)
    return field
