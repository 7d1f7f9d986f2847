"""Equally spaced gantry angles -> the control points of one arc (PS3.3 C.8.8.14).

An arc of a simulated plan is a stand-in: one ideal fluence an angle, no leaves, no monitor units. Its control points
stand at exactly these angles and share the meterset equally, so a reader finds the directions and nothing that could
be delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from pydicom.dataset import Dataset

from vmat_rt.dicom.gantry import COARSE_STEP_DEG, FEWEST_IN_ARC
from vmat_rt.dicom.write.layout import decimal_string

_EQUAL_DEG: Final = 0.01
_BOTTOM_DEG: Final = 180.0


@dataclass(frozen=True)
class Arc:
    """Gantry angles in the order in which they are passed, IEC 61217, and the way of turning (CW: upwards)."""

    angles_deg: tuple[float, ...]
    turning: Literal["CW", "CC"]


def find_arc(angles_deg: Sequence[float]) -> Arc | None:
    """The arc through these angles, or None where they are too few or not equally spaced.

    Neighbours are equally far apart all round, or but for one gap: the part that is not irradiated. A full turn begins
    and ends next to 180 degrees, where machines have their stop. It turns as the angles were given: CC only when they
    fall from one to the next.
    """
    given = np.mod(np.asarray(angles_deg, np.float64), 360.0)
    order = np.unique(np.round(given, 9) % 360.0)
    if len(order) < FEWEST_IN_ARC:
        return None
    steps = np.mod(np.diff(order, append=order[0]), 360.0)
    step = float(np.median(steps))
    unequal = np.flatnonzero(np.abs(steps - step) > _EQUAL_DEG)
    if len(unequal) > 1 or not COARSE_STEP_DEG[0] <= step <= COARSE_STEP_DEG[1]:
        return None
    # The last angle before the gap; of a full turn the last one that is not beyond the stop.
    last = int(unequal[0]) if len(unequal) else int(np.searchsorted(order, _BOTTOM_DEG, side="right")) - 1
    upwards = tuple(np.roll(order, -(last + 1)).tolist())
    falling = np.median((np.diff(given) + 180.0) % 360.0 - 180.0) < 0
    return Arc(upwards[::-1], "CC") if falling else Arc(upwards, "CW")


def arc_control_points(arc: Arc, first: Dataset) -> list[Dataset]:
    """One control point an angle. `first` is that of an open static beam and says what never changes."""
    count = len(arc.angles_deg)
    first.GantryAngle = decimal_string(arc.angles_deg[0])
    first.GantryRotationDirection = arc.turning
    points = [first]
    for index, angle in enumerate(arc.angles_deg[1:], 1):
        point = Dataset()
        point.ControlPointIndex = index
        point.CumulativeMetersetWeight = decimal_string(index / (count - 1))
        point.GantryAngle = decimal_string(angle)
        points.append(point)
    points[-1].GantryRotationDirection = "NONE"
    return points
