"""What of a file can reach a result: private and handling elements cannot, everything else can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from tests.dicom_phantom import edited, write_study
from vmat_rt.dicom.content.hashing import hash_dicom_content


@pytest.fixture
def slice_file(tmp_path: Path) -> Path:
    return write_study(tmp_path, seed="content").ct_files[0]


def private(ds: Dataset) -> None:
    ds.private_block(0x0009, "X", create=True).add_new(1, "LO", "y")


def handed_on(ds: Dataset) -> None:
    ds.InstanceCreationDate, ds.InstanceCreationTime, ds.RetrieveAETitle = "20260101", "101010", "PACS"


def sent_by_another_node(ds: Dataset) -> None:
    ds.file_meta.SourceApplicationEntityTitle = "OTHER"


@pytest.mark.parametrize("change", [private, handed_on, sent_by_another_node])
def test_what_cannot_reach_a_result_does_not_count(slice_file: Path, change: Callable[[Dataset], None]) -> None:
    before = hash_dicom_content(slice_file)
    content = slice_file.read_bytes()
    with edited(slice_file) as ds:
        change(ds)
    assert slice_file.read_bytes() != content
    assert hash_dicom_content(slice_file) == before is not None


def moved(ds: Dataset) -> None:
    ds.ImagePositionPatient = [0.0, 0.0, 1.5]


def brightened(ds: Dataset) -> None:
    ds.PixelData = bytes([1, *ds.PixelData[1:]])


def renamed(ds: Dataset) -> None:
    ds.PatientName = "Other"


def nested(ds: Dataset) -> None:
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2"
    ds.ReferencedImageSequence = [item]


@pytest.mark.parametrize("change", [moved, brightened, renamed, nested])
def test_what_can_reach_a_result_counts(slice_file: Path, change: Callable[[Dataset], None]) -> None:
    before = hash_dicom_content(slice_file)
    with edited(slice_file) as ds:
        change(ds)
    assert hash_dicom_content(slice_file) not in (before, None)


def test_what_is_not_whole_has_no_content(slice_file: Path) -> None:
    slice_file.write_bytes(slice_file.read_bytes()[:-100])
    assert hash_dicom_content(slice_file) is None
