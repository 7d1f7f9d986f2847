"""Case.from_arrays: what it makes of numpy arrays, and that one call tells everything that is wrong with it.

Covers vmat_rt.assembly.values and vmat_rt.assembly.voxels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vmat_rt.case import Case, Volume
from vmat_rt.errors import ConfigError, InputError
from vmat_rt.geometry.rasterize import bounds_mm, structure_fraction, volume_cc
from vmat_rt.protocol import load_protocol

SHAPE = (12, 40, 44)


def arguments() -> dict[str, Any]:
    """A cylinder of water in air with a target and a rectum in it, (z, y, x) voxels of 3 x 5 x 5 mm."""
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    disc = np.broadcast_to(np.hypot(y - 20, x - 22) < 15, SHAPE)
    target, rectum = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    target[4:8, 18:23, 20:26] = True
    rectum[4:8, 24:28, 20:25] = True
    return {
        "ct_hu": np.where(disc, 0, -1000).astype(np.int16),
        "spacing_mm": (3.0, 5.0, 5.0),
        "origin_mm": (-30.0, -100.0, 12.5),
        "masks": {"PTV_7000": target, "Rectum": rectum, "External": disc.copy()},
        "prescription": {"PTV_7000": 70.0},
        "fractions": 28,
        "protocol": "prostate_70_28",
    }


def codes(**changes: object) -> list[str]:
    with pytest.raises(InputError) as refusal:
        Case.from_arrays(**{**arguments(), **changes})
    assert all(p.message.endswith((".", "!", "?")) and p.remedy.endswith(".") for p in refusal.value.problems)
    return sorted(problem.code for problem in refusal.value.problems)


def test_arrays_become_a_case_in_lps_millimetres() -> None:
    case = Case.from_arrays(**arguments())
    assert case.ct.grid.origin_mm == (-30.0, -100.0, 12.5)
    assert case.ct.grid.spacing_mm == (3.0, 5.0, 5.0)
    assert (case.protocol_name, case.targets(), case.prescription.fractions) == (
        "prostate_70_28",
        {"PTV_7000": 70.0},
        28,
    )
    assert volume_cc(case.structures["PTV_7000"]) == pytest.approx(4 * 5 * 6 * 0.075)
    low, high = bounds_mm(case.structures["PTV_7000"])
    assert low == pytest.approx((-30 + 3.5 * 3, -100 + 17.5 * 5, 12.5 + 19.5 * 5))
    assert high == pytest.approx((-30 + 7.5 * 3, -100 + 22.5 * 5, 12.5 + 25.5 * 5))
    assert case.body is case.structures["External"]
    assert case.problems == ()


def test_a_mask_holds_only_its_own_part_and_is_the_same_on_the_ct() -> None:
    given = arguments()
    case = Case.from_arrays(**given)
    for name, mask in given["masks"].items():
        np.testing.assert_allclose(structure_fraction(case.structures[name], case.ct.grid), mask, rtol=0, atol=1e-6)
    shape = case.structures["Rectum"].shape
    assert isinstance(shape, Volume)
    assert shape.array.size < 0.1 * np.prod(SHAPE)


def test_without_an_outline_the_body_is_found_in_the_ct() -> None:
    given = arguments()
    outline = given["masks"].pop("External")
    case = Case.from_arrays(**given)
    assert [problem.code for problem in case.problems] == ["NO_EXTERNAL"]
    found = structure_fraction(case.body, case.ct.grid) > 0.5
    assert np.count_nonzero(found & outline) > 0.95 * np.count_nonzero(outline)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float32, np.float64])
def test_masks_may_be_of_any_number(kind: type) -> None:
    given = arguments()
    given["masks"] = {name: mask.astype(kind) for name, mask in given["masks"].items()}
    assert volume_cc(Case.from_arrays(**given).structures["PTV_7000"]) == pytest.approx(9.0)


def test_aliases_count_and_the_protocol_follows_from_the_names() -> None:
    given = arguments()
    given["masks"] = {
        "ptv 70": given["masks"]["PTV_7000"],
        "recto": given["masks"]["Rectum"],
        "PTV56": given["masks"]["External"],
    }
    given |= {"protocol": None, "prescription": {"PTV 70": 70.0, "PTV_5600": 56.0}}
    case = Case.from_arrays(**given)
    assert case.protocol_name == "prostate_sib_70_56"
    assert set(case.structures) == {"PTV_7000", "Rectum", "PTV_5600"}


def test_the_protocol_prescribes_what_the_caller_leaves_out() -> None:
    case = Case.from_arrays(**{**arguments(), "prescription": {}, "fractions": None})
    assert dict(case.prescription.dose_gy) == {"PTV_7000": 70.0}
    assert case.prescription.fractions == load_protocol("prostate_70_28").fractions
    assert case.prescription.source == "protocol default"


def test_the_key_follows_from_the_content() -> None:
    given = arguments()
    first, again = Case.from_arrays(**given).key, Case.from_arrays(**given).key
    given["ct_hu"] = given["ct_hu"] + 1
    assert first == again != Case.from_arrays(**given).key
    assert Case.from_arrays(**{**given, "key": "patient-7"}).key == "patient-7"


def test_the_dose_comes_along() -> None:
    dose = np.full(SHAPE, 60.0)
    case = Case.from_arrays(**{**arguments(), "dose_gy": dose})
    assert case.reference_dose is not None
    assert case.reference_dose.array.dtype == np.float32
    assert case.reference_dose.grid == case.ct.grid


def test_all_mistakes_are_told_at_once() -> None:
    given = arguments()
    ct = given["ct_hu"] + 1000
    masks = {
        "PTV_7000": np.zeros(SHAPE, bool),
        "Rectom": given["masks"]["Rectum"],
        "Bladder": np.zeros((3, 4, 5)),
        "Femur_Head_L": np.full(SHAPE, 2),
    }
    found = codes(ct_hu=ct, masks=masks, dose_gy=np.full(SHAPE, np.nan), prescription={"PTV_7": 70, "PTV_7000": -1})
    assert found == [
        "ARRAY_SHAPE",
        "CT_NOT_HU",
        "DOSE_NAN",
        "MASK_INVALID",
        "NAME_UNKNOWN",
        "NAME_UNKNOWN",
        "PRESCRIPTION_INVALID",
        "STRUCTURE_EMPTY",
    ]


def test_an_unknown_name_gets_the_nearest_one() -> None:
    given = arguments()
    given["masks"]["Rectom"] = given["masks"].pop("Rectum")
    with pytest.raises(InputError, match=r"'Rectom'; did you mean Rectum\?"):
        Case.from_arrays(**given)


def test_a_name_of_another_site_is_unknown_too() -> None:
    given = arguments()
    given["masks"] |= dict.fromkeys(["Parotid_L", "Bladder", "Femur_Head_L"], given["masks"]["Rectum"])
    assert codes(masks=given["masks"], protocol=None) == ["NAME_UNKNOWN"]


def raised_by(change: Callable[[Any], Any]) -> Any:
    return change(arguments()["ct_hu"].astype(np.float32))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda hu: hu + 1024, "CT_NOT_HU"),
        (lambda hu: np.clip(hu, -160, 240), "CT_NOT_HU"),
        (lambda hu: hu / 1000, "CT_NOT_HU"),
        (lambda hu: hu * 100, "CT_NOT_HU"),
        (lambda hu: (hu + 65536) % 65536, "CT_NOT_HU"),
        (lambda hu: np.where(hu == 0, np.nan, hu), "VALUES_NOT_FINITE"),
        (lambda hu: np.where(hu == 0, np.inf, hu), "VALUES_NOT_FINITE"),
    ],
    ids=["offset", "clipped", "normalised", "scaled", "wrapped", "nan", "infinite"],
)
def test_a_ct_that_is_not_in_hu(change: Callable[[Any], Any], code: str) -> None:
    assert codes(ct_hu=raised_by(change)) == [code]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ct_hu": np.zeros((4, 4))}, ["ARRAY_SHAPE"]),
        ({"ct_hu": np.full(SHAPE, "x")}, ["ARRAY_SHAPE"]),
        ({"dose_gy": np.zeros((2, 2, 2))}, ["ARRAY_SHAPE"]),
        ({"dose_gy": np.full(SHAPE, -1.0)}, ["DOSE_NEGATIVE"]),
        ({"dose_gy": np.full(SHAPE, 7000.0)}, ["DOSE_SCALE"]),
        ({"spacing_mm": (0.003, 0.005, 0.005)}, ["SPACING_IMPLAUSIBLE"]),
        ({"spacing_mm": (3.0, 5.0)}, ["SPACING_IMPLAUSIBLE"]),
        ({"spacing_mm": (3.0, -5.0, 5.0)}, ["SPACING_IMPLAUSIBLE"]),
        ({"spacing_mm": (30.0, 5.0, 5.0)}, ["SPACING_IMPLAUSIBLE"]),
        ({"origin_mm": (0.0, np.nan, 0.0)}, ["SPACING_IMPLAUSIBLE"]),
        ({"masks": {}}, ["TARGET_MISSING"]),
        ({"prescription": {"Rectum": 70}}, ["NAME_UNKNOWN"]),
        ({"prescription": {"PTV_7000": 7000}}, ["PRESCRIPTION_INVALID"]),
        ({"prescription": {"PTV_7000": "70"}}, ["PRESCRIPTION_INVALID"]),
        ({"fractions": 0}, ["PRESCRIPTION_INVALID"]),
        ({"fractions": 2.5}, ["PRESCRIPTION_INVALID"]),
        ({"key": "../x"}, ["KEY_INVALID"]),
    ],
)
def test_what_is_refused(changes: dict[str, Any], expected: list[str]) -> None:
    assert codes(**changes) == expected


@pytest.mark.parametrize(
    ("mask", "code"),
    [
        (np.zeros(SHAPE), "STRUCTURE_EMPTY"),
        (np.full(SHAPE, 255, np.uint8), "MASK_INVALID"),
        (np.full(SHAPE, -0.5), "MASK_INVALID"),
        (np.full(SHAPE, np.nan), "MASK_INVALID"),
        (np.full(SHAPE, 1j), "MASK_INVALID"),
        (np.ones(SHAPE[::-1]), "ARRAY_SHAPE"),
    ],
    ids=["empty", "0 and 255", "negative", "nan", "complex", "turned"],
)
def test_a_mask_that_is_none(mask: np.ndarray, code: str) -> None:
    assert codes(masks={**arguments()["masks"], "Bladder": mask}) == [code]


def test_a_ct_without_a_patient_has_no_body() -> None:
    given = arguments()
    given["masks"].pop("External")
    assert codes(ct_hu=np.full(SHAPE, -1000), masks=given["masks"]) == ["NO_BODY"]


def test_a_protocol_that_is_not_there_is_a_configuration() -> None:
    with pytest.raises(ConfigError, match="no protocol is called"):
        Case.from_arrays(**{**arguments(), "protocol": "nowhere"})
