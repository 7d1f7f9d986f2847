"""Slices that got a series each are one CT again; what does not belong together stays apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.dicom.studies import refusal, warning_codes
from tests.dicom_phantom import Phantom, edited, write_study
from vmat_rt.dicom.study import find_studies, read_study


def series_per_slice(phantom: Phantom) -> None:
    for k, path in enumerate(phantom.ct_files):
        with edited(path) as ds:
            ds.SeriesInstanceUID = phantom.options.uid(f"series {k}")


def test_a_series_per_slice_is_one_ct(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    series_per_slice(phantom)
    (entry,) = find_studies(tmp_path)
    study = read_study(tmp_path)
    assert warning_codes(study) == ["CT_SERIES_PER_SLICE"]
    assert f"{len(phantom.ct_files)} CT slices" in study.problems[0].message
    assert study.ct is not None
    np.testing.assert_array_equal(study.ct.volume.array, phantom.hu)
    assert entry.series_uid == study.ct.series_uid
    assert read_study(tmp_path, series_uid=entry.series_uid).key == study.key


def test_the_key_does_not_depend_on_file_names(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    series_per_slice(phantom)
    key = read_study(tmp_path).key
    for k, path in enumerate(phantom.ct_files):
        path.rename(path.with_name(f"renamed {97 * k % 101}.dcm"))
    assert read_study(tmp_path).key == key


def test_a_missing_slice_is_still_missing(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    series_per_slice(phantom)
    phantom.ct_files[5].unlink()
    assert "CT_GAP" in refusal(tmp_path)


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "PixelSpacing", "ImageOrientationPatient"])
def test_single_slices_that_do_not_fit_stay_apart(tmp_path: Path, keyword: str) -> None:
    """Three scouts at one place, say, or of other spacings, beside a whole CT."""
    phantom = write_study(tmp_path)
    values = {"PixelSpacing": 2.0, "ImagePositionPatient": 0.0, "ImageOrientationPatient": 1.0}
    for k, path in enumerate(phantom.ct_files[:3]):
        with edited(path, tmp_path / f"monitor{k}.dcm") as ds:
            ds.SeriesInstanceUID = phantom.options.uid(f"monitor series {k}")
            ds.SOPInstanceUID = phantom.options.uid(f"monitor {k}")
            if keyword == "PixelSpacing":
                ds.PixelSpacing = [values[keyword] + k / 10] * 2
            elif keyword == "ImagePositionPatient":
                ds.ImagePositionPatient = [0, 0, values[keyword]]
            else:
                ds.ImageOrientationPatient = [[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1]][k]
    study = read_study(tmp_path)
    assert warning_codes(study) == ["CT_SERIES_REFERRED"]
    assert study.ct is not None
    assert study.ct.series_uid == phantom.options.uid("CT")
