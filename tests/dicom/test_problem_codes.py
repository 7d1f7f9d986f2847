"""docs/problems.md lists every code that reading DICOM can give."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import vmat_rt.dicom

READERS = ("attributes", "ct", "dose", "files", "linking", "load", "pixels", "placement", "plan", "polygons")
READERS += ("prescription", "slice_gaps", "structures", "study")
DICOM_VALUES = {"CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "MULTI_PLAN", "OPEN_PORTFILM", "TRMT_PORTFILM", "MACHINE_QA"}
DICOM_VALUES |= {"TREATMENT_BEAM_DRR"}


@pytest.mark.parametrize("name", READERS)
def test_every_code_of_the_readers_is_documented(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "problems.md").read_text(encoding="utf-8")
    source = (Path(vmat_rt.dicom.__file__).parent / f"{name}.py").read_text(encoding="utf-8")
    codes = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', source)) - DICOM_VALUES
    assert codes
    assert not {code for code in codes if f"`{code}`" not in page}
