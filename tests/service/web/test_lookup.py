"""Name and ID of a file, read in a process of its own; and files that are traps."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pydicom
import pytest

from tests.dicom_phantom import write_study
from vmat_rt_service.web.lookup import look_up


def test_a_file_says_whose_it_is(tmp_path: Path) -> None:
    study = write_study(tmp_path, patient="DOE^JANE")
    dataset = pydicom.dcmread(study.structures_file)
    assert look_up(study.structures_file) == {
        key: value
        for key, value in {
            "name": "DOE^JANE",
            "id": str(dataset.PatientID),
            "birth date": str(dataset.get("PatientBirthDate", "") or ""),
            "study": str(dataset.get("StudyDescription", "") or ""),
        }.items()
        if value
    }


@pytest.mark.parametrize("content", [b"", b"\xff" * 1000, b"\0" * 128 + b"DICM" + b"\x08\0\x05\0CS"])
def test_what_cannot_be_read_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.dcm").write_bytes(content)
    assert look_up(tmp_path / "a.dcm") == {}


def test_a_pipe_or_a_link_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/passwd")
    begun = time.monotonic()
    assert look_up(tmp_path / "pipe") == look_up(tmp_path / "link") == look_up(tmp_path / "none") == {}
    assert time.monotonic() - begun < 60
