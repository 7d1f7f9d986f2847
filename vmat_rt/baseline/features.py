"""What the geometric predictor knows of a voxel: distances, gaps, depth, density and beams, all in mm, relative density
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
from scipy.ndimage import gaussian_filter

from vmat_rt.baseline.scene import LEVELS, FeatureScene, FeatureSettings, build_feature_scene
from vmat_rt.case import Case, FloatArray, Volume
from vmat_rt.geometry.beams import compute_centroid_mm, compute_relative_density, compute_view_maps, thin_angles
from vmat_rt.geometry.distance import signed_distance_mm
from vmat_rt.geometry.fluence import Wish, plan_doses
from vmat_rt.geometry.rays import Beams, place_beams
from vmat_rt.grid import Grid
from vmat_rt.system.threads import run_threads

IN_PLANE_CLIP_MM = 150.0

MOST_ANGLES = 18
"""Beams that stand for an arc: quick plans with more cost time and look the same."""


@dataclass(frozen=True)
class FeatureTable:
    """One row per voxel of the body: matrix float32 (voxels, names); body: the mask (z, y, x), rows in its C order."""

    names: tuple[str, ...]
    matrix: NDArray[np.float32]
    body: NDArray[np.bool_]


def compute_features(case: Case, grid: Grid, settings: FeatureSettings) -> FeatureTable:
    """The features of every body voxel of the grid. Raises InputError (NO_TARGET, NO_BODY) when the grid holds none."""
    scene, box = build_feature_scene(case, grid, settings)
    columns: dict[str, FloatArray] = {}
    columns |= _compute_level_columns(scene, settings)
    columns |= _compute_slice_columns(scene)
    columns |= _compute_place_columns(scene)
    columns |= _compute_organ_columns(scene, settings)
    columns["density"] = compute_relative_density(scene.ct, scene.outline).array
    if settings.beams:
        columns |= _compute_beam_columns(scene, columns, case.gantry_angles_deg or settings.angles_deg, settings)
    voxels = np.flatnonzero(scene.body)
    matrix = np.empty((len(voxels), len(columns)), np.float32)

    def fill(index: int, column: FloatArray) -> None:
        matrix[:, index] = np.take(np.broadcast_to(column, scene.grid.shape), voxels)

    run_threads(lambda item: fill(*item), enumerate(columns.values()))
    body = np.zeros(grid.shape, bool)
    body[box] = scene.body
    return FeatureTable(tuple(columns), matrix, body)


def _make_absent(grid: Grid) -> FloatArray:
    return np.full((grid.shape[0], 1, 1), np.nan, np.float32)


def _compute_level_columns(scene: FeatureScene, settings: FeatureSettings) -> dict[str, FloatArray]:
    """Distance and gap along z of each level; the dose prescribed here, and at the nearest level.

    Nothing says how large a whole target is: on a cohort this small such a number names the patient.
    """
    columns: dict[str, FloatArray] = {}
    prescribed = np.zeros(scene.grid.shape, np.float32)
    nearest = np.full(scene.grid.shape, np.inf, np.float32)
    nearest_dose = np.zeros(scene.grid.shape, np.float32)
    for name in LEVELS:
        if name not in scene.levels:
            absent = _make_absent(scene.grid)
            columns |= {f"distance_{name}": absent, f"axial_gap_{name}": absent}
            continue
        fraction, dose = scene.levels[name], np.float32(scene.level_doses[name])
        distance = signed_distance_mm(fraction, scene.grid, settings.clip_mm)
        columns[f"distance_{name}"] = distance
        columns[f"axial_gap_{name}"] = _compute_axial_gap(fraction, scene.grid)
        prescribed = np.where(fraction >= 0.5, np.maximum(prescribed, dose), prescribed)
        nearest_dose = np.where(distance < nearest, dose, nearest_dose)
        nearest = np.minimum(nearest, distance)
    union = signed_distance_mm(scene.target, scene.grid, settings.clip_mm)
    return columns | {"distance_any": union, "prescribed": prescribed, "nearest_prescribed": nearest_dose}


def _compute_axial_gap(fraction: FloatArray, grid: Grid) -> FloatArray:
    """Distance along z from each slice to the nearest one that holds the structure, mm; (z, 1, 1)."""
    held = grid.axis_mm(0)[(fraction >= 0.5).any(axis=(1, 2))]
    gap = np.abs(grid.axis_mm(0)[:, None] - held[None, :]).min(axis=1)
    return np.asarray(gap[:, None, None], np.float32)


def _compute_slice_columns(scene: FeatureScene) -> dict[str, FloatArray]:
    """Measure how much target a slice holds, and the distances within the slice."""
    pixel_cm2 = scene.grid.spacing_mm[1] * scene.grid.spacing_mm[2] / 100
    z = scene.grid.axis_mm(0)
    held = z[(scene.target >= 0.5).any(axis=(1, 2))]
    columns: dict[str, FloatArray] = {}
    for name, fraction in (("any", scene.target), ("high", scene.levels.get("high", np.zeros_like(scene.target)))):
        area = fraction.sum(axis=(1, 2), keepdims=True) * np.float32(pixel_cm2)
        columns[f"area_{name}_cm2"] = area.astype(np.float32)
    columns["in_plane_distance_any"] = _compute_in_plane_distance(scene.target, scene.grid)
    columns["above_targets_mm"] = (z - held[-1]).astype(np.float32)[:, None, None]
    columns["below_targets_mm"] = (held[0] - z).astype(np.float32)[:, None, None]
    # Within the slice: where a scan or OpenKBP's dose mask ends, the patient does not.
    columns["skin_depth_mm"] = -_compute_in_plane_distance(scene.outline.astype(np.float32), scene.grid)
    return columns


def _compute_in_plane_distance(fraction: FloatArray, grid: Grid) -> FloatArray:
    """Signed distance to the structure's outline within each slice, mm; IN_PLANE_CLIP_MM in slices without it.

    What lies beyond the box is outside: the box ends at the skin.
    """
    result = np.full(grid.shape, IN_PLANE_CLIP_MM, np.float32)
    padded = np.pad(fraction, ((0, 0), (1, 1), (1, 1)))
    spacing = (float(np.mean(grid.spacing_mm[1:])), *grid.spacing_mm[1:])
    one_slice = replace(grid, shape=(1, *padded.shape[1:]), spacing_mm=spacing)

    def fill(k: int) -> None:
        result[k] = signed_distance_mm(padded[k : k + 1], one_slice, IN_PLANE_CLIP_MM)[0, 1:-1, 1:-1]

    run_threads(fill, np.flatnonzero((fraction >= 0.5).any(axis=(1, 2))).tolist())
    return result


def _compute_place_columns(scene: FeatureScene) -> dict[str, FloatArray]:
    """Measure where a voxel lies relative to the targets' centre, the target in its slice and the body's middle."""
    z, y, x = compute_centroid_mm(Volume(scene.grid, scene.target))
    dz, dy, dx = (scene.grid.axis_mm(axis) - c for axis, c in enumerate((z, y, x)))
    body_y, body_x = _find_slice_centres(scene.outline.astype(np.float32), scene.grid)
    here_y, here_x = _find_slice_centres(scene.target, scene.grid)
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


def _find_slice_centres(fraction: FloatArray, grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre of gravity (y, x) in each slice, (z, 1, 1); NaN where a slice holds nothing."""
    total = fraction.sum(axis=(1, 2), dtype=np.float64)
    total[total == 0] = np.nan
    y = fraction.sum(axis=2, dtype=np.float64) @ grid.axis_mm(1) / total
    x = fraction.sum(axis=1, dtype=np.float64) @ grid.axis_mm(2) / total
    return y[:, None, None], x[:, None, None]


def _compute_organ_columns(scene: FeatureScene, settings: FeatureSettings) -> dict[str, FloatArray]:
    distance = {name: signed_distance_mm(f, scene.grid, settings.clip_mm) for name, f in scene.organs.items()}
    paired = {name for pair in settings.pairs for name in pair}
    columns = {f"distance_{n}": distance.get(n, _make_absent(scene.grid)) for n in settings.organs if n not in paired}
    for pair in settings.pairs:
        nearer, farther = _compute_pair_columns(pair)
        both = [distance[name] for name in pair if name in distance]
        columns[nearer] = np.min(both, axis=0) if both else _make_absent(scene.grid)
        columns[farther] = np.max(both, axis=0) if len(both) == 2 else _make_absent(scene.grid)
    return columns


def name_organ_columns(settings: FeatureSettings) -> tuple[tuple[str, ...], ...]:
    """The columns of each organ at risk: its distance, or the (nearer, farther) one of a pair."""
    paired = {name for pair in settings.pairs for name in pair}
    single = [(f"distance_{name}",) for name in settings.organs if name not in paired]
    return (*single, *(_compute_pair_columns(pair) for pair in settings.pairs))


def _compute_pair_columns(pair: tuple[str, str]) -> tuple[str, str]:
    stem = "_".join(part for part in pair[0].split("_") if part not in {"L", "R"})
    return f"distance_{stem}_nearer", f"distance_{stem}_farther"


def _compute_beam_columns(
    scene: FeatureScene, columns: dict[str, FloatArray], angles_deg: Sequence[float], settings: FeatureSettings
) -> dict[str, FloatArray]:
    """Beam's-eye views, and the dose of a quick inverse plan with its neighbourhood."""
    density = compute_relative_density(scene.ct, scene.outline)
    beams = place_beams(
        density,
        scene.body,
        scene.target > 0,
        thin_angles(angles_deg, MOST_ANGLES),
        compute_centroid_mm(Volume(scene.grid, scene.target)),
    )
    fractions = {name: scene.levels.get(name, np.zeros_like(scene.target)) for name in LEVELS}
    maps = compute_view_maps(beams, fractions)
    return maps | _compute_plan_columns(beams, scene, columns, settings)


def _compute_plan_columns(
    beams: Beams, scene: FeatureScene, columns: dict[str, FloatArray], settings: FeatureSettings
) -> dict[str, FloatArray]:
    """Doses of quick inverse plans that spare nothing in particular, and the organs; and what lies round the latter."""
    healthy = scene.outline * np.float32(settings.healthy_importance)
    sparing = healthy.copy()
    for name, cost in settings.importance.items():
        if name in scene.organs:
            sparing[(scene.organs[name] >= 0.5) & scene.outline] = cost
    wanted, distance = columns["prescribed"], columns["distance_any"]
    wishes = {
        "plan_sharp": Wish(np.float32(0.5) * healthy, 4.0),
        "plan_sparing": Wish(sparing, 6.0),
        "plan_soft": Wish(np.float32(2) * sparing, 9.0),
    }
    maps = plan_doses(beams, wanted, distance, wishes)
    for name, width_mm in (("plan_near", 6.0), ("plan_round", 15.0)):
        sigma = [width_mm / step for step in scene.grid.spacing_mm]
        maps[name] = gaussian_filter(maps["plan_sparing"], sigma, mode="nearest", truncate=2.5)
    return maps
