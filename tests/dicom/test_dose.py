"""RTDOSE: truth is the array that was written; positions are checked against SimpleITK and pymedphys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pymedphys.dicom import zyx_and_dose_from_dataset
from scipy.interpolate import RegularGridInterpolator

from tests.dicom_phantom import ORIENTATIONS, Phantom, cut_short, dose, edited, save, write_study
from tests.external import shared_file
from vmat_rt.case import Volume
from vmat_rt.dicom.dose import read_dose
from vmat_rt.errors import InputError


@pytest.fixture
def phantom(tmp_path: Path) -> Phantom:
    return write_study(tmp_path, ct=False, structures=False, dose=True)


def code_of(path: Path) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        read_dose(path)
    (problem,) = caught.value.problems
    return problem.code, problem.message


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("position", ORIENTATIONS)
@pytest.mark.parametrize("descending", [False, True])
def test_relative_offsets_in_every_orientation(phantom: Phantom, bits: int, position: str, descending: bool) -> None:
    save(dose(phantom, bits, position, descending), phantom.dose_file)
    found = read_dose(phantom.dose_file)
    assert found.volume.grid.same_as(phantom.grid)
    assert found.volume.array.flags.c_contiguous
    half_step = 70 / (2**bits - 2) / 2
    assert float(np.abs(found.volume.array - phantom.dose_gy).max()) <= half_step * 1.01 + 4e-6
    assert found.summation_type == "PLAN"
    assert found.plan_uid == phantom.options.uid("rp")


@pytest.mark.parametrize("descending", [False, True])
def test_absolute_offsets_in_identity_orientation(phantom: Phantom, descending: bool) -> None:
    save(dose(phantom, descending=descending, absolute=True), phantom.dose_file)
    found = read_dose(phantom.dose_file)
    assert found.volume.grid.same_as(phantom.grid)
    np.testing.assert_allclose(found.volume.array, phantom.dose_gy, atol=1e-3)


def test_absolute_offsets_in_another_orientation_are_refused(phantom: Phantom) -> None:
    save(dose(phantom, position="HFP", absolute=True), phantom.dose_file)
    assert code_of(phantom.dose_file)[0] == "DOSE_FRAMES"


def test_a_sagittal_dose_grid_is_turned_into_axial_order(tmp_path: Path) -> None:
    """Rows along y, columns along z: frames then follow x."""
    phantom = write_study(tmp_path, ct=False, structures=False, dose=True)
    scaling = 0.002
    frames = np.rint(phantom.dose_gy / scaling).astype(np.uint16).transpose(2, 0, 1)  # (x, z, y)
    with edited(phantom.dose_file) as ds:
        ds.ImageOrientationPatient = [0, 1, 0, 0, 0, 1]
        ds.ImagePositionPatient = [phantom.grid.origin_mm[axis] for axis in (2, 1, 0)]
        ds.PixelSpacing = [phantom.grid.spacing_mm[0], phantom.grid.spacing_mm[1]]
        ds.NumberOfFrames, ds.Rows, ds.Columns = frames.shape
        ds.GridFrameOffsetVector = [2.0 * k for k in range(frames.shape[0])]
        ds.DoseGridScaling, ds.PixelData = scaling, np.ascontiguousarray(frames).tobytes()
    found = read_dose(phantom.dose_file)
    assert found.volume.grid.same_as(phantom.grid)
    np.testing.assert_allclose(found.volume.array, phantom.dose_gy, atol=1.1e-3)


def _single_frame(ds: Dataset) -> None:
    ds.PixelData = ds.PixelData[: ds.Rows * ds.Columns * 2]
    del ds.NumberOfFrames, ds.GridFrameOffsetVector, ds.FrameIncrementPointer


def test_a_single_frame_needs_its_thickness(phantom: Phantom) -> None:
    with edited(phantom.dose_file) as ds:
        _single_frame(ds)
    assert code_of(phantom.dose_file)[0] == "DOSE_SINGLE_FRAME"
    with edited(phantom.dose_file) as ds:
        ds.SliceThickness = 4
    volume = read_dose(phantom.dose_file).volume
    assert volume.grid.shape == (1, 40, 52)
    assert volume.grid.spacing_mm == (4, 2.5, 2.0)


def _fault(**attributes: object) -> dict[str, object]:
    return attributes


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        (_fault(DoseUnits="RELATIVE"), "DOSE_RELATIVE"),
        (_fault(DoseUnits="CGY"), "DOSE_UNITS"),
        (_fault(DoseType="ERROR"), "DOSE_IS_ERROR"),
        (_fault(DoseGridScaling=0), "DOSE_SCALING"),
        (_fault(DoseGridScaling=None), "ATTRIBUTE_MISSING"),
        (_fault(GridFrameOffsetVector=None), "DOSE_FRAMES"),
        (_fault(GridFrameOffsetVector=[0.0, 3.0]), "DOSE_FRAMES"),
        (_fault(GridFrameOffsetVector=[5.0 + 3 * k for k in range(11)]), "DOSE_FRAMES"),
        (_fault(GridFrameOffsetVector=[3.0 * k + (k > 5) for k in range(11)]), "DOSE_FRAMES"),
        (_fault(GridFrameOffsetVector=[0.0] * 11), "DOSE_FRAMES"),
        (_fault(ImageOrientationPatient=[0.8, 0.6, 0, -0.6, 0.8, 0]), "DOSE_OBLIQUE"),
        (_fault(PixelSpacing=[-2, 2]), "DOSE_PIXEL_SPACING"),
        (_fault(NumberOfFrames=0), "ATTRIBUTE_INVALID"),
        (_fault(NumberOfFrames=12), "PIXELS_UNREADABLE"),
        (_fault(SOPClassUID="1.2.840.10008.5.1.4.1.1.2"), "DOSE_NOT_RTDOSE"),
    ],
)
def test_doses_that_cannot_be_used_are_refused_by_name(
    phantom: Phantom, attributes: dict[str, object], code: str
) -> None:
    with edited(phantom.dose_file) as ds:
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)
    assert code_of(phantom.dose_file)[0] == code


def test_negative_doses_are_counted(phantom: Phantom) -> None:
    with edited(phantom.dose_file) as ds:
        values = np.frombuffer(ds.PixelData, np.uint16).astype(np.int32) // 4
        values[[3, 77, 500]] = -9
        ds.PixelRepresentation, ds.PixelData = 1, values.astype(np.int16).tobytes()
    code, message = code_of(phantom.dose_file)
    assert code == "DOSE_IMPOSSIBLE"
    assert "0 are not numbers and 3 are negative" in message


def test_doses_that_are_not_numbers_are_counted(phantom: Phantom) -> None:
    with edited(phantom.dose_file) as ds:
        values = phantom.dose_gy.copy()
        values.flat[[1, 2]] = np.nan
        del ds.PixelData
        ds.FloatPixelData, ds.BitsAllocated, ds.DoseGridScaling = values.tobytes(), 32, 1.0
    assert "2 are not numbers and 0 are negative" in code_of(phantom.dose_file)[1]


def test_a_dose_cut_short_is_refused(phantom: Phantom) -> None:
    cut_short(phantom.dose_file, 1000)
    assert code_of(phantom.dose_file)[0] == "DICOM_TRUNCATED"


def sampled_by_simpleitk(path: Path, volume: Volume, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Our dose and SimpleITK's (times DoseGridScaling, which it leaves out) at voxel centres drawn by lot."""
    image = sitk.ReadImage(str(path))
    scaling = float(pydicom.dcmread(path, force=True).DoseGridScaling)
    indices = np.random.default_rng(1).integers(0, volume.grid.shape, (count, 3))
    ours, theirs = [], []
    for k, j, i in indices:
        z, y, x = (volume.grid.axis_mm(axis)[index] for axis, index in enumerate((k, j, i)))
        ours.append(volume.array[k, j, i])
        theirs.append(image.GetPixel(image.TransformPhysicalPointToIndex((float(x), float(y), float(z)))) * scaling)
    return np.array(ours), np.array(theirs)


@pytest.mark.parametrize("position", ["HFS", "HFP"])
def test_simpleitk_finds_the_same_dose_at_the_same_place(phantom: Phantom, position: str) -> None:
    save(dose(phantom, position=position), phantom.dose_file)
    ours, theirs = sampled_by_simpleitk(phantom.dose_file, read_dose(phantom.dose_file).volume)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_varian_feet_in_supine_agrees_with_pymedphys() -> None:
    """ImageOrientationPatient -1, 0, 0, 0, 1, 0: pymedphys orders axes its own way, so both are sampled in space."""
    path = shared_file("real_dicom/rtdose_varian/RD.TBB_feet_in_supine.dcm")
    volume = read_dose(path).volume
    ds = pydicom.dcmread(path, force=True)
    assert volume.grid.frame_uid == ds.FrameOfReferenceUID
    assert volume.grid.spacing_mm == pytest.approx((2.5, 2.0, 2.0))
    first = [float(v) for v in ds.ImagePositionPatient]
    corner = volume.grid.index_of(np.array([first[2], first[1], first[0]]))
    assert corner == pytest.approx([80, 0, 100])
    raw = ds.pixel_array * float(ds.DoseGridScaling)
    np.testing.assert_allclose(volume.array, raw[::-1, :, ::-1], rtol=1e-6)


def test_varian_non_square_pixels_agree_with_pymedphys() -> None:
    path = shared_file("real_dicom/rtdose_varian/rtdose_non_square_pixels.dcm")
    volume = read_dose(path).volume
    ds = pydicom.dcmread(path, force=True)
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    (z, y, x), theirs = zyx_and_dose_from_dataset(ds)
    for axis, coordinates in enumerate((z, y, x)):
        np.testing.assert_allclose(volume.grid.axis_mm(axis), np.sort(coordinates), atol=1e-3)
    order = [np.argsort(coordinates) for coordinates in (z, y, x)]
    lookup = RegularGridInterpolator(
        [np.asarray(c)[o] for c, o in zip((z, y, x), order, strict=True)], theirs[np.ix_(*order)], bounds_error=False
    )
    points = np.stack(np.meshgrid(*(volume.grid.axis_mm(a)[1:-1:7] for a in range(3)), indexing="ij"), axis=-1)
    np.testing.assert_allclose(volume.array[1:-1:7, 1:-1:7, 1:-1:7], lookup(points), atol=1e-2)
