"""What the geometric predictor knows of a voxel: distances, gaps, depth, density and beams. All in mm, cm, HU-free density
and dose relative to the highest prescription, so that voxel size and dose level carry over.

Targets are sorted into levels by their dose relative to the highest one, whatever they are called, and each level
excludes the higher ones, so that nested and disjoint targets give the same features. Nothing tells left from right:
paired organs appear as the nearer and the farther one, so a mirrored patient has the same features. An absent structure
is NaN, LightGBM's "missing"; it is never far away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.ndimage import gaussian_filter

from vmat_rt.case import Case, FloatArray, Volume
from vmat_rt.errors import InputError, Problem
from vmat_rt.geometry.beams import centroid_mm, relative_density, thinned_angles, view_maps
from vmat_rt.geometry.distance import signed_distance_mm
from vmat_rt.geometry.fluence import planned_dose
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.geometry.rays import Beams, place_beams
from vmat_rt.geometry.resample import resample
from vmat_rt.grid import Grid

AIR_HU = -1000.0
ONE_SLICE_MM = 1e6
"""A slice distance so large that Maurer's transform stays within each slice."""

LEVELS = ("high", "middle", "low")


class FeatureSettings(BaseModel):
    """Which structures are looked at and how; stands in the bundle, since a model holds for its own settings only.

    organs: TG-263 names; pairs: organs of which the nearer and the farther one are told apart. level_bounds: a target
    belongs to the high level from the first share of the highest prescription, to the middle one from the second.
    importance: cost of dose in an organ for `planned_dose`, others have `healthy_importance`. angles_deg: gantry angles
    where the case brings none. beams: whether beam geometry is used at all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    organs: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    level_bounds: tuple[float, float] = (0.95, 0.85)
    clip_mm: float = 80.0
    importance: dict[str, float] = {}
    healthy_importance: float = 0.02
    angles_deg: tuple[float, ...]
    beams: bool = True


@dataclass(frozen=True)
class FeatureTable:
    """One row a voxel of the body: matrix float32 (voxels, names); body is the mask (z, y, x), rows in its C order."""

    names: tuple[str, ...]
    matrix: NDArray[np.float32]
    body: NDArray[np.bool_]


@dataclass(frozen=True)
class _Scene:
    """A case on the part of the grid that holds it: fractions by level and organ, outline, where dose is wanted."""

    grid: Grid
    levels: dict[str, FloatArray]
    level_doses: dict[str, float]
    organs: dict[str, FloatArray]
    outline: NDArray[np.bool_]
    body: NDArray[np.bool_]
    ct: Volume

    @property
    def target(self) -> FloatArray:
        """All levels together."""
        union: FloatArray = np.max(list(self.levels.values()), axis=0)
        return union


def features(case: Case, grid: Grid, settings: FeatureSettings) -> FeatureTable:
    """The features of every body voxel of the grid. Raises InputError (NO_TARGET, NO_BODY) when the grid holds none."""
    scene, box = _scene(case, grid, settings)
    columns: dict[str, FloatArray] = {}
    columns |= _level_columns(scene, settings)
    columns |= _slice_columns(scene)
    columns |= _place_columns(scene)
    columns |= _organ_columns(scene, settings)
    columns["density"] = relative_density(scene.ct, scene.outline).array
    if settings.beams:
        columns |= _beam_columns(scene, columns, case.gantry_angles_deg or settings.angles_deg, settings)
    matrix = np.empty((int(np.count_nonzero(scene.body)), len(columns)), np.float32)
    for i, column in enumerate(columns.values()):
        matrix[:, i] = np.broadcast_to(column, scene.grid.shape)[scene.body]
    body = np.zeros(grid.shape, bool)
    body[box] = scene.body
    return FeatureTable(tuple(columns), matrix, body)


def highest_target_gy(case: Case) -> float:
    """Highest prescription among the contoured targets, Gy: the unit in which dose is predicted."""
    targets = case.targets()
    if not targets:
        raise InputError(_no_target())
    return max(targets.values())


def _no_target() -> Problem:
    return Problem(
        "NO_TARGET",
        "No prescribed target lies on the model's grid.",
        "Contour a target that the protocol knows, or name yours in the protocol's aliases.",
    )


def _scene(case: Case, grid: Grid, settings: FeatureSettings) -> tuple[_Scene, tuple[slice, ...]]:
    levels, doses = _levels(case, grid, settings)
    body = structure_fraction(case.body, grid) >= 0.5
    if not levels:
        raise InputError(_no_target())
    if not body.any():
        raise InputError(
            Problem("NO_BODY", "The body has no voxel on the model's grid.", "Check the External contour.")
        )
    external = case.structures.get("External", case.body)
    outline = body | (structure_fraction(external, grid) >= 0.5)
    box, cropped = _box(outline | (np.max(list(levels.values()), axis=0) > 0), grid)
    organs = {}
    for name in settings.organs:
        if name in case.structures and case.structures[name].shape is not None:
            fraction = structure_fraction(case.structures[name], cropped)
            if fraction.any():
                organs[name] = fraction
    return (
        _Scene(
            grid=cropped,
            levels={name: np.ascontiguousarray(fraction[box]) for name, fraction in levels.items()},
            level_doses=doses,
            organs=organs,
            outline=np.ascontiguousarray(outline[box]),
            body=np.ascontiguousarray(body[box]),
            ct=resample(case.ct, cropped, AIR_HU),
        ),
        box,
    )


def _levels(case: Case, grid: Grid, settings: FeatureSettings) -> tuple[dict[str, FloatArray], dict[str, float]]:
    """Area fractions by level, each without the higher ones, and the relative dose of each (the highest in it)."""
    highest = highest_target_gy(case)
    taken = np.zeros(grid.shape, np.float32)
    levels: dict[str, FloatArray] = {}
    doses: dict[str, float] = {}
    for name, dose_gy in case.targets().items():
        level = LEVELS[sum(dose_gy / highest < bound for bound in settings.level_bounds)]
        own = np.minimum(structure_fraction(case.structures[name], grid), 1 - taken)
        # What the higher target leaves at its edge is no target of its own.
        own[own < 0.5] = 0
        if own.any():
            levels[level] = np.maximum(levels[level], own) if level in levels else own
            doses[level] = max(doses.get(level, 0.0), dose_gy / highest)
            taken = np.maximum(taken, own)
    return levels, doses


def _box(mask: NDArray[np.bool_], grid: Grid) -> tuple[tuple[slice, ...], Grid]:
    """The smallest box that holds the mask, and its grid."""
    ends = [np.flatnonzero(mask.any(axis=axes))[[0, -1]] for axes in ((1, 2), (0, 2), (0, 1))]
    start = (int(ends[0][0]), int(ends[1][0]), int(ends[2][0]))
    stop = (int(ends[0][1]) + 1, int(ends[1][1]) + 1, int(ends[2][1]) + 1)
    return tuple(slice(a, b) for a, b in zip(start, stop, strict=True)), grid.crop(start, stop)


def _absent(grid: Grid) -> FloatArray:
    return np.full((1, 1, 1), np.nan, np.float32) + np.zeros((grid.shape[0], 1, 1), np.float32)


def _level_columns(scene: _Scene, settings: FeatureSettings) -> dict[str, FloatArray]:
    """Distance, gap along z and size of each level; the dose prescribed here, or at the nearest level."""
    columns: dict[str, FloatArray] = {}
    prescribed = np.zeros(scene.grid.shape, np.float32)
    nearest = np.full(scene.grid.shape, np.inf, np.float32)
    nearest_dose = np.zeros(scene.grid.shape, np.float32)
    for name in LEVELS:
        if name not in scene.levels:
            absent = _absent(scene.grid)
            columns |= {f"distance_{name}": absent, f"axial_gap_{name}": absent, f"volume_{name}_cc": absent}
            continue
        fraction, dose = scene.levels[name], np.float32(scene.level_doses[name])
        distance = signed_distance_mm(fraction, scene.grid, settings.clip_mm)
        columns[f"distance_{name}"] = distance
        columns[f"axial_gap_{name}"] = _axial_gap(fraction, scene.grid)
        volume_cc = fraction.sum(dtype=np.float64) * scene.grid.voxel_cc
        columns[f"volume_{name}_cc"] = np.full((scene.grid.shape[0], 1, 1), volume_cc, np.float32)
        prescribed = np.where(fraction >= 0.5, np.maximum(prescribed, dose), prescribed)
        nearest_dose = np.where(distance < nearest, dose, nearest_dose)
        nearest = np.minimum(nearest, distance)
    union = signed_distance_mm(scene.target, scene.grid, settings.clip_mm)
    return columns | {"distance_any": union, "prescribed": prescribed, "nearest_prescribed": nearest_dose}


def _axial_gap(fraction: FloatArray, grid: Grid) -> FloatArray:
    """Distance along z from each slice to the nearest one that holds the structure, mm; (z, 1, 1)."""
    held = grid.axis_mm(0)[(fraction >= 0.5).any(axis=(1, 2))]
    gap = np.abs(grid.axis_mm(0)[:, None] - held[None, :]).min(axis=1)
    return gap.astype(np.float32)[:, None, None]


def _slice_columns(scene: _Scene) -> dict[str, FloatArray]:
    """How much target a slice holds, and the distances within the slice."""
    in_plane = replace(scene.grid, spacing_mm=(ONE_SLICE_MM, *scene.grid.spacing_mm[1:]))
    pixel_cm2 = scene.grid.spacing_mm[1] * scene.grid.spacing_mm[2] / 100
    z = scene.grid.axis_mm(0)
    held = z[(scene.target >= 0.5).any(axis=(1, 2))]
    columns: dict[str, FloatArray] = {}
    for name, fraction in (("any", scene.target), ("high", scene.levels.get("high", np.zeros_like(scene.target)))):
        area = fraction.sum(axis=(1, 2), keepdims=True) * np.float32(pixel_cm2)
        columns[f"area_{name}_cm2"] = area.astype(np.float32)
    columns["in_plane_distance_any"] = signed_distance_mm(scene.target, in_plane, 200.0)
    columns["above_targets_mm"] = (z - held[-1]).astype(np.float32)[:, None, None]
    columns["below_targets_mm"] = (held[0] - z).astype(np.float32)[:, None, None]
    columns["skin_depth_mm"] = -signed_distance_mm(scene.outline.astype(np.float32), in_plane, 200.0)
    return columns


def _place_columns(scene: _Scene) -> dict[str, FloatArray]:
    """Where the voxel lies relative to the targets' centre, to the target in its slice and to the body's middle."""
    z, y, x = centroid_mm(Volume(scene.grid, scene.target))
    dz, dy, dx = (scene.grid.axis_mm(axis) - c for axis, c in enumerate((z, y, x)))
    body_y, body_x = _slice_centres(scene.outline.astype(np.float32), scene.grid)
    here_y, here_x = _slice_centres(scene.target, scene.grid)
    across = scene.grid.axis_mm(2)[None, None, :]
    back = scene.grid.axis_mm(1)[None, :, None]
    radius = np.sqrt(dy[:, None] ** 2 + dx[None, :] ** 2)
    columns = {
        "head_of_targets_mm": dz[:, None, None],
        "behind_targets_mm": dy[None, :, None],
        "beside_targets_mm": np.abs(dx)[None, None, :],
        "radius_mm": radius[None],
        "behind_slice_target_mm": back - here_y,
        "beside_slice_target_mm": np.abs(across - here_x),
        "behind_body_middle_mm": back - body_y,
        "beside_body_middle_mm": np.abs(across - body_x),
    }
    return {name: column.astype(np.float32) for name, column in columns.items()}


def _slice_centres(fraction: FloatArray, grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre of gravity (y, x) in each slice, (z, 1, 1); NaN where a slice holds nothing."""
    total = fraction.sum(axis=(1, 2), dtype=np.float64)
    total[total == 0] = np.nan
    y = fraction.sum(axis=2, dtype=np.float64) @ grid.axis_mm(1) / total
    x = fraction.sum(axis=1, dtype=np.float64) @ grid.axis_mm(2) / total
    return y[:, None, None], x[:, None, None]


def _organ_columns(scene: _Scene, settings: FeatureSettings) -> dict[str, FloatArray]:
    distance = {name: signed_distance_mm(f, scene.grid, settings.clip_mm) for name, f in scene.organs.items()}
    paired = {name for pair in settings.pairs for name in pair}
    columns = {f"distance_{n}": distance.get(n, _absent(scene.grid)) for n in settings.organs if n not in paired}
    for pair in settings.pairs:
        stem = "_".join(part for part in pair[0].split("_") if part not in {"L", "R"})
        both = [distance[name] for name in pair if name in distance]
        columns[f"distance_{stem}_nearer"] = np.min(both, axis=0) if both else _absent(scene.grid)
        columns[f"distance_{stem}_farther"] = np.max(both, axis=0) if len(both) == 2 else _absent(scene.grid)
    return columns


def _beam_columns(
    scene: _Scene, columns: dict[str, FloatArray], angles_deg: Sequence[float], settings: FeatureSettings
) -> dict[str, FloatArray]:
    """Beam's-eye views, and the dose of a quick inverse plan with its neighbourhood."""
    density = relative_density(scene.ct, scene.outline)
    beams = place_beams(
        density,
        scene.body,
        scene.target > 0,
        thinned_angles(angles_deg),
        centroid_mm(Volume(scene.grid, scene.target)),
    )
    fractions = {name: scene.levels.get(name, np.zeros_like(scene.target)) for name in LEVELS}
    maps = view_maps(beams, fractions)
    return maps | _plan_columns(beams, scene, columns, settings)


def _plan_columns(
    beams: Beams, scene: _Scene, columns: dict[str, FloatArray], settings: FeatureSettings
) -> dict[str, FloatArray]:
    """Doses of quick inverse plans that spare nothing in particular, and the organs; and what lies round the latter."""
    healthy = np.where(scene.outline, np.float32(settings.healthy_importance), np.float32(0))
    sparing = healthy.copy()
    for name, cost in settings.importance.items():
        if name in scene.organs:
            sparing[(scene.organs[name] >= 0.5) & scene.outline] = cost
    wanted, distance = columns["prescribed"], columns["distance_any"]
    maps = {
        "plan_sharp": planned_dose(beams, wanted, distance, healthy / 2, 4.0),
        "plan_sparing": planned_dose(beams, wanted, distance, sparing, 6.0),
        "plan_soft": planned_dose(beams, wanted, distance, 2 * sparing, 9.0),
    }
    for name, width_mm in (("plan_near", 6.0), ("plan_round", 15.0)):
        sigma = [width_mm / step for step in scene.grid.spacing_mm]
        maps[name] = gaussian_filter(maps["plan_sparing"], sigma, mode="nearest", truncate=2.5)
    return maps
