"""CT series: truth is the array that the phantom was written from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
)

from tests.dicom_phantom import ORIENTATIONS, Phantom, cut_short, edited, write_study
from vmat_rt.dicom.ct.read import CtSeries, read_ct
from vmat_rt.dicom.files import Kind, scan_folder
from vmat_rt.errors import InputError, Problem, raise_errors


def ct_of(phantom: Phantom) -> CtSeries:
    scan = scan_folder(phantom.folder)
    raise_errors(scan.problems)
    return read_ct([*scan.of(Kind.CT), *scan.of(Kind.ENHANCED_CT)])


def refusal(phantom: Phantom) -> dict[str, Problem]:
    with pytest.raises(InputError) as caught:
        ct_of(phantom)
    return {problem.code: problem for problem in caught.value.problems}


@pytest.mark.parametrize("position", ORIENTATIONS)
def test_every_patient_position_gives_the_same_volume(tmp_path: Path, position: str) -> None:
    phantom = write_study(tmp_path, position=position, structures=False)
    ct = ct_of(phantom)
    assert ct.volume.grid.same_as(phantom.grid)
    np.testing.assert_array_equal(ct.volume.array, phantom.hu)
    assert ct.volume.array.flags.c_contiguous
    assert ct.volume.array.dtype == np.float32
    assert ct.orientation == ORIENTATIONS[position]
    assert ct.patient_position == position
    assert ct.sop_uids == tuple(phantom.options.uid(f"ct {k}") for k in range(phantom.grid.shape[0]))
    assert ct.header.SOPInstanceUID == ct.sop_uids[0]
    assert "PixelData" not in ct.header


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEGLosslessSV1,
        JPEG2000Lossless,
    ],
)
@pytest.mark.parametrize("signed", [True, False])
def test_transfer_syntaxes(tmp_path: Path, syntax: str, signed: bool) -> None:
    phantom = write_study(tmp_path, transfer_syntax=syntax, signed=signed, structures=False, shape=(3, 40, 52))
    assert pydicom.dcmread(phantom.ct_files[0]).file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(ct_of(phantom).volume.array, phantom.hu)


@pytest.mark.parametrize(("signed", "bits"), [(False, 12), (True, 16), (False, 16)])
def test_stored_bits_and_a_rescale_that_changes_from_slice_to_slice(tmp_path: Path, signed: bool, bits: int) -> None:
    phantom = write_study(tmp_path, signed=signed, bits_stored=bits, slopes=(1.0, 2.0, 0.5), structures=False)
    expected = phantom.hu.copy()
    expected[1::3] = -1024 + 2 * np.rint((expected[1::3] + 1024) / 2)
    np.testing.assert_array_equal(ct_of(phantom).volume.array, expected)


def test_negative_stored_values_in_twelve_of_sixteen_bits(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, intercept=0.0, bits_stored=12, structures=False)
    np.testing.assert_array_equal(ct_of(phantom).volume.array, phantom.hu)


@pytest.mark.parametrize(("padding", "vr", "expected"), [(-2000, "SS", -1024), (63536, "US", -1024), (24, "SS", -1000)])
def test_padding_outside_the_ct_scale_becomes_air(tmp_path: Path, padding: int, vr: str, expected: float) -> None:
    """-2000 as PixelPaddingValue, in either VR; a padding within the scale (24 is -1000 HU here) stays what it is."""
    phantom = write_study(tmp_path, structures=False)
    for path in phantom.ct_files:
        with edited(path) as ds:
            pixels = ds.pixel_array.copy()
            pixels[:2] = -2000 if padding != 24 else 24
            ds.PixelData = pixels.tobytes()
            ds.add_new("PixelPaddingValue", vr, padding)
    hu = ct_of(phantom).volume.array
    assert np.all(hu[:, :2] == expected)
    np.testing.assert_array_equal(hu[:, 2:], phantom.hu[:, 2:])


def test_unreferenced_attributes_and_shuffled_names_do_not_matter(tmp_path: Path) -> None:
    """Slices are sorted by position alone: InstanceNumber and SliceLocation may say anything."""
    phantom = write_study(tmp_path, structures=False)
    for k, path in enumerate(phantom.ct_files):
        with edited(path) as ds:
            ds.InstanceNumber, ds.SliceLocation = (k * 7) % 11, -float(k)
    np.testing.assert_array_equal(ct_of(phantom).volume.array, phantom.hu)


def test_missing_slices_are_named(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, structures=False)
    for k in (4, 5):
        phantom.ct_files[k].unlink()
    problem = refusal(phantom)["CT_GAP"]
    assert "slices 4 and 5 (z -22.50 and -13.50 mm)" in problem.message
    assert "9.00 mm apart, the others 3.00 mm: 2 missing" in problem.message


def test_duplicate_slices_are_named(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, structures=False)
    with edited(phantom.ct_files[6], tmp_path / "CT" / "again.dcm") as ds:
        ds.SOPInstanceUID = phantom.options.uid("again")
    assert "7 and 8 (z -13.50 mm)" in refusal(phantom)["CT_DUPLICATE_SLICES"].message


def test_a_copied_file_is_a_duplicate_slice(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, structures=False)
    (tmp_path / "copy.dcm").write_bytes(phantom.ct_files[0].read_bytes())
    assert "1 and 2 (z -31.50 mm)" in refusal(phantom)["CT_DUPLICATE_SLICES"].message


def test_unequal_gaps_are_named(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, structures=False)
    for path in phantom.ct_files[8:]:
        with edited(path) as ds:
            ds.ImagePositionPatient = [*ds.ImagePositionPatient[:2], float(ds.ImagePositionPatient[2]) + 0.7]
    problem = refusal(phantom)["CT_UNEQUAL_GAPS"]
    assert "slices 8 and 9" in problem.message
    assert "3.70 mm apart, the others 3.00 mm" in problem.message


def test_positions_rounded_to_a_hundredth_are_accepted(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, structures=False, spacing_mm=(1.3333333, 2.5, 2.0))
    for path in phantom.ct_files:
        with edited(path) as ds:
            ds.ImagePositionPatient = [round(float(v), 2) for v in ds.ImagePositionPatient]
    assert ct_of(phantom).volume.grid.same_as(phantom.grid, tolerance_mm=0.011)


def _change_all(phantom: Phantom, **attributes: object) -> None:
    for path in phantom.ct_files:
        with edited(path) as ds:
            for keyword, value in attributes.items():
                setattr(ds, keyword, value)


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"ImageOrientationPatient": [0, 1, 0, -1, 0, 0]}, "CT_DECUBITUS"),
        ({"PatientPosition": "HFDL"}, "CT_DECUBITUS"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "CT_NOT_AXIAL"),
        ({"ImageOrientationPatient": [0.98480775, 0.17364818, 0, -0.17364818, 0.98480775, 0]}, "CT_OBLIQUE"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "CT_OBLIQUE"),
        ({"GantryDetectorTilt": 12.5}, "CT_GANTRY_TILT"),
        ({"FrameOfReferenceUID": ""}, "CT_NO_FRAME"),
        ({"RescaleSlope": 0}, "CT_RESCALE"),
        ({"RescaleIntercept": None}, "CT_RESCALE"),
        ({"PixelSpacing": [0, 2]}, "CT_PIXEL_SPACING"),
        ({"PixelSpacing": [2.0]}, "ATTRIBUTE_INVALID"),
        ({"ImagePositionPatient": None}, "ATTRIBUTE_MISSING"),
        ({"Rows": 60000}, "ATTRIBUTE_INVALID"),
        ({"Rows": 4000}, "PIXELS_UNREADABLE"),
        ({"SamplesPerPixel": 3}, "PIXELS_UNREADABLE"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1"}, "CT_ENHANCED"),
    ],
)
def test_series_that_cannot_be_used_are_refused_by_name(
    tmp_path: Path, attributes: dict[str, object], code: str
) -> None:
    phantom = write_study(tmp_path, structures=False)
    _change_all(phantom, **attributes)
    assert code in refusal(phantom)


def test_a_tilted_gantry_is_told_from_oblique_and_from_a_silent_shear(tmp_path: Path) -> None:
    angle = np.radians(10)
    tilted = write_study(tmp_path / "tilted", structures=False)
    _change_all(tilted, ImageOrientationPatient=[1, 0, 0, 0, np.cos(angle), -np.sin(angle)], GantryDetectorTilt="-10")
    assert set(refusal(tilted)) == {"CT_GANTRY_TILT"}
    sheared = write_study(tmp_path / "sheared", structures=False)
    for path in sheared.ct_files:
        with edited(path) as ds:
            x, y, z = (float(v) for v in ds.ImagePositionPatient)
            ds.ImagePositionPatient = [x, y + np.tan(angle) * z, z]
    assert "10.0 degrees" in refusal(sheared)["CT_GANTRY_TILT"].message


@pytest.mark.parametrize(
    ("keyword", "value", "aspect"),
    [
        ("PixelSpacing", [2.5, 2.1], "pixel spacing"),
        ("ImageOrientationPatient", [-1, 0, 0, 0, 1, 0], "orientation"),
        ("FrameOfReferenceUID", "1.2.3", "frame of reference"),
        ("PatientPosition", "FFS", "patient position"),
    ],
)
def test_one_slice_unlike_the_others_is_named(tmp_path: Path, keyword: str, value: object, aspect: str) -> None:
    phantom = write_study(tmp_path, structures=False)
    with edited(phantom.ct_files[2]) as ds:
        setattr(ds, keyword, value)
    message = refusal(phantom)["CT_MIXED_SLICES"].message
    assert message.startswith("slice 3 (z -25.50 mm) differ")
    assert aspect in message


def test_a_slice_of_another_size_is_named(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, structures=False)
    with edited(phantom.ct_files[9]) as ds:
        ds.Rows = 39
        ds.PixelData = ds.PixelData[: 39 * 52 * 2]
    assert "slice 10 (z -4.50 mm)" in refusal(phantom)["CT_MIXED_SLICES"].message


def test_a_slice_beside_the_others_is_named(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, structures=False)
    with edited(phantom.ct_files[1]) as ds:
        ds.ImagePositionPatient = [float(ds.ImagePositionPatient[0]) + 3, *ds.ImagePositionPatient[1:]]
    assert "slice 2 (z -28.50 mm)" in refusal(phantom)["CT_SHIFTED_SLICES"].message


def test_a_localizer_in_the_series_is_named(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, structures=False)
    with edited(phantom.ct_files[10], tmp_path / "scout.dcm") as ds:
        ds.ImageType, ds.SOPInstanceUID = ["ORIGINAL", "PRIMARY", "LOCALIZER"], phantom.options.uid("scout")
        ds.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    assert "(z -1.50 mm)" in refusal(phantom)["CT_LOCALIZER"].message


def test_a_single_slice_has_no_thickness(tmp_path: Path) -> None:
    assert "CT_TOO_FEW_SLICES" in refusal(write_study(tmp_path, structures=False, shape=(1, 40, 52)))


def test_one_lost_byte_of_the_pixels_is_enough(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, structures=False)
    cut_short(phantom.ct_files[3], 1)
    assert set(refusal(phantom)) == {"DICOM_TRUNCATED"}


@pytest.mark.filterwarnings("ignore:End of file reached")
@pytest.mark.parametrize("drop", [20, 500, 40 * 52 * 2 + 4])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
def test_a_slice_cut_short_is_refused_by_file_name(tmp_path: Path, drop: int, syntax: str) -> None:
    phantom = write_study(tmp_path, structures=False, transfer_syntax=syntax)
    cut_short(phantom.ct_files[3], min(drop, phantom.ct_files[3].stat().st_size - 900))
    problems = refusal(phantom)
    assert set(problems) <= {"DICOM_TRUNCATED", "DICOM_UNREADABLE", "PIXELS_UNREADABLE"}
    assert phantom.ct_files[3].name in next(iter(problems.values())).message


def test_every_problem_of_a_series_is_reported_at_once(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, structures=False)
    cut_short(phantom.ct_files[0], 100)
    with edited(phantom.ct_files[5]) as ds:
        del ds.RescaleSlope
    with pytest.raises(InputError) as caught:
        ct_of(phantom)
    assert {problem.code for problem in caught.value.problems} >= {"DICOM_TRUNCATED", "CT_RESCALE"}


def test_a_fault_of_every_slice_is_told_of_a_few(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, structures=False)
    for path in phantom.ct_files:
        with edited(path) as ds:
            del ds.RescaleSlope
    with pytest.raises(InputError) as caught:
        read_ct(scan_folder(tmp_path).files)
    *few, rest = caught.value.problems
    assert {problem.code for problem in caught.value.problems} == {"CT_RESCALE"}
    assert len(few) == 3
    assert f"{len(phantom.ct_files) - 3} more CT files" in rest.message
