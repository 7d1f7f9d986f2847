"""One image file on the patient's axes: every orientation a file may have, and every kind of file that is none."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from tests.imagefiles.exported import image, write
from vmat_rt.case import Volume
from vmat_rt.errors import InputError
from vmat_rt.grid import Grid
from vmat_rt.imagefiles.volume import find_suffix, read_layers, read_volume, strip_suffix

GRID = Grid((4, 5, 6), (3.0, 2.5, 1.953), (-31.5, -47.3, 12.75), "f")
VALUES = np.arange(120, dtype=np.float32).reshape(GRID.shape) - 60
TRUTH = Volume(GRID, VALUES)
SUFFIXES = (".nii", ".nii.gz", ".nrrd")
ORIENTATIONS = ["".join(letters) for axes in permutations(("LR", "PA", "SI")) for letters in product(*axes)]


def code_of(path: Path) -> str:
    with pytest.raises(InputError) as refusal:
        read_volume(path, "f")
    (problem,) = refusal.value.problems
    assert problem.message.endswith(".")
    assert repr(path.name) in problem.message, "the file is named"
    return problem.code


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_orientation_gives_the_same_volume(orientation: str, tmp_path: Path) -> None:
    path = tmp_path / "image.nii.gz"
    write(VALUES, TRUTH, path, orientation)
    found = read_volume(path, "f")
    assert found.grid == GRID, "to the last bit: headers of 32 bits are read as they were meant"
    assert np.array_equal(found.array, VALUES)
    assert found.array.flags.c_contiguous


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("orientation", ["LPS", "RAS"])
def test_every_format_gives_the_same_volume(suffix: str, orientation: str, tmp_path: Path) -> None:
    path = tmp_path / f"image{suffix}"
    write(VALUES.astype(np.int16), TRUTH, path, orientation)
    found = read_volume(path, "f")
    assert found.grid.same_as(GRID, 1e-6)
    assert np.array_equal(found.array, VALUES)
    assert found.array.dtype == np.float32


@pytest.mark.parametrize(
    "space", ["right-anterior-superior", "left-anterior-superior", "left-posterior-superior", "RAS"]
)
def test_the_space_of_an_nrrd_file_counts(space: str, tmp_path: Path) -> None:
    path = tmp_path / "image.nrrd"
    write(VALUES, TRUTH, path)
    path.write_bytes(path.read_bytes().replace(b"left-posterior-superior", space.encode()))
    found = read_volume(path, "f")
    right, anterior = space[0] in "rR", space != "left-posterior-superior"
    expected = VALUES[:, :: -1 if anterior else 1, :: -1 if right else 1]
    assert np.array_equal(found.array, expected)
    assert found.grid.origin_mm[2] == pytest.approx(-GRID.last_mm[2] if right else GRID.origin_mm[2])
    assert found.grid.origin_mm[1] == pytest.approx(-GRID.last_mm[1] if anterior else GRID.origin_mm[1])


def test_the_scaling_of_a_nifti_file_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "image.nii"
    write((VALUES + 60).astype(np.int16), TRUTH, path)
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([2.0, -1024.0], "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(raw)
    assert np.array_equal(read_volume(path, "f").array, 2 * (VALUES + 60) - 1024)


@pytest.mark.parametrize(
    ("degrees", "refused"), [(0.05, False), (0.09, False), (0.12, True), (5.0, True), (45.0, True)]
)
def test_what_lies_oblique_is_refused_beyond_a_tenth_of_a_degree(degrees: float, refused: bool, tmp_path: Path) -> None:
    made = image(VALUES, TRUTH)
    angle = np.radians(degrees)
    made.SetDirection((np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle), 0, 0, 0, 1))
    path = tmp_path / "image.nrrd"
    sitk.WriteImage(made, str(path))
    if refused:
        assert code_of(path) == "IMAGE_OBLIQUE"
        return
    found = read_volume(path, "f")
    centre = made.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in made.GetSize()])
    assert found.grid.centre_mm == pytest.approx(centre[::-1]), "turned back round its middle"
    assert np.array_equal(found.array, VALUES)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_value_that_is_none_is_not_taken_for_0(suffix: str, value: float, kind: type, tmp_path: Path) -> None:
    array = VALUES.astype(kind)
    array[1, 2, 3] = array[3, 4, 5] = value
    path = tmp_path / f"image{suffix}"
    write(array, TRUTH, path)
    assert code_of(path) == "VALUES_NOT_FINITE"
    with pytest.raises(InputError, match="holds 2 values"):
        read_volume(path, "f")


def test_a_trailing_axis_of_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "image.nii.gz"
    sitk.WriteImage(sitk.JoinSeries(image(VALUES, TRUTH)), str(path))
    assert np.array_equal(read_volume(path, "f").array, VALUES)


@pytest.mark.parametrize(
    "made",
    [
        sitk.JoinSeries([sitk.Image(3, 3, 3, sitk.sitkInt16)] * 2),
        sitk.Image(3, 3, sitk.sitkInt16),
        sitk.Image([3, 3, 3], sitk.sitkVectorUInt8, 3),
        sitk.Image([3, 3, 3], sitk.sitkComplexFloat32),
    ],
    ids=["4-D", "2-D", "colour", "complex"],
)
def test_what_is_not_one_number_a_voxel_of_three_axes(made: sitk.Image, tmp_path: Path) -> None:
    path = tmp_path / "image.nii"
    sitk.WriteImage(made, str(path))
    with pytest.raises(InputError) as refusal:
        read_volume(path, "f")
    assert [problem.code for problem in refusal.value.problems] == ["IMAGE_NOT_3D"]


def test_layers_are_read_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "image.seg.nrrd"
    layers = [image((k == VALUES).astype(np.uint8), TRUTH) for k in (1, 2)]
    sitk.WriteImage(sitk.Compose(layers), str(path))
    first, second = read_layers(path, "f")
    assert np.array_equal(first.array, VALUES == 1)
    assert np.array_equal(second.array, VALUES == 2)
    assert code_of(path) == "IMAGE_NOT_3D"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kept", [0, 40, 400, 0.5, 0.95])
def test_a_file_that_was_cut_short_is_refused(suffix: str, kept: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(-1000, 1000, GRID.shape).astype(np.int16)
    path = tmp_path / f"image{suffix}"
    write(noise, TRUTH, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else min(kept, len(whole) - 8)])
    assert code_of(path) == "IMAGE_UNREADABLE"


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_a_compressed_file_with_a_wrong_byte_is_refused(suffix: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(-1000, 1000, (30, 40, 50)).astype(np.int16)
    path = tmp_path / f"image{suffix}"
    write(noise, Volume(Grid(noise.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), "f"), noise), path)  # type: ignore[arg-type]
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)
    assert code_of(path) == "IMAGE_UNREADABLE"


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".seg.nrrd"])
@pytest.mark.parametrize("content", [b"", b"not an image", b"\x1f\x8b" + b"\0" * 400, b"NRRD0004\n", b"\0" * 4096])
def test_what_is_no_image_is_refused(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"image{suffix}"
    path.write_bytes(content)
    assert code_of(path) == "IMAGE_UNREADABLE"


@pytest.mark.parametrize("name", ["absent.nii.gz", "image.dcm", "image.nhdr", "folder.nii"])
def test_other_files_are_refused_by_name(name: str, tmp_path: Path) -> None:
    if name == "folder.nii":
        (tmp_path / name).mkdir()
    elif name != "absent.nii.gz":
        (tmp_path / name).write_bytes(b"x")
    assert code_of(tmp_path / name) == "IMAGE_UNREADABLE"


@pytest.mark.parametrize(
    ("name", "suffix", "stem"),
    [
        ("PTV_7000.nii.gz", ".nii.gz", "PTV_7000"),
        ("Rectum.NII.GZ", ".nii.gz", "Rectum"),
        ("all.seg.nrrd", ".seg.nrrd", "all"),
        ("a.b.nrrd", ".nrrd", "a.b"),
        ("notes.txt", None, "notes"),
    ],
)
def test_suffix_and_stem(name: str, suffix: str | None, stem: str) -> None:
    assert (find_suffix(Path(name)), strip_suffix(Path(name))) == (suffix, stem)
