"""A dose in one RTDOSE file per plane is the dose; what does not fit it is not taken for a plane."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from tests.dicom_phantom import Phantom, edited, write_study
from vmat_rt.dicom.dose import read_dose
from vmat_rt.dicom.study import read_study


def in_planes(phantom: Phantom, change: Callable[[FileDataset, int], None] = lambda _ds, _k: None) -> list[Path]:
    """The phantom's dose as old systems write it: a file for each plane, in no order of names."""
    with edited(phantom.dose_file) as ds:
        frames, values = int(ds.NumberOfFrames), ds.PixelData
        offsets, position = [float(v) for v in ds.GridFrameOffsetVector], [float(v) for v in ds.ImagePositionPatient]
    made = []
    size = len(values) // frames
    for k in range(frames):
        path = phantom.folder / f"rd{(7 * k) % frames:02d}_{k}.dcm"
        with edited(phantom.dose_file, path) as ds:
            ds.SOPInstanceUID = phantom.options.uid(f"plane {k}")
            ds.NumberOfFrames, ds.PixelData = 1, values[k * size : (k + 1) * size]
            del ds.GridFrameOffsetVector
            ds.ImagePositionPatient = [*position[:2], position[2] + offsets[k]]
            change(ds, k)
        made.append(path)
    phantom.dose_file.unlink()
    return made


@pytest.fixture
def phantom(tmp_path: Path) -> Phantom:
    return write_study(tmp_path / "study", plan=True, dose=True)


def test_planes_in_files_of_their_own_are_one_dose(phantom: Phantom) -> None:
    whole = read_dose(phantom.dose_file)
    paths = in_planes(phantom)
    for path in (paths[0], paths[3]):
        found = read_dose(path)
        np.testing.assert_array_equal(found.volume.array, whole.volume.array)
        assert found.volume.grid == whole.volume.grid
        assert [problem.code for problem in found.problems] == ["DOSE_PLANES"]


def test_a_study_takes_such_a_dose_for_the_plans(phantom: Phantom) -> None:
    whole = read_dose(phantom.dose_file).volume
    in_planes(phantom)
    study = read_study(phantom.folder)
    assert study.dose is not None
    np.testing.assert_array_equal(study.dose.volume.array, whole.array)
    assert "DOSE_PLANES" in {problem.code for problem in study.problems}


def _other_beam(ds: FileDataset, k: int) -> None:
    ds.DoseSummationType = "BEAM" if k % 2 else "PLAN"


def _beside(ds: FileDataset, k: int) -> None:
    ds.ImagePositionPatient = [float(ds.ImagePositionPatient[0]) + 3 * k, *ds.ImagePositionPatient[1:]]


def _at_one_place(ds: FileDataset, _k: int) -> None:
    ds.ImagePositionPatient = [0, 0, 0]


@pytest.mark.parametrize("change", [_beside, _at_one_place])
def test_files_that_do_not_lie_above_one_another_are_no_planes(
    phantom: Phantom, change: Callable[[FileDataset, int], None]
) -> None:
    in_planes(phantom, change)
    study = read_study(phantom.folder)
    assert study.dose is None
    assert "SEVERAL_DOSES" in {problem.code for problem in study.problems}


def test_planes_of_beams_are_not_mixed_with_those_of_the_plan(phantom: Phantom) -> None:
    paths = in_planes(phantom, _other_beam)
    depths = {len(read_dose(path).volume.grid.axis_mm(0)) for path in paths}
    assert max(depths) < len(paths)
