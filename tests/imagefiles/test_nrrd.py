"""The NRRD header: data elsewhere, no orientation, sizes, segments."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.imagefiles.exported import write
from tests.imagefiles.test_volume import TRUTH, VALUES, code_of
from vmat_rt.errors import InputError
from vmat_rt.imagefiles.nrrd import Segment, read_nrrd_fields, read_segments


def patched(folder: Path, old: bytes, new: bytes) -> Path:
    path = folder / "image.nrrd"
    write(VALUES, TRUTH, path)
    raw = path.read_bytes()
    assert old in raw
    path.write_bytes(raw.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"encoding: gzip\n", b"encoding: gzip\ndata file: /etc/passwd\n", "IMAGE_UNREADABLE"),
        (b"encoding: gzip\n", b"encoding: gzip\nDataFile: other.raw\n", "IMAGE_UNREADABLE"),
        (b"space: left-posterior-superior\n", b"", "IMAGE_NO_ORIENTATION"),
        (b"left-posterior-superior", b"scanner-xyz", "IMAGE_NO_ORIENTATION"),
        (b"sizes: 6 5 4", b"sizes: 6000 5000 4000", "IMAGE_TOO_LARGE"),
        (b"sizes: 6 5 4", b"sizes: six five four", "IMAGE_UNREADABLE"),
        (b"sizes: 6 5 4", b"sizes: 6 5 0", "IMAGE_UNREADABLE"),
        (b"encoding: gzip\n", b'encoding: gzip\nspace units: "cm" "cm" "cm"\n', "SPACING_IMPLAUSIBLE"),
    ],
)
def test_what_is_refused_by_its_header(old: bytes, new: bytes, code: str, tmp_path: Path) -> None:
    assert code_of(patched(tmp_path, old, new)) == code


def test_segments_are_known_by_their_names(tmp_path: Path) -> None:
    more = b"Segment0_Name:=Rectum\nSegment0_LabelValue:=3\nSegment0_Layer:=1\nSegment1_Name:=PTV: high\n"
    path = patched(tmp_path, b"encoding: gzip\n", b"encoding: gzip\n" + more)
    assert read_segments(path) == (Segment("Rectum", 3, 1), Segment("PTV: high", 1, 0))
    assert read_nrrd_fields(path)["sizes"] == "6 5 4"


def test_a_segment_with_a_label_that_is_none(tmp_path: Path) -> None:
    more = b"encoding: gzip\nSegment0_Name:=Rectum\nSegment0_LabelValue:=three\n"
    path = patched(tmp_path, b"encoding: gzip\n", more)
    with pytest.raises(InputError, match="IMAGE_UNREADABLE"):
        read_segments(path)
