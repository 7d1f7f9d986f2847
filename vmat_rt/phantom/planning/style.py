"""How one simulated planner plans: the numbers that differ between people and departments, drawn per case.

Two like anatomies get different arcs, priorities and coverage, so that dose is not a function of anatomy and a network
cannot be exact, as it cannot be on clinical plans.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

from vmat_rt.phantom.anatomy.fields import Draws
from vmat_rt.phantom.anatomy.traits import Traits

_PARTIAL_SHARE = 0.2
_LATERAL_DEG = {"L": 90.0, "R": 270.0}
"""Gantry angles that face the patient's sides, head first supine."""


@dataclass(frozen=True)
class PlannerStyle:
    """One planner's choices. Weights are relative to the usual plan (1).

    beams gantry angles, equally spaced, from arc_start_deg over arc_extent_deg clockwise (IEC 61217; 360 is a full
    arc). coverage_percent of PTV_7000 gets the prescription. Targets are planned rim_mm larger. Dose in the high target
    is pressed below hot_spot_gy by hot_spot_weight; outside, ring_weight holds the fall-off with distance and
    conformity_weight the step from one level to the next. smoothness evens each beam's fluence.
    """

    beams: int
    arc_start_deg: float
    arc_extent_deg: float
    coverage_percent: float
    rim_mm: float
    hot_spot_gy: float
    hot_spot_weight: float
    rectum_weight: float
    bladder_weight: float
    bowel_weight: float
    femoral_head_gy: float
    ring_weight: float
    conformity_weight: float
    smoothness: float
    target_weight: float
    organ_weight: float = 1.0

    @property
    def angles_deg(self) -> tuple[float, ...]:
        """Gantry angles in the order of delivery, in [0, 360)."""
        full = self.arc_extent_deg >= 360
        step = self.arc_extent_deg / (self.beams if full else self.beams - 1)
        return tuple(round((self.arc_start_deg + i * step) % 360.0, 4) % 360.0 for i in range(self.beams))

    def make_firmer(self) -> PlannerStyle:
        """The same planner asked again for what was refused: targets and hot spots first, organs at risk second."""
        return replace(
            self,
            target_weight=3 * self.target_weight,
            organ_weight=0.5 * self.organ_weight,
            hot_spot_weight=3 * self.hot_spot_weight,
            hot_spot_gy=min(self.hot_spot_gy, 72.5),
            smoothness=0.5 * self.smoothness,
            coverage_percent=min(self.coverage_percent, 96.0),
        )


def draw_style(seed: int, key: str, traits: Traits) -> PlannerStyle:
    """The style that plans case `key` of the population `seed`; the same on every machine."""
    stream = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")
    draw = Draws(seed, stream)
    start, extent = _draw_arc(draw, traits)
    return PlannerStyle(
        beams=48 + int(draw.uniform(0.0, 24.999)),
        arc_start_deg=start,
        arc_extent_deg=extent,
        coverage_percent=draw.uniform(95.2, 97.8),
        rim_mm=draw.uniform(2.0, 3.0),
        hot_spot_gy=draw.uniform(71.8, 73.5),
        hot_spot_weight=_draw_about_one(draw, 2.0),
        rectum_weight=_draw_about_one(draw, 3.0),
        bladder_weight=_draw_about_one(draw, 3.0),
        bowel_weight=_draw_about_one(draw, 2.0),
        femoral_head_gy=draw.uniform(34.0, 45.0),
        ring_weight=_draw_about_one(draw, 2.5),
        conformity_weight=_draw_about_one(draw, 2.0),
        smoothness=_draw_about_one(draw, 2.0),
        target_weight=_draw_about_one(draw, 2.0),
    )


def _draw_arc(draw: Draws, traits: Traits) -> tuple[float, float]:
    """Start and extent, degrees. A planner does not shoot through a metal hip: the arc's gap faces it."""
    if traits.prosthesis_side is not None:
        extent = draw.uniform(290.0, 316.0)
        gap_centre = _LATERAL_DEG[traits.prosthesis_side]
    elif draw.chance(_PARTIAL_SHARE):
        extent = draw.uniform(210.0, 320.0)
        gap_centre = 180.0 + draw.uniform(-25.0, 25.0)
    else:
        return draw.uniform(0.0, 359.99), 360.0
    return (gap_centre + (360.0 - extent) / 2) % 360.0, extent


def _draw_about_one(draw: Draws, most: float) -> float:
    """Between 1 / most and most, as often below as above 1."""
    return round(math.exp(draw.uniform(-1.0, 1.0) * math.log(most)), 6)
