"""CT slices and doses of the phantom, in any orientation and the transfer syntaxes that we can write."""

from __future__ import annotations

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRBigEndian,
    JPEGLosslessSV1,
    RTDoseStorage,
    RTPlanStorage,
)

from tests.dicom_phantom.objects import dicom_object, reference
from tests.dicom_phantom.values import ORIENTATIONS, Phantom
from vmat_rt.grid import Grid


def stored_orientation(
    array: NDArray[np.generic], grid: Grid, position: str
) -> tuple[NDArray[np.generic], tuple[float, float]]:
    """The array with rows and columns as a patient position stores them, and (x, y) of its first pixel."""
    row_x, *_, column_y, _ = ORIENTATIONS[position]
    flips = [axis for axis, cosine in ((-1, row_x), (-2, column_y)) if cosine < 0]
    x = grid.origin_mm[2] if row_x > 0 else grid.last_mm[2]
    y = grid.origin_mm[1] if column_y > 0 else grid.last_mm[1]
    return np.flip(array, flips) if flips else array, (x, y)


def ct_slice(p: Phantom, k: int) -> FileDataset:
    o = p.options
    pixels, (x, y) = stored_orientation(p.hu[k], p.grid, o.position)
    slope = o.slopes[k % len(o.slopes)]
    stored = np.rint((pixels - o.intercept) / slope).astype(np.int16 if o.signed else np.uint16)
    ds = dicom_object(o, CTImageStorage, "CT", f"ct {k}")
    ds.ImageType, ds.InstanceNumber, ds.PatientPosition = ["ORIGINAL", "PRIMARY", "AXIAL"], k + 1, o.position
    ds.ImagePositionPatient = [x, y, float(p.grid.axis_mm(0)[k])]
    ds.ImageOrientationPatient = list(ORIENTATIONS[o.position])
    ds.PixelSpacing, ds.SliceThickness = [p.grid.spacing_mm[1], p.grid.spacing_mm[2]], p.grid.spacing_mm[0]
    ds.KVP, ds.AcquisitionNumber = "120", 1
    _set_pixels(ds, stored, o.bits_stored)
    ds.RescaleSlope, ds.RescaleIntercept = slope, o.intercept
    return _compressed(ds, o.transfer_syntax)


def _set_pixels(ds: Dataset, stored: NDArray[np.generic], bits_stored: int) -> None:
    ds.Rows, ds.Columns = stored.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = stored.dtype.itemsize * 8, bits_stored, bits_stored - 1
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    content = np.ascontiguousarray(stored)
    if bits_stored < 8 * stored.dtype.itemsize:
        content = content & content.dtype.type((1 << bits_stored) - 1)
    ds.PixelData = content.tobytes()
    ds["PixelData"].VR = "OW"


def _compressed(ds: FileDataset, transfer_syntax: str) -> FileDataset:
    if transfer_syntax == JPEGLosslessSV1:
        return _jpeg_lossless(ds)
    if transfer_syntax == ExplicitVRBigEndian:
        ds.PixelData = np.frombuffer(ds.PixelData, np.uint16).byteswap().tobytes()
        ds.set_original_encoding(False, False)
    if pydicom.uid.UID(transfer_syntax).is_compressed:
        ds.compress(transfer_syntax, generate_instance_uid=False)
    ds.file_meta.TransferSyntaxUID = transfer_syntax
    return ds


def _jpeg_lossless(ds: FileDataset) -> FileDataset:
    """The same slice with pixels in JPEG lossless, which of our packages only GDCM can write."""
    import tempfile

    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        source, target = f"{folder}/a.dcm", f"{folder}/b.dcm"
        ds.save_as(source, enforce_file_format=True)
        reader = gdcm.ImageReader()
        reader.SetFileName(source)
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(target)
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        result = pydicom.dcmread(target)
        assert isinstance(result.PixelData, bytes)
        return result


def dose(
    p: Phantom, bits: int = 16, position: str = "HFS", descending: bool = False, absolute: bool = False
) -> FileDataset:
    """The phantom's dose as RTDOSE, its frames in either direction, its offsets in either convention."""
    o = p.options
    scaling = float(f"{p.dose_gy.max() / (2**bits - 2):.9g}")
    frames, (x, y) = stored_orientation(np.rint(p.dose_gy.astype(np.float64) / scaling), p.grid, position)
    z_mm = p.grid.axis_mm(0)
    if descending:
        frames, z_mm = frames[::-1], z_mm[::-1]
    row, column = np.array(ORIENTATIONS[position][:3]), np.array(ORIENTATIONS[position][3:])
    along_normal = float(np.cross(row, column)[2])
    ds = dicom_object(o, RTDoseStorage, "RTDOSE", "rd")
    ds.DoseUnits, ds.DoseType, ds.DoseSummationType = "GY", "PHYSICAL", "PLAN"
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [x, y, float(z_mm[0])], list(ORIENTATIONS[position])
    ds.PixelSpacing = [p.grid.spacing_mm[1], p.grid.spacing_mm[2]]
    ds.NumberOfFrames, ds.FrameIncrementPointer = len(z_mm), 0x3004000C
    ds.GridFrameOffsetVector = [float(v) for v in (z_mm if absolute else along_normal * (z_mm - z_mm[0]))]
    ds.DoseGridScaling = scaling
    _set_pixels(ds, frames.astype(np.uint16 if bits == 16 else np.uint32), bits)
    ds.ReferencedRTPlanSequence = [reference(RTPlanStorage, o.uid("rp"))]
    return ds
