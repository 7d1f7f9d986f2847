"""The NIfTI header: qform against sform, no orientation, sizes that nobody could bear."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.imagefiles.exported import write
from tests.imagefiles.test_volume import TRUTH, VALUES, code_of
from vmat_rt.errors import InputError
from vmat_rt.imagefiles.nifti import VOXEL_LIMIT, check_nifti
from vmat_rt.imagefiles.volume import read_volume


def patched(folder: Path, *changes: tuple[int, bytes], orientation: str = "RAS") -> Path:
    """A file with bytes of its header changed."""
    path = folder / "image.nii"
    write(VALUES, TRUTH, path, orientation)
    raw = bytearray(path.read_bytes())
    for offset, new in changes:
        raw[offset : offset + len(new)] = new
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "SAR", "PIL"])
@pytest.mark.parametrize("code", [252, 254], ids=["sform alone", "qform alone"])
def test_either_transform_is_enough(code: int, orientation: str, tmp_path: Path) -> None:
    path = patched(tmp_path, (code, b"\0\0"), orientation=orientation)
    found = read_volume(path, "f")
    assert found.grid.same_as(TRUTH.grid, 1e-4)
    assert np.array_equal(found.array, VALUES)


def test_without_either_it_is_unknown_where_left_is(tmp_path: Path) -> None:
    assert code_of(patched(tmp_path, (252, b"\0\0\0\0"))) == "IMAGE_NO_ORIENTATION"


@pytest.mark.parametrize(
    "change",
    [(268, struct.pack("<f", 40.0)), (280, struct.pack("<f", -1.953)), (76, struct.pack("<f", -1.0))],
    ids=["qoffset_x", "srow_x", "qfac"],
)
def test_transforms_that_disagree_are_refused(change: tuple[int, bytes], tmp_path: Path) -> None:
    assert code_of(patched(tmp_path, change)) == "IMAGE_NO_ORIENTATION"


def test_a_sheared_image_is_oblique(tmp_path: Path) -> None:
    path = patched(tmp_path, (252, b"\0\0"), (284, struct.pack("<f", 0.7)))
    assert code_of(path) == "IMAGE_OBLIQUE"


@pytest.mark.parametrize(
    "dim", [(3, 3000, 3000, 3000), (7, 200, 200, 200, 200, 200, 200, 200), (3, 6, 0, 4), (3, 6, -5, 4)]
)
def test_sizes_are_looked_at_before_anything_is_decoded(dim: tuple[int, ...], tmp_path: Path) -> None:
    path = patched(tmp_path, (40, struct.pack(f"<{len(dim)}h", *dim)))
    assert code_of(path) == ("IMAGE_TOO_LARGE" if np.prod(dim[1:], dtype=float) > VOXEL_LIMIT else "IMAGE_UNREADABLE")


@pytest.mark.parametrize(
    "change", [(0, b"\0\0\0\0"), (344, b"ni1\0"), (40, b"\x09\0"), (72, b"\0\0"), (108, b"\0\0\xc0\xff")]
)
def test_a_header_that_describes_no_image(change: tuple[int, bytes], tmp_path: Path) -> None:
    assert code_of(patched(tmp_path, change)) == "IMAGE_UNREADABLE"


def test_a_file_of_the_other_byte_order_is_read_by_its_header(tmp_path: Path) -> None:
    little = patched(tmp_path).read_bytes()
    layout = "i 35s b 8h 3f 4h 8f 3f h 2b 4f 2i 80s 24s 2h 6f 12f 16s 4s"
    header = struct.pack(f">{layout}", *struct.unpack(f"<{layout}", little[:348]))
    values = np.frombuffer(little[352:], "<f4").astype(">f4").tobytes()
    path = tmp_path / "big.nii"
    path.write_bytes(header + little[348:352] + values)
    assert np.array_equal(read_volume(path, "f").array, VALUES)


def test_a_stream_that_goes_on_for_ever_is_not_read_for_ever(tmp_path: Path) -> None:
    whole = patched(tmp_path).read_bytes()
    path = tmp_path / "bomb.nii.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(whole)
        for _ in range(64):
            file.write(b"\0" * (1 << 22))
    check_nifti(path)  # the rest belongs to no voxel: it is passed over
    assert np.array_equal(read_volume(path, "f").array, VALUES)


def test_what_is_missing_is_told_in_bytes(tmp_path: Path) -> None:
    path = patched(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="holds 732 of 832 bytes, so it was cut short"):
        check_nifti(path)
