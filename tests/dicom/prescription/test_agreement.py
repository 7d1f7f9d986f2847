"""Whether plan and CT mean one patient in one place."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from tests.dicom_phantom import edited, write_study
from vmat_rt.dicom.ct.read import read_ct
from vmat_rt.dicom.linking import find_studies
from vmat_rt.dicom.plan import read_plan
from vmat_rt.dicom.prescription.agreement import agreement_problems


def _frame(ds: Dataset) -> None:
    ds.FrameOfReferenceUID = "1.2.3"


def _position(ds: Dataset) -> None:
    ds.PatientSetupSequence[0].PatientPosition = "FFS"


def _isocentre(ds: Dataset) -> None:
    ds.BeamSequence[0].ControlPointSequence[0].IsocenterPosition = [0, 0, 900]


def _isocentre_empty(ds: Dataset) -> None:
    ds.BeamSequence[0].ControlPointSequence[0].IsocenterPosition = None


def _nothing_said(ds: Dataset) -> None:
    del ds.PatientSetupSequence, ds.FrameOfReferenceUID


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (lambda ds: None, []),
        (_nothing_said, []),
        (_isocentre_empty, []),
        (_frame, ["PLAN_OTHER_FRAME"]),
        (_position, ["PLAN_POSITION"]),
        (_isocentre, ["PLAN_ISOCENTRE"]),
    ],
)
def test_what_plan_and_ct_contradict_each_other_on_is_told(tmp_path: Path, change: object, codes: list[str]) -> None:
    phantom = write_study(tmp_path, plan=True)
    with edited(phantom.plan_file) as ds:
        change(ds)  # type: ignore[operator]
    ct = read_ct(find_studies(tmp_path)[0].ct)
    plan = read_plan(phantom.plan_file)
    assert [p.code for p in agreement_problems(plan, ct)] == codes
    assert agreement_problems(None, ct) == agreement_problems(plan, None) == ()
