"""From prescription, points and planner's style to objectives, in Gy in total.

Targets are planned larger by a rim, or their edges end up cold: a penumbra falls within them. Where an organ at risk
lies in a target's rim the target goes first. Limits outside follow the distance from each level: what a good arc can
reach, not zero, so that every penalty is a wish that can almost be met.

Priorities are the cost of one Gy^2 of mean squared excess. They were set once, by looking at doses and DVHs of a dozen
simulated patients, so that medians fall into the clinical ranges of vmat_rt.phantom.planning.acceptance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmat_rt.phantom.planning.objectives import Objectives, Penalty, make_penalty
from vmat_rt.phantom.planning.points import PlanPoints
from vmat_rt.phantom.planning.style import PlannerStyle

HIGH, LOW = "PTV_7000", "PTV_5600"
HIGH_GY, LOW_GY = 70.0, 56.0

# Of the prescribed dose: what the optimiser aims at so that coverage needs little scaling afterwards.
_HIGH_FLOOR, _LOW_FLOOR = 1.01, 1.02
_STEP_TOP, _LOW_CEILING = 1.03, 1.06
_STEP_MM = 6.0
"""From the high target's rim on, dose may fall over this distance from its level to the lower one's."""

_FALL_MM, _FAR_SHARE = 11.0, 0.44
"""Outside a target, dose may fall exponentially over _FALL_MM to _FAR_SHARE of its level."""

_SHELL_MM, _RING_MM = 8.0, 40.0

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class OrganWish:
    """Dose above limit_gy costs priority times the style's field `weight`; limit None is the style's for hips."""

    organ: str
    weight: str
    limit_gy: float | None
    priority: float


ORGAN_WISHES = (
    OrganWish("Rectum", "rectum_weight", 58.0, 2.0),
    OrganWish("Rectum", "rectum_weight", 40.0, 0.4),
    OrganWish("Rectum", "rectum_weight", 0.0, 0.15),
    OrganWish("Bladder", "bladder_weight", 58.0, 0.6),
    OrganWish("Bladder", "bladder_weight", 40.0, 0.1),
    OrganWish("Bladder", "bladder_weight", 0.0, 0.15),
    OrganWish("Bag_Bowel", "bowel_weight", 45.0, 20.0),
    OrganWish("Bag_Bowel", "bowel_weight", 25.0, 2.0),
    OrganWish("PenileBulb", "organ_weight", 40.0, 0.5),
    OrganWish("PenileBulb", "organ_weight", 0.0, 0.01),
    OrganWish("Femur_Head_L", "organ_weight", 20.0, 0.02),
    OrganWish("Femur_Head_R", "organ_weight", 20.0, 0.02),
    OrganWish("Femur_Head_L", "organ_weight", None, 100.0),
    OrganWish("Femur_Head_R", "organ_weight", None, 100.0),
)


@dataclass(frozen=True)
class Level:
    """One target: prescribed dose and distance of the points from its planned surface, mm, negative inside."""

    dose_gy: float
    distance_mm: Floats

    def allowed_gy(self) -> Floats:
        """Dose that the target may cause at each point outside it."""
        fall = np.exp(-np.maximum(self.distance_mm, 0.0) / _FALL_MM)
        return np.asarray(self.dose_gy * (_FAR_SHARE + (1 - _FAR_SHARE) * fall))


def make_objectives(points: PlanPoints, style: PlannerStyle) -> Objectives:
    """All wishes. points must know PTV_7000; PTV_5600 and organs count where they are there."""
    high = Level(HIGH_GY, points.distance_mm[HIGH] - style.rim_mm)
    levels, wishes = [high], _wish_for_high_target(points, style, high)
    if LOW in points.distance_mm:
        low = Level(LOW_GY, points.distance_mm[LOW] - style.rim_mm)
        levels.append(low)
        wishes += _wish_for_low_target(points, style, high, low)
    nearest_mm = np.minimum.reduce([level.distance_mm for level in levels])
    outside = points.volume_cc * (nearest_mm > 0)
    wishes += _wish_for_fall_off(style, outside, nearest_mm, levels)
    wishes += _wish_for_organs(points, style, outside)
    return Objectives(tuple(wishes))


def _wish_for_high_target(points: PlanPoints, style: PlannerStyle, high: Level) -> list[Penalty]:
    inside = points.volume_cc * (high.distance_mm <= 0)
    priority = 10 * style.target_weight
    return [
        make_penalty("high target", "below", inside, _HIGH_FLOOR * high.dose_gy, priority),
        make_penalty("hot spots", "above", inside, style.hot_spot_gy, 15 * style.hot_spot_weight),
    ]


def _wish_for_low_target(points: PlanPoints, style: PlannerStyle, high: Level, low: Level) -> list[Penalty]:
    """The lower level outside the high target, with a ceiling that comes down with the distance from that."""
    inside = points.volume_cc * ((low.distance_mm <= 0) & (high.distance_mm > 0))
    share = np.clip(high.distance_mm / _STEP_MM, 0.0, 1.0)
    ceiling = (1 - share) * _STEP_TOP * high.dose_gy + share * _LOW_CEILING * low.dose_gy
    return [
        make_penalty("low target", "below", inside, _LOW_FLOOR * low.dose_gy, 15 * style.target_weight),
        make_penalty("low target", "above", inside, ceiling, 10 * style.conformity_weight),
    ]


def _wish_for_fall_off(style: PlannerStyle, outside: Floats, nearest_mm: Floats, levels: list[Level]) -> list[Penalty]:
    """Next to the targets, round them, and everywhere else."""
    allowed = np.maximum.reduce([level.allowed_gy() for level in levels])
    shell = outside * (nearest_mm <= _SHELL_MM)
    ring = outside * ((nearest_mm > _SHELL_MM) & (nearest_mm <= _RING_MM))
    far = outside * (nearest_mm > _RING_MM)
    return [
        make_penalty("conformity", "above", shell, allowed, 4 * style.conformity_weight),
        make_penalty("ring", "above", ring, allowed, 2 * style.ring_weight),
        make_penalty("tissue", "above", far, allowed, 2 * style.ring_weight),
        make_penalty("tissue", "above", outside, 0.0, 0.05),
    ]


def _wish_for_organs(points: PlanPoints, style: PlannerStyle, outside: Floats) -> list[Penalty]:
    wishes = []
    for wish in ORGAN_WISHES:
        if wish.organ in points.fraction:
            limit_gy = style.femoral_head_gy if wish.limit_gy is None else wish.limit_gy
            own = 1.0 if wish.weight == "organ_weight" else float(getattr(style, wish.weight))
            members = outside * points.fraction[wish.organ]
            priority = wish.priority * style.organ_weight * own
            wishes.append(make_penalty(wish.organ, "above", members, limit_gy, priority))
    return wishes
