"""A folder of image files against the DICOM study that it was exported from, and all the ways not to fit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from tests.curation.intake.clinic import study
from tests.imagefiles.exported import export, fractions_of, image, write
from vmat_rt.assembly.voxels import case_of_voxels
from vmat_rt.case import Case, Volume
from vmat_rt.dicom.load import load_case
from vmat_rt.dicom.study import read_study
from vmat_rt.errors import InputError
from vmat_rt.geometry.rasterize import structure_fraction, volume_cc
from vmat_rt.imagefiles.mapping import ImageMapping, MaskSource
from vmat_rt.imagefiles.patient import open_folder, read_patient
from vmat_rt.protocol import load_protocol

PROTOCOL = load_protocol("prostate_sib_70_56")


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("dicom")
    study(folder, "phantom")
    return load_case(read_study(folder), PROTOCOL)


@pytest.fixture(scope="module")
def exported(truth: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    export(truth, folder, ".nii.gz", "RAS")
    return folder


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(exported, tmp_path / "patient"))


def read(folder: Path, mapping: ImageMapping | None = None) -> Case:
    return case_of_voxels(read_patient(open_folder(folder, mapping, [PROTOCOL])), [PROTOCOL])


def codes(folder: Path, mapping: ImageMapping | None = None) -> list[str]:
    with pytest.raises(InputError) as refusal:
        read(folder, mapping)
    assert all(p.message.endswith((".", "?")) and p.remedy.endswith(".") for p in refusal.value.problems)
    return [problem.code for problem in refusal.value.problems]


def require_equal(found: Case, truth: Case) -> None:
    assert found.ct.grid.same_as(replace(truth.ct.grid, frame_uid=found.ct.grid.frame_uid), 1e-4)
    assert np.array_equal(found.ct.array, truth.ct.array)
    assert found.structures.keys() == truth.structures.keys()
    for name, fraction in fractions_of(truth).items():
        placed = structure_fraction(found.structures[name], found.ct.grid)
        np.testing.assert_allclose(placed, fraction, rtol=0, atol=1e-5, err_msg=name)
    assert found.reference_dose is not None
    assert truth.reference_dose is not None
    np.testing.assert_allclose(found.reference_dose.array, truth.reference_dose.array, rtol=1e-6)
    assert dict(found.prescription.dose_gy) == dict(truth.prescription.dose_gy)
    assert found.problems == ()


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd"])
@pytest.mark.parametrize("orientation", ["LPS", "RAS", "ASL"])
def test_images_give_the_case_of_the_dicom_study(suffix: str, orientation: str, truth: Case, tmp_path: Path) -> None:
    export(truth, tmp_path, suffix, orientation)
    require_equal(read(tmp_path), truth)


def test_masks_may_lie_otherwise_than_the_ct(truth: Case, folder: Path) -> None:
    write(fractions_of(truth)["Rectum"], truth.ct, folder / "Rectum.nii.gz", "PIR")
    require_equal(read(folder), truth)


def test_a_label_map_holds_many_structures(truth: Case, folder: Path) -> None:
    names = ("PTV_5600", "PTV_7000", "Rectum", "Bladder")
    labels = np.zeros(truth.ct.grid.shape, np.uint16)
    masks = {name: fractions_of(truth)[name] > 0.5 for name in names}
    masks["PTV_5600"] &= ~masks["PTV_7000"]
    for number, mask in enumerate(masks.values(), 300):
        labels[mask] = number
    write(labels, truth.ct, folder / "labels.nii.gz", "RAS")
    sources = {name: MaskSource(file="labels.nii.gz", label=number) for number, name in enumerate(names, 300)}
    case = read(folder, ImageMapping(ct="ct.nii.gz", structures=sources))
    for number, name in enumerate(names, 300):
        voxels = np.count_nonzero(labels == number)
        assert volume_cc(case.structures[name]) == pytest.approx(voxels * truth.ct.grid.voxel_cc)
    assert [problem.code for problem in case.problems] == ["NO_EXTERNAL"]
    sources["Bladder"] = MaskSource(file="labels.nii.gz", label=7)
    assert codes(folder, ImageMapping(ct="ct.nii.gz", structures=sources)) == ["STRUCTURE_EMPTY"]


def test_segments_may_overlap_in_layers(truth: Case, folder: Path) -> None:
    masks = {name: (fractions_of(truth)[name] > 0.5).astype(np.uint8) for name in ("PTV_7000", "PTV_5600", "Rectum")}
    layers = [masks["PTV_7000"] + 2 * masks["Rectum"], masks["PTV_5600"]]
    path = folder / "all.seg.nrrd"
    sitk.WriteImage(sitk.Compose([image(layer, truth.ct) for layer in layers]), str(path))
    told = "".join(
        f"Segment{k}_Name:={name}\nSegment{k}_LabelValue:={label}\nSegment{k}_Layer:={layer}\n"
        for k, (name, label, layer) in enumerate([("high", 1, 0), ("rectum", 2, 0), ("low", 1, 1)])
    )
    path.write_bytes(path.read_bytes().replace(b"\nencoding:", f"\n{told}encoding:".encode()))
    named = {"PTV_7000": "high", "Rectum": "rectum", "PTV_5600": "low"}
    sources = {name: MaskSource(file=path.name, segment=segment) for name, segment in named.items()}
    case = read(folder, ImageMapping(ct="ct.nii.gz", structures=sources))
    for name, mask in masks.items():
        assert volume_cc(case.structures[name]) == pytest.approx(int(mask.sum()) * truth.ct.grid.voxel_cc)
    wrong = {**sources, "Bladder": MaskSource(file=path.name, segment="bladder")}
    wrong["Femur_Head_L"] = MaskSource(file=path.name, label=1)
    wrong["Femur_Head_R"] = MaskSource(file="Rectum.nii.gz", segment="any")
    found = codes(folder, ImageMapping(ct="ct.nii.gz", structures=wrong))
    assert sorted(found) == ["IMAGE_UNREADABLE", "MASK_INVALID", "MASK_INVALID", "MASK_INVALID"]


def test_a_mask_on_a_coarser_grid_is_put_on_the_ct(truth: Case, folder: Path) -> None:
    fine = image(fractions_of(truth)["Rectum"], truth.ct)
    coarse = sitk.Resample(fine, (13, 10, 11), sitk.Transform(), sitk.sitkLinear, fine.GetOrigin(), (8.0, 10.0, 3.0))
    sitk.WriteImage(sitk.DICOMOrient(coarse, "RAS"), str(folder / "Rectum.nii.gz"))
    expected = float(sitk.GetArrayFromImage(coarse).sum()) * 8.0 * 10.0 * 3.0 / 1000
    assert volume_cc(read(folder).structures["Rectum"]) == pytest.approx(expected, rel=1e-5)


def moved(volume: Volume, shift_mm: float) -> Volume:
    z, y, x = volume.grid.origin_mm
    return Volume(replace(volume.grid, origin_mm=(z, y, x + shift_mm)), volume.array)


def test_a_header_that_was_lost_is_noticed(truth: Case, folder: Path) -> None:
    mask = fractions_of(truth)["Rectum"]
    write(mask, moved(truth.ct, 10.0), folder / "Rectum.nii.gz")
    sitk.WriteImage(sitk.GetImageFromArray(truth.reference_dose.array), str(folder / "dose.nii.gz"))  # type: ignore[union-attr]
    assert codes(folder) == ["IMAGE_PLACE_DIFFERS"] * 2


def test_rounding_of_a_header_is_none(truth: Case, folder: Path) -> None:
    write(fractions_of(truth)["Rectum"], moved(truth.ct, 0.01), folder / "Rectum.nii.gz")
    require_equal(read(folder), truth)


def test_images_far_from_the_ct_are_refused(truth: Case, folder: Path) -> None:
    small = Volume(truth.ct.grid.crop((0, 0, 0), (4, 5, 6)), np.ones((4, 5, 6), np.float32))
    write(small.array, moved(small, 900.0), folder / "Rectum.nii.gz")
    assert codes(folder) == ["IMAGE_PLACE_DIFFERS"]


def test_a_structure_that_leaves_the_ct_is_noted(truth: Case, folder: Path) -> None:
    ct = truth.ct.grid
    write(
        truth.ct.array[3:8], Volume(ct.crop((3, 0, 0), (8, *ct.shape[1:])), truth.ct.array[3:8]), folder / "ct.nii.gz"
    )
    assert {p.code for p in read(folder).problems} == {"STRUCTURE_LEAVES_CT"}
    write(truth.ct.array[:2], Volume(ct.crop((0, 0, 0), (2, *ct.shape[1:])), truth.ct.array[:2]), folder / "ct.nii.gz")
    assert "STRUCTURE_OUTSIDE_CT" in codes(folder)


def damage(name: str) -> Callable[[Path, Case], None]:
    return lambda folder, _: (folder / name).write_bytes((folder / name).read_bytes()[:-40]) and None


def value(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path, Case], None]:
    def spoil(folder: Path, truth: Case) -> None:
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / name)))
        made = sitk.GetImageFromArray(change(array))
        made.CopyInformation(sitk.ReadImage(str(folder / name)))
        sitk.WriteImage(made, str(folder / name))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (damage("ct.nii.gz"), "IMAGE_UNREADABLE"),
        (damage("Rectum.nii.gz"), "IMAGE_UNREADABLE"),
        (damage("dose.nii.gz"), "IMAGE_UNREADABLE"),
        (value("ct.nii.gz", lambda a: a + 1024), "CT_NOT_HU"),
        (value("ct.nii.gz", lambda a: np.where(a > 0, np.nan, a)), "VALUES_NOT_FINITE"),
        (value("Rectum.nii.gz", lambda a: 255 * (a > 0.5).astype(np.uint8)), "MASK_INVALID"),
        (value("Rectum.nii.gz", lambda a: 0 * a), "STRUCTURE_EMPTY"),
        (value("dose.nii.gz", lambda a: 100 * a), "DOSE_SCALE"),
        (value("dose.nii.gz", lambda a: a - 20), "DOSE_NEGATIVE"),
        (value("dose.nii.gz", lambda a: a * np.nan), "VALUES_NOT_FINITE"),
        (lambda folder, _: (folder / "PTV_7000.nii.gz").unlink(), "TARGET_MISSING"),
        (lambda folder, _: (folder / "mapping.yaml").write_text("ct: 3") and None, "MAPPING_INVALID"),
    ],
)
def test_what_is_refused(spoil: Callable[[Path, Case], None], code: str, truth: Case, folder: Path) -> None:
    spoil(folder, truth)
    assert codes(folder) == [code]


def test_all_that_is_wrong_is_told_at_once(truth: Case, folder: Path) -> None:
    damage("ct.nii.gz")(folder, truth)
    damage("Rectum.nii.gz")(folder, truth)
    value("dose.nii.gz", lambda a: 100 * a)(folder, truth)
    (folder / "PTV_7000.nii.gz").unlink()
    assert sorted(codes(folder)) == ["DOSE_SCALE", "IMAGE_UNREADABLE", "IMAGE_UNREADABLE", "TARGET_MISSING"]


def test_the_digest_follows_files_and_mapping(folder: Path) -> None:
    first = open_folder(folder, None, [PROTOCOL]).sha256()
    assert first == open_folder(folder, None, [PROTOCOL]).sha256()
    mapping = open_folder(folder, None, [PROTOCOL]).mapping
    assert open_folder(folder, mapping.model_copy(update={"fractions": 5}), [PROTOCOL]).sha256() != first
    (folder / "Rectum.nii.gz").write_bytes(b"x")
    assert open_folder(folder, None, [PROTOCOL]).sha256() != first
