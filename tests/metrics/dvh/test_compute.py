"""DVH metrics of known solids in known doses, and what has none.

Covers vmat_rt.metrics.dvh.evaluation.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from tests.metrics.solids import (
    BASE_GY,
    CENTRE,
    CONE,
    GRADIENTS,
    SLOPE_GY_MM,
    SOLIDS,
    SPHERE,
    box_structure,
    contours_of,
    dose_grid,
    linear_dose,
    stated_gy,
    uniform_dose,
)
from vmat_rt.case import Structure, Volume
from vmat_rt.errors import ConfigError, GeometryError, InputError
from vmat_rt.metrics.dvh.compute import compute_dvh, compute_dvhs, compute_isodose_volume_cc, key_by_structure_name
from vmat_rt.metrics.dvh.convergence import Accuracy


def test_closed_forms_over_all_spacings() -> None:
    errors: dict[float, list[float]] = {}
    volumes = []
    for spacing, solid, gradient, dose_mm in itertools.product(
        (1.0, 1.5, 2.0, 3.0), SOLIDS, GRADIENTS, (1.0, 2.0, 3.0)
    ):
        dvh = compute_dvh(contours_of(solid, spacing), linear_dose(gradient, dose_mm), metrics=["D95%", "D50%", "D2%"])
        for metric, truth in zip(("D95%", "D50%", "D2%"), solid.dose_at(gradient, (0.95, 0.5, 0.02)), strict=True):
            errors.setdefault(spacing, []).append(100 * abs(dvh.value(metric) / truth - 1))
        volumes.append(100 * abs(dvh.volume_cc / solid.volume_cc - 1))
    everything = [e for some in errors.values() for e in some]
    assert np.median(everything) <= 1.0
    assert max(errors[3.0]) <= 5.0
    assert max(errors[1.0]) <= 1.5
    assert np.median(volumes) <= 0.5


@pytest.mark.parametrize(("gradient", "half_mm"), [("along", 10.0), ("across", 15.0)])
def test_box_in_a_gradient_is_a_straight_line(gradient: str, half_mm: float) -> None:
    z, y, x = CENTRE
    dvh = compute_dvh(box_structure((z - 10, y - 12, x - 15), (z + 10, y + 12, x + 15)), linear_dose(gradient, 3.0))
    reach = SLOPE_GY_MM * half_mm
    assert dvh.volume_cc == pytest.approx(20 * 24 * 30 / 1000, rel=1e-6)
    assert dvh.value("Dmin") == pytest.approx(BASE_GY - reach, abs=1e-3)
    assert dvh.value("Dmax") == pytest.approx(BASE_GY + reach, abs=1e-3)
    assert dvh.value("Dmean") == pytest.approx(BASE_GY, abs=0.01)
    for percent in (1, 5, 25, 75, 95, 99):
        truth = BASE_GY + reach * (1 - percent / 50)
        assert dvh.value(f"D{percent}%") == pytest.approx(truth, abs=stated_gy(dvh)), percent
    stated_percent = Accuracy().volume_percent
    assert dvh.value("V50Gy") == pytest.approx(50, abs=stated_percent)
    assert dvh.value("V50Gy[cc]") == pytest.approx(7.2, abs=stated_percent / 100 * dvh.volume_cc)
    assert dvh.value("V100%", 50.0) == pytest.approx(50, abs=stated_percent)
    a, b = BASE_GY - reach, BASE_GY + reach
    assert dvh.value("gEUD[a=8]") == pytest.approx(((b**9 - a**9) / (9 * (b - a))) ** (1 / 8), rel=1e-3)
    assert dvh.value("gEUD[a=1]") == dvh.value("Dmean")
    assert dvh.value("HI") == pytest.approx(2 * reach * 0.96 / BASE_GY, rel=5e-3)


def test_uniform_dose_is_reached_everywhere() -> None:
    dvh = compute_dvh(contours_of(SPHERE, 3.0), uniform_dose(70.0), prescription_gy=70.0)
    for metric in ("D95%", "D0.03cc", "Dmean", "Dmin", "Dmax", "Dmedian", "gEUD[a=-10]", "gEUD[a=12]"):
        assert dvh.value(metric) == pytest.approx(70, rel=1e-6), metric
    assert dvh.value("V70Gy") == 100
    assert dvh.value("V100%") == 100
    assert dvh.value("V70.1Gy") == 0
    assert dvh.value("HI") == 0


def test_zero_dose_is_zero_not_unknown() -> None:
    dvh = compute_dvh(contours_of(SPHERE, 3.0), uniform_dose(0.0))
    assert dvh.value("Dmax") == 0
    assert dvh.value("V1Gy") == 0
    assert dvh.value("V0Gy") == 100
    assert dvh.value("gEUD[a=-5]") == 0
    assert dvh.value("HI") is None


def test_conformity_of_a_sphere_in_its_own_isodose() -> None:
    grid = dose_grid(2.0)
    z, y, x = (grid.axis_mm(a) - CENTRE[a] for a in range(3))
    radius = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    dose = Volume(grid, np.maximum(0, 70 - 1.5 * (radius - 25)).astype(np.float32))
    assert compute_isodose_volume_cc(dose, 70.0) == pytest.approx(4 / 3 * np.pi * 25**3 / 1000, rel=0.01)
    dvh = compute_dvh(contours_of(SPHERE, 2.0), dose, metrics=["CI", "D95%"], prescription_gy=70.0)
    assert dvh.value("CI") == pytest.approx((22 / 25) ** 3, rel=0.01)
    assert dvh.value("CI", 60.0) is None
    assert compute_dvh(contours_of(SPHERE, 2.0), dose).value("CI") is None


def test_structure_beyond_the_dose_grid_has_no_metrics() -> None:
    dose = linear_dose("across", 2.0)
    most_out = contours_of(SPHERE, 2.0, centre=(CENTRE[0], CENTRE[1], dose.grid.bounds_mm[1][2] + 2))
    dvh = compute_dvh(most_out, dose)
    assert dvh.covered_fraction == pytest.approx(SPHERE.share_beyond("across", 2.0), abs=1e-3)
    assert dvh.value("Dmean") is None
    assert "% of it lies in the dose grid" in dvh.read("Dmax").reason
    outside = compute_dvh(contours_of(SPHERE, 2.0, centre=(900.0, 0.0, 0.0)), dose)
    assert outside.covered_fraction == 0
    assert outside.value("Dmax") is None
    assert "outside" in outside.read("Dmax").reason
    assert np.isnan(outside.curve([1.0])).all()


def test_roi_without_contours_is_listed_without_values() -> None:
    dvhs = compute_dvhs([Structure("points", None, None), contours_of(SPHERE, 2.0)], uniform_dose(10.0))
    assert list(dvhs) == ["points", "sphere"]
    assert dvhs["points"].values(["Dmean", "V1Gy"]) == {"Dmean": None, "V1Gy": None}
    assert "no closed contours" in dvhs["points"].reason


def test_two_rois_of_one_name_are_both_there() -> None:
    first, second = contours_of(SPHERE, 2.0), replace(contours_of(CONE, 2.0), roi_name="sphere", number=9)
    assert list(compute_dvhs([first, second], uniform_dose(10.0))) == ["sphere", "sphere (ROI 9)"]


def test_prescription_is_looked_up_by_name_else_the_highest() -> None:
    target = replace(contours_of(SPHERE, 2.0), name="PTV_5600", roi_name="ptv56")
    dvhs = compute_dvhs(
        [target, contours_of(CONE, 2.0)], uniform_dose(56.0), prescription_gy={"PTV_5600": 56, "PTV_7000": 70}
    )
    assert dvhs["ptv56"].value("V100%") == 100
    assert dvhs["cone"].value("V100%") == 0
    assert dvhs["cone"].value("D50%[%]") == pytest.approx(80)
    assert compute_dvh(target, uniform_dose(56.0)).value("V95%") is None


def test_what_is_no_dose_is_named_with_its_voxels() -> None:
    dose = uniform_dose(30.0)
    array = dose.array.copy()
    array[0, 0, :3] = np.nan
    array[1, 1, :2] = -0.5
    with pytest.raises(InputError) as caught:
        compute_dvh(contours_of(SPHERE, 2.0), Volume(dose.grid, array))
    assert [p.code for p in caught.value.problems] == ["DOSE_NAN", "DOSE_NEGATIVE"]
    assert "3 of" in caught.value.problems[0].message
    assert "2 of" in caught.value.problems[1].message
    assert "-0.5" in caught.value.problems[1].message


@pytest.mark.parametrize("voxels", [False, True])
def test_two_frames_never_meet(voxels: bool) -> None:
    dose = uniform_dose(30.0)
    other = Volume(replace(dose.grid, frame_uid="9.9"), dose.array)
    structure = Structure("v", None, dose) if voxels else contours_of(SPHERE, 2.0)
    with pytest.raises(GeometryError):
        compute_dvh(structure, other)


def test_a_metric_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError):
        compute_dvh(contours_of(SPHERE, 2.0), uniform_dose(1.0)).value("D95")


@pytest.mark.parametrize(
    ("rois", "labels"),
    [
        ([("Rektum", "Rectum"), ("Marker", None)], ["Rectum", "Marker"]),
        ([("A", "Rectum"), ("B", "Rectum")], ["Rectum", "B"]),
        ([("Rectum", None), ("Rektum", "Rectum")], ["Rectum (as found)", "Rectum"]),
        ([("Rectum", "Rectum"), ("Rectum", None)], ["Rectum", "Rectum (ROI 1)"]),
    ],
)
def test_dvhs_by_structure_name_lose_none(rois: list[tuple[str, str | None]], labels: list[str]) -> None:
    box = box_structure((-4.0, -4.0, -4.0), (4.0, 4.0, 4.0))
    structures = [replace(box, roi_name=roi_name, name=name) for roi_name, name in rois]
    dvhs = compute_dvhs(structures, uniform_dose(2.0), metrics=["Dmean"])
    named = key_by_structure_name(dvhs)
    assert list(named) == labels
    assert list(named.values()) == list(dvhs.values())
