"""`vmat_rt.gamma`: doses in any form, in closed form, and what cannot be placed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.metrics.doses import GRID, linear, volume
from vmat_rt.api import gamma
from vmat_rt.case import Volume
from vmat_rt.errors import ConfigError, InputError

SPACING_MM = GRID.spacing_mm


def flat(dose_gy: float) -> np.ndarray:
    return np.full(GRID.shape, dose_gy, np.float32)


class TestGamma:
    @pytest.mark.parametrize(("dose_percent", "expected"), [(3.0, 2 / 3), (2.0, 1.0), (1.25, 1.6)])
    def test_a_uniform_difference_is_measured_in_the_dose_criterion(self, dose_percent: float, expected: float) -> None:
        """2 % too much everywhere, and no distance finds anything better: gamma is 2 % over the criterion."""
        found = gamma(flat(50.0), flat(51.0), dose_percent, 3.0, spacing_mm=SPACING_MM)
        assert found.mean == pytest.approx(expected, rel=1e-4)
        np.testing.assert_allclose(found.map.array, expected, rtol=1e-4)

    def test_a_dose_agrees_with_itself(self) -> None:
        dose = linear(10.0, (0.3, 0.5, 0.2))
        found = gamma(dose, dose.array)
        assert (found.pass_rate_percent, found.mean) == (100, 0)
        assert found.criteria.label == "3 % / 3 mm global, above 10 %"

    @pytest.mark.parametrize(
        ("reference", "evaluation", "spacing_mm", "message"),
        [
            (flat(1), flat(1), None, "how large their voxels are"),
            (flat(1), flat(1)[1:], SPACING_MM, "the array has the shape"),
            (volume(flat(1)), flat(1), SPACING_MM, "the grid of a dose is known"),
            ("none.dcm", flat(1), None, "there is no file none.dcm"),
        ],
        ids=range(4),
    )
    def test_what_cannot_be_placed_is_refused(
        self, reference: Any, evaluation: Any, spacing_mm: Any, message: str
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            gamma(reference, evaluation, spacing_mm=spacing_mm)

    def test_two_frames_are_refused(self) -> None:
        with pytest.raises(InputError) as refusal:
            gamma(volume(flat(1)), Volume(replace(GRID, frame_uid="other"), flat(1)))
        assert refusal.value.problems[0].code == "DOSE_FRAME_MISMATCH"

    def test_criteria_without_meaning_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="must be positive"):
            gamma(flat(1), flat(1), dose_percent=0, spacing_mm=SPACING_MM)
