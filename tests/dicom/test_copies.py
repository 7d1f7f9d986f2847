"""One object in two files is one; two objects of one UID are a contradiction, however the files are called."""

from __future__ import annotations

import shutil
from pathlib import Path

import pydicom
import pytest

from tests.dicom.studies import refusal
from tests.dicom_phantom import Phantom, edited, write_study
from vmat_rt.dicom.study import find_studies, read_study

KINDS = ("CT", "RTSTRUCT", "RTPLAN", "RTDOSE")


def file_of(phantom: Phantom, kind: str) -> Path:
    return {
        "CT": phantom.ct_files[3],
        "RTSTRUCT": phantom.structures_file,
        "RTPLAN": phantom.plan_file,
        "RTDOSE": phantom.dose_file,
    }[kind]


def change(path: Path, to: Path) -> None:
    """A file of the same UID in which one thing differs."""
    with edited(path, to) as ds:
        if ds.Modality == "RTSTRUCT":
            contour = ds.ROIContourSequence[0].ContourSequence[0]
            contour.ContourData = [float(value) + 15 * (k % 3 == 0) for k, value in enumerate(contour.ContourData)]
        elif ds.Modality == "RTPLAN":
            ds.RTPlanLabel = "CHANGED"
        else:
            ds.PixelData = bytes(len(ds.PixelData))


@pytest.mark.parametrize("need_ct", [True, False])
@pytest.mark.parametrize("name", ["a_first.dcm", "zz_last.dcm", "CT/between.dcm"])
@pytest.mark.parametrize("kind", KINDS)
def test_two_contents_of_one_uid_are_refused_and_both_named(
    tmp_path: Path, kind: str, name: str, need_ct: bool
) -> None:
    phantom = write_study(tmp_path, plan=True, dose=True)
    path = file_of(phantom, kind)
    change(path, tmp_path / name)
    problem = refusal(tmp_path, need_ct=need_ct)["UID_TWICE"]
    assert problem.message.startswith(kind)
    assert repr(path.name) in problem.message
    assert repr(Path(name).name) in problem.message
    assert len(find_studies(tmp_path)) == 1


@pytest.mark.parametrize("meta", [False, True], ids=["same bytes", "other meta information"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_counts_once(tmp_path: Path, kind: str, meta: bool) -> None:
    phantom = write_study(tmp_path, plan=True, dose=True)
    path, copy = file_of(phantom, kind), tmp_path / "a copy.dcm"
    shutil.copy(path, copy)
    if meta:
        ds = pydicom.dcmread(copy)
        ds.file_meta.ImplementationVersionName, ds.preamble = "ARCHIVE", b"TIFF".ljust(128, b"\0")
        ds.save_as(copy)
        assert copy.read_bytes() != path.read_bytes()
    study = read_study(tmp_path)
    assert study.problems == ()
    assert study.ct is not None
    assert study.ct.volume.array.shape == phantom.grid.shape


def test_two_files_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    (tmp_path / "edited").mkdir()
    change(phantom.structures_file, tmp_path / "edited" / phantom.structures_file.name)
    assert "'rs.dcm' and 'rs.dcm' in different folders" in refusal(tmp_path)["UID_TWICE"].message


def test_the_remedy_works(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    change(phantom.structures_file, tmp_path / "edited.dcm")
    assert "Remove the one" in refusal(tmp_path)["UID_TWICE"].remedy
    (tmp_path / "edited.dcm").unlink()
    assert read_study(tmp_path).problems == ()
