"""A case as the geometric predictor sees it: targets by level, organs, outline and CT, on the part of a grid in use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vmat_rt.case import AIR_HU, Case, FloatArray, Volume
from vmat_rt.errors import ConfigError, InputError, Problem
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.geometry.resample import resample
from vmat_rt.grid import Box, Grid
from vmat_rt.naming import mirrored_name
from vmat_rt.protocol import Protocol
from vmat_rt.strict import Strict

LEVELS = ("high", "middle", "low")


class FeatureSettings(Strict):
    """Which structures are looked at and how; kept in the bundle, since a model holds for its own settings only.

    organs: TG-263 names; pairs: organs that are divided into a nearer and a farther one. level_bounds: a target
    belongs to the high level from the first share of the highest prescription, to the middle one from the second.
    importance: cost of dose in an organ for `plan_doses`, others have `healthy_importance`. angles_deg: gantry
    angles where the case brings none. beams: whether beam geometry is used at all.
    """

    organs: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    level_bounds: tuple[float, float] = (0.95, 0.85)
    clip_mm: float = 80.0
    importance: dict[str, float] = Field(default={})
    healthy_importance: float = 0.02
    angles_deg: tuple[float, ...]
    beams: bool = True


def choose_features(protocol: Protocol, beams: bool, importance: Mapping[str, float]) -> FeatureSettings:
    """All organs at risk of a protocol, sides paired. Raises ConfigError for an importance of any other."""
    organs = tuple(spec.name for spec in protocol.with_role("oar"))
    unknown = sorted(importance.keys() - set(organs))
    if unknown:
        raise ConfigError(f"{', '.join(unknown)}: no organ at risk of {protocol.name} is called so")
    pairs = [(name, mirrored_name(name)) for name in organs if mirrored_name(name) in organs]
    return FeatureSettings(
        organs=organs,
        pairs=tuple(pair for pair in pairs if pair[0] < pair[1]),
        importance=dict(importance),
        angles_deg=protocol.beam_angles.angles_deg(),
        beams=beams,
    )


@dataclass(frozen=True)
class FeatureScene:
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


def find_highest_target_gy(case: Case) -> float:
    """Highest prescription among the contoured targets, Gy: the unit in which dose is predicted."""
    targets = case.targets()
    if not targets:
        raise InputError(_report_no_target())
    return max(targets.values())


def _report_no_target() -> Problem:
    return Problem(
        "NO_TARGET",
        "No prescribed target lies on the model's grid.",
        "Contour a target that the protocol knows, or name yours in the protocol's aliases.",
    )


def build_feature_scene(case: Case, grid: Grid, settings: FeatureSettings) -> tuple[FeatureScene, Box]:
    levels, doses = _collect_levels(case, grid, settings)
    body = structure_fraction(case.body, grid) >= 0.5
    if not levels:
        raise InputError(_report_no_target())
    if not body.any():
        raise InputError(
            Problem("NO_BODY", "The body has no voxel on the model's grid.", "Check the External contour.")
        )
    outline = _find_outline(case, grid, body)
    box = grid.box_of(body | outline | (np.max(list(levels.values()), axis=0) > 0))
    assert box is not None, "there is a body"
    cropped = grid.part(box)
    organs = {}
    for name in settings.organs:
        if name in case.structures and case.structures[name].shape is not None:
            fraction = structure_fraction(case.structures[name], cropped)
            if fraction.any():
                organs[name] = fraction
    return (
        FeatureScene(
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


def _find_outline(case: Case, grid: Grid, body: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find where the patient ends: usually at the body; OpenKBP's body is where dose was, the outline beside it."""
    external = case.structures.get("External")
    if external is None or external.shape is None or external is case.body:
        return body
    outline = structure_fraction(external, grid) >= 0.5
    return outline if outline.any() else body


def _collect_levels(
    case: Case, grid: Grid, settings: FeatureSettings
) -> tuple[dict[str, FloatArray], dict[str, float]]:
    """Area fractions by level, each without the higher ones, and the relative dose of each (the highest in it)."""
    highest = find_highest_target_gy(case)
    taken = np.zeros(grid.shape, np.float32)
    levels: dict[str, FloatArray] = {}
    doses: dict[str, float] = {}
    for name, dose_gy in case.targets().items():
        level = LEVELS[sum(dose_gy / highest < bound for bound in settings.level_bounds)]
        own = np.minimum(structure_fraction(case.structures[name], grid), 1 - taken)
        # What the higher target leaves at its edge is not a target of its own.
        own[own < 0.5] = 0
        if own.any():
            levels[level] = np.maximum(levels[level], own) if level in levels else own
            doses[level] = max(doses.get(level, 0.0), dose_gy / highest)
            taken = np.maximum(taken, own)
    return levels, doses
