"""The phantom's CT as one enhanced multi-frame object, its functional groups shared or frame by frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID, EnhancedCTImageStorage, ExplicitVRLittleEndian

from tests.dicom_phantom.files import save
from tests.dicom_phantom.images import stored_orientation
from tests.dicom_phantom.objects import dicom_object
from tests.dicom_phantom.values import ORIENTATIONS, Phantom


def _item(**attributes: object) -> list[Dataset]:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return [item]


def _common_groups(p: Phantom, slope: float) -> Dataset:
    groups = Dataset()
    groups.PlaneOrientationSequence = _item(ImageOrientationPatient=list(ORIENTATIONS[p.options.position]))
    spacing = [p.grid.spacing_mm[1], p.grid.spacing_mm[2]]
    groups.PixelMeasuresSequence = _item(PixelSpacing=spacing, SliceThickness=p.grid.spacing_mm[0])
    transformation = {"RescaleSlope": slope, "RescaleIntercept": p.options.intercept, "RescaleType": "HU"}
    groups.PixelValueTransformationSequence = _item(**transformation)
    groups.CTImageFrameTypeSequence = _item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])
    return groups


def enhanced_ct(p: Phantom, transfer_syntax: str = ExplicitVRLittleEndian, shared: bool = True) -> FileDataset:
    """Frames in descending z. shared: what holds for all frames stands once, else in each frame."""
    o = p.options
    order = list(range(o.shape[0]))[::-1]
    pixels, (x, y) = stored_orientation(p.hu, p.grid, o.position)
    slopes = [o.slopes[k % len(o.slopes)] for k in order]
    stored = np.stack([np.rint((pixels[k] - o.intercept) / s) for k, s in zip(order, slopes, strict=True)])
    ds = dicom_object(o, EnhancedCTImageStorage, "CT", "enhanced")
    ds.ImageType, ds.PatientPosition = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], o.position
    ds.NumberOfFrames, (ds.Rows, ds.Columns) = len(order), stored.shape[1:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.SharedFunctionalGroupsSequence = [_common_groups(p, slopes[0]) if shared else Dataset()]
    frames = []
    for k, slope in zip(order, slopes, strict=True):
        groups = Dataset() if shared else _common_groups(p, slope)
        position = [x, y, float(p.grid.axis_mm(0)[k])]
        groups.PlanePositionSequence = _item(ImagePositionPatient=position)
        frames.append(groups)
    ds.PerFrameFunctionalGroupsSequence = frames
    ds.PixelData = stored.astype(np.uint16).tobytes()
    ds["PixelData"].VR = "OW"
    if UID(transfer_syntax).is_compressed:
        ds.compress(transfer_syntax, generate_instance_uid=False)
    ds.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    return ds


def make_enhanced(p: Phantom, transfer_syntax: str = ExplicitVRLittleEndian, shared: bool = True) -> Path:
    """Put one enhanced object in place of the phantom's CT files."""
    for path in p.ct_files:
        path.unlink()
    path = p.folder / "enhanced.dcm"
    save(enhanced_ct(p, transfer_syntax, shared), path)
    return path
