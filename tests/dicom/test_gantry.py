"""Gantry angles against the place of the source in the patient, from IEC 61217 and the patient's axes."""

from __future__ import annotations

import math

import pytest

from vmat_rt.dicom.gantry import on_machine, seen_supine

# Left and back of a patient by position, in the room: x as IEC 61217 has it, y up.
LEFT = {"HFS": (1, 0), "HFP": (-1, 0), "FFS": (-1, 0), "FFP": (1, 0)}
BACK = {"HFS": (0, -1), "HFP": (0, 1), "FFS": (0, -1), "FFP": (0, 1)}


@pytest.mark.parametrize("position", sorted(LEFT))
@pytest.mark.parametrize("angle", [0.0, 37.5, 90.0, 181.0, 359.9])
def test_the_source_is_where_a_supine_patient_would_see_it(angle: float, position: str) -> None:
    """Seen at g by HFS, the source lies at L = sin g, P = -cos g."""
    room = (math.sin(math.radians(angle)), math.cos(math.radians(angle)))
    left = sum(a * b for a, b in zip(room, LEFT[position], strict=True))
    back = sum(a * b for a, b in zip(room, BACK[position], strict=True))
    seen = math.radians(seen_supine(angle, position))
    assert (math.sin(seen), -math.cos(seen)) == pytest.approx((left, back), abs=1e-12)


@pytest.mark.parametrize("position", [*sorted(LEFT), "unknown"])
@pytest.mark.parametrize("angle", [0.0, 12.25, 180.0, 270.5])
def test_one_is_the_inverse_of_the_other(angle: float, position: str) -> None:
    assert on_machine(seen_supine(angle, position), position) == pytest.approx(angle)
    assert 0 <= seen_supine(angle, position) < 360
