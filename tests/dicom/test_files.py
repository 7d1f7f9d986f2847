"""Scanning folders: what is taken for what, and what is told of files that cannot be used."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import pydicom
import pytest

from tests.dicom_phantom import cut_short, edited, save, write_study
from vmat_rt.dicom.files import Kind, read_whole, scan_folder
from vmat_rt.dicom.study import find_studies, read_study
from vmat_rt.dicom.write.header import MANUFACTURER
from vmat_rt.dicom.write.uids import IMPLEMENTATION_UID
from vmat_rt.errors import InputError


def codes(folder: Path) -> set[str]:
    with pytest.raises(InputError) as caught:
        read_study(folder)
    return {problem.code for problem in caught.value.problems}


def test_nested_folders_odd_names_and_other_files(tmp_path: Path) -> None:
    phantom = write_study(tmp_path / "a", plan=True, dose=True)
    deep = tmp_path / "a" / "some where" / "é"
    deep.mkdir(parents=True)
    for k, path in enumerate(phantom.ct_files):
        path.rename(deep / f"IM{k}")
    (tmp_path / "a" / "notes.txt").write_text("DICM is not here")
    (tmp_path / "a" / "DICM").write_bytes(b"\0" * 128 + b"DICX")
    (tmp_path / "a" / ".hidden.dcm").write_bytes(b"")
    scan = scan_folder(tmp_path)
    assert [len(scan.of(kind)) for kind in Kind] == [11, 0, 1, 1, 1, 0]
    assert scan.others == 3
    assert scan.problems == ()


def test_a_loop_of_symbolic_links_ends_and_counts_each_file_once(tmp_path: Path) -> None:
    phantom = write_study(tmp_path / "study")
    (tmp_path / "study" / "CT" / "up").symlink_to(tmp_path / "study", target_is_directory=True)
    (tmp_path / "study" / "again.dcm").symlink_to(phantom.ct_files[0])
    (tmp_path / "study" / "broken.dcm").symlink_to(tmp_path / "nowhere")
    assert len(scan_folder(tmp_path / "study").of(Kind.CT)) == 11
    assert read_study(tmp_path / "study").ct is not None


def test_a_linked_folder_is_followed(tmp_path: Path) -> None:
    write_study(tmp_path / "elsewhere")
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "study").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert read_study(tmp_path / "inbox").ct is not None


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    write_study(tmp_path)
    os.mkfifo(tmp_path / "pipe.dcm")
    assert read_study(tmp_path).ct is not None


def test_the_sop_class_counts_and_not_the_modality(tmp_path: Path) -> None:
    """A real export carries an RTSTRUCT whose Modality says RTDOSE; a dose that calls itself CT is no slice."""
    phantom = write_study(tmp_path, plan=True, dose=True)
    with edited(phantom.structures_file) as ds:
        ds.Modality = "RTDOSE"
    with edited(phantom.dose_file) as ds:
        ds.Modality = "CT"
        ds.SeriesInstanceUID = phantom.options.uid("CT")
    study = read_study(tmp_path)
    assert study.ct is not None
    assert study.ct.volume.grid.same_as(phantom.grid)
    assert study.dose is not None


def test_modality_stands_in_only_where_there_is_no_sop_class(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    ds = pydicom.dcmread(phantom.structures_file)
    del ds.SOPClassUID
    ds.file_meta.MediaStorageSOPClassUID = ""
    buffer = io.BytesIO()
    ds.save_as(buffer, implicit_vr=False, little_endian=True)
    phantom.structures_file.write_bytes(buffer.getvalue())
    assert len(scan_folder(tmp_path).of(Kind.STRUCTURES)) == 1


@pytest.mark.parametrize("with_meta", [True, False])
def test_files_without_preamble_or_transfer_syntax_are_read(tmp_path: Path, with_meta: bool) -> None:
    phantom = write_study(tmp_path)
    for path in [*phantom.ct_files, phantom.structures_file]:
        content = path.read_bytes()
        if with_meta:
            path.write_bytes(content[132:])
        else:
            ds = pydicom.dcmread(path)
            end_of_meta = 132 + 12 + ds.file_meta.FileMetaInformationGroupLength
            path.write_bytes(content[end_of_meta:])
    study = read_study(tmp_path)
    assert study.ct is not None
    assert (study.ct.volume.array == phantom.hu).all()
    assert len(study.structure_set.rois) == 8


def test_a_text_file_called_dcm_is_told_of(tmp_path: Path) -> None:
    write_study(tmp_path)
    (tmp_path / "page.dcm").write_text("<html>not found</html>")
    assert [problem.code for problem in read_study(tmp_path).problems] == ["NOT_DICOM"]


@pytest.mark.parametrize("content", [b"", b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM\x08\x00\x16\x00UI"])
def test_an_empty_or_headless_dicom_file_is_refused(tmp_path: Path, content: bytes) -> None:
    write_study(tmp_path)
    (tmp_path / "slice.dcm").write_bytes(content)
    assert codes(tmp_path) == {"DICOM_UNREADABLE"}


def test_a_folder_without_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("nothing")
    assert codes(tmp_path) == {"NOT_DICOM"}


def test_an_empty_folder_and_one_that_is_not_there(tmp_path: Path) -> None:
    assert codes(tmp_path) == {"NOT_DICOM"}
    assert codes(tmp_path / "absent") == {"NO_FOLDER"}


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_structure_set_is_refused(tmp_path: Path, share: float) -> None:
    phantom = write_study(tmp_path)
    cut_short(phantom.structures_file, int(share * phantom.structures_file.stat().st_size))
    assert codes(tmp_path) & {"DICOM_TRUNCATED", "DICOM_UNREADABLE"}


def test_one_lost_byte_at_the_end_of_a_structure_set_is_noticed(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    cut_short(phantom.structures_file, 1)
    with pytest.raises(InputError, match="cut off"):
        read_whole(phantom.structures_file, "RTSTRUCT")


def test_ten_thousand_other_files_cost_little(tmp_path: Path) -> None:
    write_study(tmp_path)
    for k in range(10_000):
        if k % 500 == 0:
            folder = tmp_path / f"f{k}"
            folder.mkdir()
        (folder / f"{k}.bin").write_bytes(b"x" * (k % 300))
    start = time.process_time()
    scan = scan_folder(tmp_path)
    assert time.process_time() - start < 4.0
    assert scan.others == 10_000


def test_other_dicom_objects_are_passed_over(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    ds = pydicom.dcmread(phantom.ct_files[0])
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    save(ds, tmp_path / "mr.dcm")
    assert len(find_studies(tmp_path)) == 1
    assert scan_folder(tmp_path).others == 1


@pytest.mark.parametrize("known_by", ["manufacturer", "implementation", "model"])
def test_vmat_rts_own_results_are_never_input(tmp_path: Path, known_by: str) -> None:
    phantom = write_study(tmp_path, plan=True, dose=True)
    for path in (phantom.dose_file, phantom.plan_file, phantom.structures_file):
        with edited(path, tmp_path / f"out_{path.name}") as ds:
            ds.SOPInstanceUID = phantom.options.uid(f"predicted {path.name}")
            ds.SeriesDescription = "PREDICTED - NOT FOR TREATMENT"
            ds.Manufacturer = MANUFACTURER
            if known_by == "implementation":
                del ds.Manufacturer
                ds.file_meta.ImplementationClassUID = IMPLEMENTATION_UID
            if known_by == "model":
                ds.SeriesDescription, ds.SoftwareVersions = "renamed", ["vmat-rt 1", "a model 1", "sha256 00ff"]
    study = read_study(tmp_path)
    assert study.structure_set.sop_uid == phantom.options.uid("rs")
    assert study.plan is not None
    assert study.plan.sop_uid == phantom.options.uid("rp")
    assert study.dose is not None
    assert study.dose.sop_uid == phantom.options.uid("rd")


@pytest.mark.parametrize("maker", ["Some vendor", MANUFACTURER, ""])
@pytest.mark.parametrize("description", ["Predicted contours (auto)", "PREDICTED", "predicted dose"])
def test_others_may_call_their_objects_predicted(tmp_path: Path, maker: str, description: str) -> None:
    phantom = write_study(tmp_path)
    with edited(phantom.structures_file) as ds:
        ds.SeriesDescription, ds.Manufacturer = description, maker
        ds.file_meta.ImplementationClassUID = IMPLEMENTATION_UID
    assert read_study(tmp_path).structure_set.sop_uid == phantom.options.uid("rs")


def test_reading_changes_no_file(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, plan=True, dose=True)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    for path in files:
        path.chmod(0o444)
    read_study(tmp_path)
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before
    assert phantom.dose_file in after


@pytest.mark.parametrize(("kind", "severity"), [("rs.dcm", "error"), ("rd.dcm", "warning")])
def test_a_file_without_identifiers_is_named_with_what_it_lacks(tmp_path: Path, kind: str, severity: str) -> None:
    write_study(tmp_path, dose=True)
    with edited(tmp_path / kind) as ds:
        del ds.SeriesInstanceUID
    problem = next(p for p in scan_folder(tmp_path).problems if p.code == "ATTRIBUTE_MISSING")
    assert kind in problem.message
    assert "no SeriesInstanceUID" in problem.message
    assert problem.severity == severity
