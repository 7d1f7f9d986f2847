"""Volume of HU -> CT series, one file a slice (PS3.3 A.3, C.8.2.1)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless

from vmat_rt.case import Volume
from vmat_rt.dicom.write.header import MANUFACTURER, Origin, OutputHeader, write_file
from vmat_rt.dicom.write.layout import decimal_string, decimal_strings, layout_for
from vmat_rt.errors import GeometryError

Compression = Literal["none", "rle"]
_INT16 = np.iinfo(np.int16)


@dataclass(frozen=True)
class CtStyle:
    """Compression of the pixels, and BodyPartExamined (may be empty)."""

    compression: Compression = "none"
    body_part: str = ""


def write_ct(folder: Path, ct: Volume, header: OutputHeader, origin: Origin, style: CtStyle) -> None:
    """Write the slices of `ct` (HU, rounded to int16) as the series and instances that header.ct names.

    Slices are numbered in the direction of row x column. Raises GeometryError when the header's slices are not those of
    the volume.
    """
    header.require_frame_of(ct.grid)
    if header.ct is None or len(header.ct.sop_uids) != ct.grid.shape[0]:
        raise GeometryError("the header does not name one instance for each CT slice")
    folder.mkdir(parents=True, exist_ok=True)
    layout = layout_for(header.orientation)
    z, y, x = layout.first_voxel_mm(ct.grid)
    pixels = layout.arranged(np.clip(np.rint(ct.array), _INT16.min, _INT16.max).astype("<i2"))
    common = _series_attributes(ct, header, origin)
    # Type 2C: a side, unless the body part says that there is none.
    common.BodyPartExamined = style.body_part
    if not style.body_part:
        common.Laterality = ""
    common.ImageOrientationPatient = layout.cosines
    for index, plane in enumerate(pixels):
        dataset = copy.deepcopy(common)
        dataset.InstanceNumber = index + 1
        dataset.SOPInstanceUID = header.ct.sop_uids[:: layout.signs[0]][index]
        slice_z = z + layout.signs[0] * index * ct.grid.spacing_mm[0]
        dataset.ImagePositionPatient = decimal_strings((x, y, slice_z))
        _save_slice(folder / f"CT_{index + 1:04d}.dcm", dataset, np.ascontiguousarray(plane), style.compression)


def _series_attributes(ct: Volume, header: OutputHeader, origin: Origin) -> Dataset:
    """Everything that the slices share."""
    assert header.ct is not None
    dataset = copy.deepcopy(header.inherited)
    dataset.SOPClassUID = CTImageStorage
    dataset.Modality = "CT"
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    dataset.SeriesInstanceUID = header.ct.series_uid
    dataset.SeriesNumber = 1
    dataset.SeriesDescription = origin.description
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = origin.model
    dataset.SoftwareVersions = list(origin.software)
    dataset.FrameOfReferenceUID = header.frame_uid
    dataset.PatientPosition = header.patient_position
    dataset.KVP = None
    dataset.AcquisitionNumber = None
    dataset.SliceThickness = decimal_string(ct.grid.spacing_mm[0])
    dataset.PixelSpacing = decimal_strings(ct.grid.spacing_mm[1:])
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    _, dataset.Rows, dataset.Columns = ct.grid.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.RescaleIntercept, dataset.RescaleSlope = 0, 1
    dataset.RescaleType = "HU"
    return dataset


def _save_slice(path: Path, dataset: Dataset, plane: NDArray[np.int16], compression: Compression) -> None:
    if compression == "none":
        dataset.PixelData = plane.tobytes()
        write_file(path, dataset, ExplicitVRLittleEndian)
        return
    # The encoder is named: another one would be as lossless, but not byte for byte the same file.
    dataset.compress(RLELossless, plane, encoding_plugin="pydicom", generate_instance_uid=False)
    write_file(path, dataset, RLELossless)
