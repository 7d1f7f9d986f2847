"""Constants of the normalisation that cannot be are refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from vmat_rt.nn.scene import Normalisation


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"absent": 1.0}, "outside"),
        ({"absent": -0.5}, "outside"),
        ({"hu_window": (100.0, 100.0)}, "ascend"),
        ({"hu_window": (500.0, -500.0)}, "ascend"),
        ({"distance_mm": 0}, "greater than 0"),
        ({"chord_cm": -1}, "greater than 0"),
        ({"dose_gy": 0}, "greater than 0"),
        ({"fractions": 0}, "greater than 0"),
        ({"window": 1}, "not permitted"),
    ],
)
def test_constants_that_cannot_be_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Normalisation.model_validate(settings)


def test_constants_survive_the_bundle() -> None:
    own = Normalisation(hu_window=(-500, 800), absent=-3.0)
    assert Normalisation.model_validate_json(own.model_dump_json()) == own
