"""Where a gamma search looks: sample offsets, sorted into voxel cells, and the doses laid out for them.

Around each reference point the evaluation dose is sampled on spherical shells, as Wendling et al. (Med. Phys. 34, 2007,
doi 10.1118/1.2721657) proposed and pymedphys does. The samples are sorted into the voxel cells of the evaluation grid:
trilinear dose in a cell never leaves the range of its corners, so a cell whose distance and dose range together cannot
beat the best gamma so far is skipped with all its samples. Skipping never changes the minimum.

Doses here are divided by the normalisation dose, distances by the distance criterion; gamma is a pure number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Volume
from vmat_rt.errors import ConfigError
from vmat_rt.grid import Grid

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]

OUTSIDE = np.float32(1e12)
"""Stands for dose where the evaluation grid has none: no sample that leans on it can ever win."""
SNAP = 1e-5
"""A sample this close (in voxels) to a plane of voxel centres lies in the plane."""
MOST_SAMPLES = 20_000_000


class Samples(NamedTuple):
    """Search offsets sorted into cells of the evaluation grid, cells by their nearest sample.

    cell (cells, 3): whole voxels (z, y, x) from the reference point's own cell. first (cells + 1): where the samples
    of each cell start. nearest (cells): smallest squared distance. u, v, w: position in the cell along z, y, x,
    [0, 1). distance: squared distance over the squared distance criterion, ascending within a cell.
    """

    cell: Integers
    first: Integers
    nearest: Floats
    u: Floats
    v: Floats
    w: Floats
    distance: Floats


class Field(NamedTuple):
    """Evaluation dose with a margin of OUTSIDE, and the dose range of every cell, all flat; strides in elements."""

    dose: Floats
    low: Floats
    high: Floats
    stride_z: int
    stride_y: int


class Axis(NamedTuple):
    """Where the reference voxels of one axis lie in the evaluation grid.

    cell (n): voxel below or at each; phase (n): the rest, [0, 1) voxels. reachable (n): whether any sample can meet
    the evaluation grid. before, after: margin that the field needs, voxels.
    """

    cell: Integers
    phase: Doubles
    reachable: NDArray[np.bool_]
    before: int = 0
    after: int = 1


class Points(NamedTuple):
    """Reference points: flat indices into the reference dose (flat, normalised), and the size of its axes.

    flat (n) gives the points. base_*: contribution of each axis to the flat index into the field, -1 where out of
    reach; phase_*: see Axis.
    """

    flat: Integers
    dose: Floats
    rows: int
    columns: int
    base_z: Integers
    base_y: Integers
    base_x: Integers
    phase_z: Floats
    phase_y: Floats
    phase_x: Floats


@dataclass(frozen=True)
class Search:
    """Everything that a kernel needs. aligned: every reference point sits at the same place in its cell."""

    points: Points
    field: Field
    samples: Samples
    aligned: bool

    @property
    def cell_offsets(self) -> Integers:
        """Flat offset into the field of each cell of samples."""
        strides = np.array([self.field.stride_z, self.field.stride_y, 1])
        return np.asarray(self.samples.cell @ strides, np.int64)


def place_shell_offsets(step_mm: float, reach_mm: float, *, staggered: bool = True) -> Doubles:
    """Offsets (n, 3) on shells step_mm apart, one for each step_mm^2 of shell, nearest first, up to reach_mm.

    Each shell is an equiangular grid on the faces of a cube, blown up to a sphere: unlike circles of latitude it
    looks the same along every axis. Odd and even divisions take turns, so that samples do not line up along rays;
    unless `staggered` all are even, and every shell has samples in the coordinate planes, as a single slice needs.
    Raises ConfigError when that would be more than MOST_SAMPLES.
    """
    shells = int(reach_mm / step_mm + 1e-6)
    if 4 / 3 * np.pi * shells**3 > MOST_SAMPLES:
        raise ConfigError(f"a search to {reach_mm:g} mm in steps of {step_mm:g} mm is too fine: widen interpolation_mm")
    offsets = [np.zeros((1, 3))]
    for shell in range(1, shells + 1):
        # 6 divisions^2 samples on an area of 4 pi shell^2 steps^2
        divisions = 2 * max(1, round(np.sqrt(np.pi / 6) * shell)) + (staggered and shell % 2 == 0)
        ticks = np.arange(-divisions, divisions + 1, 2)
        lattice = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 3)
        surface = lattice[np.abs(lattice).max(axis=1) == divisions]
        directions = np.tan(np.pi / 4 * surface / divisions)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        offsets.append(directions * shell * step_mm)
    return np.concatenate(offsets)


def sort_into_cells(offsets_mm: Doubles, spacing_mm: Doubles, phase: Doubles, distance_mm: float) -> Samples:
    """Group the offsets by the cell they fall in for a point at `phase` (z, y, x in [0, 1)) of its own cell."""
    position = offsets_mm / spacing_mm + phase
    cell = np.floor(position + SNAP).astype(np.int64)
    inside = np.maximum(position - cell, 0.0)
    inside[inside < SNAP] = 0.0
    squared = (offsets_mm**2).sum(axis=1) / distance_mm**2
    extent = np.ptp(cell, axis=0) + 1
    _, nearest_sample, owner = np.unique(
        np.ravel_multi_index(tuple((cell - cell.min(axis=0)).T), tuple(extent)), return_index=True, return_inverse=True
    )  # offsets come nearest first, so the first sample met in a cell is its nearest
    by_distance = np.argsort(nearest_sample)
    rank = np.argsort(by_distance)[owner]
    order = np.argsort(rank, kind="stable")
    u, v, w = np.ascontiguousarray(inside[order].T.astype(np.float32))
    return Samples(
        cell=cell[nearest_sample[by_distance]],
        first=np.concatenate([[0], np.cumsum(np.bincount(rank))]).astype(np.int64),
        nearest=squared[nearest_sample[by_distance]].astype(np.float32),
        u=u,
        v=v,
        w=w,
        distance=squared[order].astype(np.float32),
    )


def _choose_of_neighbours(array: Floats, choose: np.ufunc) -> Floats:
    """Choose (np.minimum or np.maximum) over every voxel and its upper neighbours; the last voxel has none."""
    for axis in range(3):
        result = array.copy()
        body = [slice(None)] * 3
        body[axis] = slice(0, -1)
        after = [slice(None)] * 3
        after[axis] = slice(1, None)
        choose(array[tuple(body)], array[tuple(after)], out=result[tuple(body)])
        array = result
    return array


def _prepare_field(dose: Floats, axes: list[Axis], aligned: bool) -> Field:
    """Pad the dose and find the range of every cell; of two cells each way where a sample may lie in either."""
    margin = [(axis.before, axis.after) for axis in axes]
    padded = np.pad(dose, margin, constant_values=OUTSIDE)
    low = np.pad(_choose_of_neighbours(dose, np.minimum), margin, constant_values=OUTSIDE)
    high = np.pad(_choose_of_neighbours(dose, np.maximum), margin, constant_values=-OUTSIDE)
    if not aligned:
        low, high = _choose_of_neighbours(low, np.minimum), _choose_of_neighbours(high, np.maximum)
    _, rows, columns = padded.shape
    return Field(padded.ravel(), low.ravel(), high.ravel(), rows * columns, columns)


def _prepare_axis(reference: Grid, evaluation: Grid, axis: int) -> Axis:
    position = (reference.axis_mm(axis) - evaluation.origin_mm[axis]) / evaluation.spacing_mm[axis]
    cell = np.floor(position + SNAP).astype(np.int64)
    phase = np.where(position - cell < SNAP, 0.0, position - cell)
    return Axis(cell, phase, np.ones(len(cell), np.bool_))


def _add_margin(axis: Axis, first: int, last: int, voxels: int) -> Axis:
    """Find what the samples, `first` to `last` cells away, need of an evaluation axis of so many voxels."""
    reachable = (axis.cell + last >= 0) & (axis.cell + first < voxels)
    cells = axis.cell[reachable] if reachable.any() else np.zeros(1, np.int64)
    before = max(0, -(int(cells.min()) + first))
    after = max(0, int(cells.max()) + last - (voxels - 1)) + 1  # a cell leans on the voxel above it
    return axis._replace(reachable=reachable, before=before, after=after)


@dataclass(frozen=True)
class SearchScale:
    """Distance criterion, sampling step, and how far from a point is searched."""

    distance_mm: float
    step_mm: float
    reach_mm: float


def prepare(
    reference: Volume,
    evaluation: Volume,
    index: Integers,
    scale: SearchScale,
) -> Search:
    """Lay out the search. Doses (z, y, x) are normalised; `index` holds the flat reference points to examine.

    Raises ConfigError when the search is too fine.
    """
    grid, eval_grid = reference.grid, evaluation.grid
    axes = [_prepare_axis(grid, eval_grid, axis) for axis in range(3)]
    aligned = all(np.ptp(axis.phase) < SNAP for axis in axes)
    phase = np.array([axis.phase[0] if aligned else 0.0 for axis in axes])
    offsets = place_shell_offsets(scale.step_mm, scale.reach_mm, staggered=min(eval_grid.shape) > 1)
    samples = sort_into_cells(offsets, np.asarray(eval_grid.spacing_mm), phase, scale.distance_mm)
    first, last = samples.cell.min(axis=0), samples.cell.max(axis=0) + (0 if aligned else 1)
    axes = [_add_margin(a, int(first[i]), int(last[i]), eval_grid.shape[i]) for i, a in enumerate(axes)]
    field = _prepare_field(evaluation.array, axes, aligned)
    strides = (field.stride_z, field.stride_y, 1)
    bases = [np.where(a.reachable, (a.cell + a.before) * s, -1) for a, s in zip(axes, strides, strict=True)]
    phases = [axis.phase.astype(np.float32) for axis in axes]
    points = Points(index, reference.array.ravel(), grid.shape[1], grid.shape[2], *bases, *phases)
    return Search(points, field, samples, aligned)
