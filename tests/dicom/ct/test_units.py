"""What a CT says of its values, and air where air must be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.dicom.studies import refusal, warning_codes
from tests.dicom_phantom import Phantom, edited, write_study
from vmat_rt.dicom.ct.units import air_problems
from vmat_rt.dicom.study import read_study


def _of_type(phantom: Phantom, rescale_type: str) -> None:
    for path in phantom.ct_files:
        with edited(path) as ds:
            ds.RescaleType = rescale_type


@pytest.mark.parametrize("rescale_type", ["EDW", "ED", "Z_EFF", "MGML", "PCT", "SPR", "X" * 64])
def test_values_that_are_said_not_to_be_hu_are_refused(tmp_path: Path, rescale_type: str) -> None:
    phantom = write_study(tmp_path)
    _of_type(phantom, rescale_type)
    problem = refusal(tmp_path)["CT_RESCALE_TYPE"]
    assert rescale_type[:10] in problem.message
    assert read_study(tmp_path, need_ct=False).ct is None


@pytest.mark.parametrize(
    ("rescale_type", "codes"),
    [("HU", []), ("hu", []), ("", []), ("US", ["CT_RESCALE_TYPE"]), ("HU_MOD", ["CT_RESCALE_TYPE"])],
)
def test_hu_pass_and_what_says_nothing_warns(tmp_path: Path, rescale_type: str, codes: list[str]) -> None:
    phantom = write_study(tmp_path)
    _of_type(phantom, rescale_type)
    assert warning_codes(read_study(tmp_path)) == codes


def test_one_slice_of_another_type_is_enough(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    with edited(phantom.ct_files[4]) as ds:
        ds.RescaleType = "EDW"
    assert "CT_RESCALE_TYPE" in refusal(tmp_path)


def test_a_lost_intercept_warns(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, signed=False)
    for path in phantom.ct_files:
        with edited(path) as ds:
            ds.RescaleIntercept = 0
    assert warning_codes(read_study(tmp_path)) == ["CT_NO_AIR"]


def test_a_ct_that_the_patient_fills_needs_no_air() -> None:
    """Soft tissue, fat and lung all over, nothing even: a small field of view."""
    hu = np.random.default_rng(5).uniform(-400, 1200, (5, 40, 40)).astype(np.float32)
    assert air_problems(hu) == ()
    hu[:, :20] = -450
    assert [problem.code for problem in air_problems(hu)] == ["CT_NO_AIR"]
    hu[0, 0, 0] = -1000
    assert air_problems(hu) == ()
