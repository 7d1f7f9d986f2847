"""What reading a study says, and second structure sets and series to choose from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dicom_phantom import Phantom, edited
from vmat_rt.dicom.study import Study, read_study
from vmat_rt.errors import InputError, Problem


def refusal(folder: Path, *chosen: str | None, need_ct: bool = True) -> dict[str, Problem]:
    with pytest.raises(InputError) as caught:
        read_study(folder, *chosen, need_ct=need_ct)
    return {problem.code: problem for problem in caught.value.problems}


def warning_codes(study: Study) -> list[str]:
    assert all(problem.severity == "warning" for problem in study.problems)
    return [problem.code for problem in study.problems]


def another_structure_set(phantom: Phantom) -> tuple[Path, str]:
    path, uid = phantom.folder / "rs2.dcm", phantom.options.uid("rs2")
    with edited(phantom.structures_file, path) as ds:
        ds.SOPInstanceUID, ds.StructureSetLabel = uid, "SECOND"
    return path, uid


def another_series(phantom: Phantom) -> str:
    uid = phantom.options.uid("CT2")
    for k, path in enumerate(phantom.ct_files):
        with edited(path, path.with_name(f"second{k}.dcm")) as ds:
            ds.SeriesInstanceUID, ds.SOPInstanceUID = uid, phantom.options.uid(f"second {k}")
    return uid
