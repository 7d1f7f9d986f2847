"""Gantry angles of a machine <-> those that a head-first supine patient would see from the same side.

From IEC 61217: at gantry angle g the source lies at (sin g, cos g) of (room x, up). Lying prone turns the patient by
180 degrees about z, lying feet first exchanges left and right of the room. Angles of a Case are those of a patient who
lies head first supine, so that they hold in LPS. Degrees, 0 <= angle < 360.
"""

from __future__ import annotations

from typing import Final

_TURNS: Final = {"HFS": (1, 0.0), "HFP": (1, 180.0), "FFS": (-1, 0.0), "FFP": (-1, 180.0)}
"""By patient position, sign and turn: seen = sign * machine + turn."""

FEWEST_IN_ARC: Final = 12
"""Fewer directions are static fields, however equally they are spaced."""
COARSE_STEP_DEG: Final = (3.0, 10.0)
"""Control points so far apart are the directions that an arc was computed for."""


def seen_supine(machine_deg: float, patient_position: str) -> float:
    """The angle of a Case for a gantry angle of the machine; a position that is not known counts as HFS."""
    sign, turn = _TURNS.get(patient_position, (1, 0.0))
    return (sign * machine_deg + turn) % 360.0


def on_machine(seen_deg: float, patient_position: str) -> float:
    """The gantry angle of the machine for an angle of a Case: the inverse of `seen_supine`."""
    sign, turn = _TURNS.get(patient_position, (1, 0.0))
    return sign * (seen_deg - turn) % 360.0
