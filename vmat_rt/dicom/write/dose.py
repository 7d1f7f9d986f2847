"""Volume of dose -> RTDOSE, without a template (PS3.3 A.18, C.8.8.3)."""

from __future__ import annotations

from decimal import ROUND_CEILING, Context, Decimal
from pathlib import Path
from typing import Literal

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import RTDoseStorage, RTPlanStorage

from vmat_rt.case import ModelIdentity, Volume
from vmat_rt.dicom.write.header import SIMULATED, Origin, OutputHeader, new_object, origin_of, save_object
from vmat_rt.dicom.write.layout import decimal_string, decimal_strings, layout_for
from vmat_rt.errors import ConfigError
from vmat_rt.predictor import require_dose

Bits = Literal[16, 32]
# 32-bit doses stop at 31 bits: some readers take the pixels for signed, and float32 has no more than 24 to give.
_HIGHEST_STORED = {16: 2**16 - 1, 32: 2**31 - 1}
_GRID_FRAME_OFFSET_VECTOR = Tag("GridFrameOffsetVector")


def write_rtdose(
    path: Path, dose: Volume, header: OutputHeader, identity: ModelIdentity, plan_uid: str, bits: Bits = 16
) -> str:
    """Write a predicted dose and return its SOPInstanceUID.

    dose: Gy in total over all fractions, in the study's frame. plan_uid: SOPInstanceUID of the RTPLAN that the dose
    belongs to, the companion plan or an existing one. bits: 16 or 32 a voxel. Read back, every voxel is within half of
    DoseGridScaling of `dose`.

    Raises ModelError when a value is negative or not finite, GeometryError when the dose lies in another frame,
    ConfigError for another number of bits.
    """
    origin = origin_of(identity)
    return save_object(path, rtdose_dataset(dose, header, origin, plan_uid, bits), header, origin)


def rtdose_dataset(dose: Volume, header: OutputHeader, origin: Origin, plan_uid: str, bits: Bits = 16) -> Dataset:
    """The RTDOSE of `write_rtdose`, not yet written, for a dose of any origin."""
    if bits not in _HIGHEST_STORED:
        raise ConfigError(f"an RTDOSE has 16 or 32 bits a voxel, not {bits}")
    header.require_frame_of(dose.grid)
    require_dose(dose.array)
    dataset = new_object(header, origin, RTDoseStorage)
    _set_image_plane(dataset, dose, header)
    _set_pixels(dataset, dose, header, bits)
    dataset.DoseUnits = "GY"
    dataset.DoseType = "PHYSICAL"
    dataset.DoseSummationType = "PLAN"
    if origin.predicted:
        dataset.DoseComment = f"{origin.description}. Model {origin.model}"[:64]
    elif origin.simulated:
        dataset.DoseComment = f"{SIMULATED}. Ideal fluence, not deliverable"
    plan = Dataset()
    plan.ReferencedSOPClassUID = RTPlanStorage
    plan.ReferencedSOPInstanceUID = plan_uid
    dataset.ReferencedRTPlanSequence = [plan]
    return dataset


def grid_scaling(highest_gy: float, bits: Bits) -> str:
    """DoseGridScaling (Gy a step): the finest of 11 digits with which highest_gy still fits into `bits` bits."""
    if highest_gy == 0:
        return "0.001"
    # Rounded up, so that the highest dose never overflows; at most 16 characters with a two-digit exponent.
    context = Context(prec=11, rounding=ROUND_CEILING)
    step = context.divide(Decimal(highest_gy), Decimal(_HIGHEST_STORED[bits]))
    return f"{step:.10e}"


def as_stored(dose: Volume, bits: Bits = 16) -> Volume:
    """The dose as a reader finds it in the file: rounded to steps of DoseGridScaling. Raises as writing does.

    What is evaluated is what is written, so that whoever opens the file gets the numbers of the report.
    """
    require_dose(dose.array)
    scaling = float(grid_scaling(float(dose.array.max()), bits))
    return Volume(dose.grid, (np.rint(dose.array.astype(np.float64) / scaling) * scaling).astype(np.float32))


def _set_image_plane(dataset: Dataset, dose: Volume, header: OutputHeader) -> None:
    layout = layout_for(header.orientation)
    thickness, row_spacing, column_spacing = dose.grid.spacing_mm
    z, y, x = layout.first_voxel_mm(dose.grid)
    dataset.ImagePositionPatient = decimal_strings((x, y, z))
    dataset.ImageOrientationPatient = layout.cosines
    dataset.PixelSpacing = decimal_strings((row_spacing, column_spacing))
    dataset.SliceThickness = decimal_string(thickness)
    # Relative offsets grow along row x column, whichever way that is in z (PS3.3 C.8.8.3.2).
    dataset.GridFrameOffsetVector = decimal_strings([thickness * index for index in range(dose.grid.shape[0])])
    dataset.FrameIncrementPointer = _GRID_FRAME_OFFSET_VECTOR


def _set_pixels(dataset: Dataset, dose: Volume, header: OutputHeader, bits: Bits) -> None:
    scaling = grid_scaling(float(dose.array.max()), bits)
    frames = layout_for(header.orientation).arranged(dose.array)
    stored = np.empty(frames.shape, np.dtype(f"<u{bits // 8}"))
    for frame, plane in zip(stored, frames, strict=True):
        # Divided by the value as written, so reading returns what was rounded here.
        frame[:] = np.rint(plane.astype(np.float64) / float(scaling))
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = 0
    dataset.DoseGridScaling = scaling
    dataset.PixelData = stored.tobytes()
