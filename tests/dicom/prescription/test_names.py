"""Doses in names of targets."""

from __future__ import annotations

import pytest

from vmat_rt.dicom.prescription.names import contradicts, named_doses_gy, names_dose


@pytest.mark.parametrize(
    ("name", "doses"),
    [
        ("PTV_7000", (70.0,)),
        ("PTV 70", (70.0,)),
        ("PTV70Gy", (70.0,)),
        ("PTV_50.4", (50.4,)),
        ("PTV 50,4 Gy", (50.4,)),
        ("PTV_6996cGy", (69.96,)),
        ("PTV60_20fx", (60.0,)),
        ("PTV_3625 5 Fractions", (36.25,)),
        ("PTV_70+5mm", (70.0,)),
        ("PTV 70 25mm", (70.0,)),
        ("PTV", ()),
        ("PTV1", ()),
        ("PTV_High", ()),
        ("PTV_20240131", ()),
        ("PTV 7 mm", ()),
    ],
)
def test_the_dose_that_a_name_says(name: str, doses: tuple[float, ...]) -> None:
    assert named_doses_gy(name) == doses


def test_a_name_without_dose_contradicts_nothing() -> None:
    assert not contradicts("PTV", 60.0)
    assert contradicts("PTV 70", 60.0)
    assert not contradicts("PTV 70", 70.2)
    assert names_dose("PTV_6996", 70.0)
