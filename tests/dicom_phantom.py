"""A small DICOM study with known content: every axis differs, so that no exchange, flip or shift goes unseen.

`write_study` writes CT + RTSTRUCT (+ RTPLAN, RTDOSE) and returns what is true of them. Faults are made afterwards, with
`edited`, `cut_short` or by removing files.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEGLosslessSV1,
    RTDoseStorage,
    RTPlanStorage,
    RTStructureSetStorage,
    generate_uid,
)

from vmat_rt.case import Polygon
from vmat_rt.grid import Grid

ORIENTATIONS = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
}
SHAPE = (11, 40, 52)
SPACING_MM = (3.0, 2.5, 2.0)
ORIGIN_MM = (-31.5, -47.3, -55.7)


@dataclass(frozen=True)
class Drawn:
    """One ROI: closed polygons (y, x) mm by z mm. number is its ROINumber; geometric_type goes to every contour."""

    name: str
    number: int
    planes: Mapping[float, Sequence[Polygon]]
    interpreted_type: str = ""
    geometric_type: str = "CLOSED_PLANAR"


@dataclass(frozen=True)
class Options:
    """What `write_study` writes. seed makes every UID; patient is name and ID; rois None means `default_rois`."""

    position: str = "HFS"
    transfer_syntax: str = ExplicitVRLittleEndian
    signed: bool = True
    bits_stored: int = 16
    slopes: tuple[float, ...] = (1.0,)  # slice k takes slopes[k % len]
    intercept: float = -1024.0
    shape: tuple[int, int, int] = SHAPE
    spacing_mm: tuple[float, float, float] = SPACING_MM
    origin_mm: tuple[float, float, float] = ORIGIN_MM
    ct: bool = True
    structures: bool = True
    plan: bool = False
    dose: bool = False
    rois: tuple[Drawn, ...] | None = None
    prescription_gy: Mapping[int, float] = field(default_factory=lambda: {1: 70.0, 2: 56.0})
    fractions: int = 28
    patient: str = "PHANTOM"
    seed: str = "phantom"

    def uid(self, name: str) -> str:
        return str(generate_uid(entropy_srcs=[self.seed, name]))


@dataclass(frozen=True)
class Phantom:
    """A written study and its truth: hu and dose_gy (z, y, x) on `grid`; ct_files ascending in z."""

    folder: Path
    grid: Grid
    hu: NDArray[np.float32]
    dose_gy: NDArray[np.float32]
    rois: tuple[Drawn, ...]
    ct_files: tuple[Path, ...]
    structures_file: Path
    plan_file: Path
    dose_file: Path
    options: Options


def disc(y_mm: float, x_mm: float, radius_mm: float, vertices: int = 48) -> Polygon:
    """A regular polygon round (y, x)."""
    angle = 2 * np.pi * np.arange(vertices) / vertices
    return np.stack([y_mm + radius_mm * np.sin(angle), x_mm + radius_mm * np.cos(angle)], axis=1)


def default_rois(grid: Grid) -> tuple[Drawn, ...]:
    """Two target levels, two organs at risk, the outline, a point, an ROI nobody knows and one without contours."""
    z = [float(v) for v in grid.axis_mm(0)]
    _, y, x = grid.centre_mm
    return (
        Drawn("PTV_7000", 1, {v: [disc(y - 3, x + 4, 12)] for v in z[4:8]}, "PTV"),
        Drawn("PTV_5600", 2, {v: [disc(y - 3, x + 4, 18), disc(y - 3, x + 4, 12)] for v in z[3:9]}, "PTV"),
        Drawn("Rectum", 3, {v: [disc(y + 24, x + 2, 8)] for v in z[2:10]}, "ORGAN"),
        Drawn("Bladder", 4, {v: [disc(y - 25, x - 1, 9)] for v in z[5:9]}, "ORGAN"),
        Drawn("BODY", 5, {v: [disc(y, x, 44)] for v in z}, "EXTERNAL"),
        Drawn("Marker", 6, {z[5]: [disc(y, x, 1, 1)]}, "MARKER", "POINT"),
        Drawn("zz help", 7, {v: [disc(y + 1, x - 20, 5)] for v in z[3:5]}),
        Drawn("Empty", 8, {}),
    )


def write_study(folder: Path, options: Options | None = None, **changes: object) -> Phantom:
    """Write the study below `folder`; `changes` are fields of Options. File names are shuffled against z."""
    o = replace(options or Options(), **changes)  # type: ignore[arg-type]
    folder.mkdir(parents=True, exist_ok=True)
    grid = Grid(o.shape, o.spacing_mm, o.origin_mm, o.uid("frame"))
    rois = o.rois if o.rois is not None else default_rois(grid) if o.structures else ()
    hu, dose_gy = phantom_hu(grid), phantom_dose(grid)
    order = list(range(o.shape[0]))
    random.Random(7).shuffle(order)
    files = tuple(folder / "CT" / f"{o.seed}.{order[k]:03d}.dcm" for k in range(o.shape[0]))
    phantom = Phantom(
        folder, grid, hu, dose_gy, rois, files, folder / "rs.dcm", folder / "rp.dcm", folder / "rd.dcm", o
    )
    if o.ct:
        (folder / "CT").mkdir(exist_ok=True)
        for k, path in enumerate(files):
            save(ct_slice(phantom, k), path)
    if o.structures:
        save(structure_set(phantom), phantom.structures_file)
    if o.plan:
        save(plan(phantom), phantom.plan_file)
    if o.dose:
        save(dose(phantom), phantom.dose_file)
    return phantom


def phantom_hu(grid: Grid) -> NDArray[np.float32]:
    """Whole HU: a body of about 0 HU that differs along each axis, in air."""
    y, x = (grid.axis_mm(axis) - grid.centre_mm[axis] for axis in (1, 2))
    inside = (y[:, None] ** 2 + x[None, :] ** 2 <= 44**2)[None]
    k, j, i = (np.arange(n) for n in grid.shape)
    ramp = 2 * k[:, None, None] + j[:, None] - 3 * i
    return np.where(inside, ramp, -1000).astype(np.float32)


def phantom_dose(grid: Grid) -> NDArray[np.float32]:
    """Gy that falls from a point off the middle, differently along each axis."""
    z, y, x = (grid.axis_mm(axis) - grid.centre_mm[axis] for axis in range(3))
    r2 = (z[:, None, None] / 15) ** 2 + ((y[:, None] + 3) / 25) ** 2 + ((x - 4) / 35) ** 2
    return (70 * np.exp(-r2)).astype(np.float32)


def _object(o: Options, sop_class: str, modality: str, instance: str) -> FileDataset:
    ds = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.Modality = sop_class, modality
    ds.SOPInstanceUID = o.uid(instance)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = o.uid("study"), o.uid(modality)
    ds.PatientName, ds.PatientID = o.patient, o.patient
    ds.PatientBirthDate, ds.PatientSex = "", "O"
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20200102", "030405", "1", ""
    ds.ReferringPhysicianName, ds.Manufacturer, ds.SeriesNumber = "", "tests", 1
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = o.uid("frame"), ""
    return ds


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
    ds = _object(o, CTImageStorage, "CT", f"ct {k}")
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


def structure_set(p: Phantom) -> FileDataset:
    o = p.options
    ds = _object(o, RTStructureSetStorage, "RTSTRUCT", "rs")
    ds.StructureSetLabel, ds.StructureSetDate, ds.StructureSetTime = "PHANTOM", "20200102", "030405"
    series = Dataset()
    series.SeriesInstanceUID = o.uid("CT")
    series.ContourImageSequence = [_reference(CTImageStorage, o.uid(f"ct {k}")) for k in range(o.shape[0])]
    study = _reference("1.2.840.10008.3.1.2.3.1", o.uid("study"))
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = o.uid("frame"), [study]
    ds.ReferencedFrameOfReferenceSequence = [frame]
    ds.StructureSetROISequence = [_declared(roi, o.uid("frame")) for roi in p.rois]
    ds.ROIContourSequence = [_drawn(roi) for roi in p.rois if roi.planes]
    ds.RTROIObservationsSequence = [_observed(roi) for roi in p.rois]
    ds.ApprovalStatus = "UNAPPROVED"
    return ds


def _reference(sop_class: str, instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
    return item


def _declared(roi: Drawn, frame_uid: str) -> Dataset:
    item = Dataset()
    item.ROINumber, item.ROIName, item.ROIGenerationAlgorithm = roi.number, roi.name, "MANUAL"
    item.ReferencedFrameOfReferenceUID = frame_uid
    return item


def _drawn(roi: Drawn) -> Dataset:
    item = Dataset()
    item.ReferencedROINumber, item.ROIDisplayColor = roi.number, [255, 0, 0]
    item.ContourSequence = [
        contour(polygon, z_mm, roi.geometric_type) for z_mm, polygons in roi.planes.items() for polygon in polygons
    ]
    return item


def contour(polygon: Polygon, z_mm: float, geometric_type: str = "CLOSED_PLANAR") -> Dataset:
    """One item of a ContourSequence."""
    item = Dataset()
    item.ContourGeometricType, item.NumberOfContourPoints = geometric_type, len(polygon)
    item.ContourData = [f"{value:.6g}" for y, x in polygon for value in (x, y, z_mm)]
    return item


def _observed(roi: Drawn) -> Dataset:
    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = roi.number
    item.RTROIInterpretedType, item.ROIInterpreter = roi.interpreted_type, ""
    return item


def plan(p: Phantom) -> FileDataset:
    """Two opposed arcs over the prescription of options.prescription_gy, and a setup beam that must not count."""
    o = p.options
    ds = _object(o, RTPlanStorage, "RTPLAN", "rp")
    ds.RTPlanLabel, ds.RTPlanGeometry = "PHANTOM", "PATIENT"
    ds.RTPlanDate, ds.RTPlanTime = "20200102", "030405"
    ds.DoseReferenceSequence = [
        _prescribed(n, roi, "TARGET", gy) for n, (roi, gy) in enumerate(o.prescription_gy.items(), 1)
    ]
    ds.DoseReferenceSequence.append(_prescribed(9, 3, "ORGAN_AT_RISK", None))
    group = Dataset()
    group.FractionGroupNumber, group.NumberOfFractionsPlanned = 1, o.fractions
    group.NumberOfBeams, group.NumberOfBrachyApplicationSetups = 2, 0
    ds.FractionGroupSequence = [group]
    setup = Dataset()
    setup.PatientSetupNumber, setup.PatientPosition = 1, o.position
    ds.PatientSetupSequence = [setup]
    ds.BeamSequence = [
        beam(1, [(181.0, "CW"), (0.0, "CW"), (179.0, "NONE")]),
        beam(2, [(179.0, "CC"), (181.0, "NONE")]),
        beam(3, [(45.0, "NONE")], delivery="SETUP"),
    ]
    ds.ReferencedStructureSetSequence = [_reference(RTStructureSetStorage, o.uid("rs"))]
    return ds


def _prescribed(number: int, roi_number: int, kind: str, dose_gy: float | None) -> Dataset:
    item = Dataset()
    item.DoseReferenceNumber, item.DoseReferenceStructureType, item.DoseReferenceType = number, "VOLUME", kind
    item.ReferencedROINumber = roi_number
    if dose_gy is not None:
        item.TargetPrescriptionDose = dose_gy
    else:
        item.OrganAtRiskMaximumDose = 60.0
    return item


def beam(number: int, points: Sequence[tuple[float | None, str]], delivery: str = "TREATMENT") -> Dataset:
    """A beam of control points (gantry angle, rotation direction)."""
    item = Dataset()
    item.BeamNumber, item.BeamName, item.RadiationType, item.BeamType = number, f"B{number}", "PHOTON", "DYNAMIC"
    item.TreatmentDeliveryType, item.NumberOfControlPoints = delivery, len(points)
    item.ControlPointSequence = []
    for index, (angle, turning) in enumerate(points):
        point = Dataset()
        point.ControlPointIndex, point.GantryRotationDirection = index, turning
        if angle is not None:
            point.GantryAngle = angle
        if index == 0:
            point.PatientSupportAngle = 0.0
        item.ControlPointSequence.append(point)
    return item


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
    ds = _object(o, RTDoseStorage, "RTDOSE", "rd")
    ds.DoseUnits, ds.DoseType, ds.DoseSummationType = "GY", "PHYSICAL", "PLAN"
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [x, y, float(z_mm[0])], list(ORIENTATIONS[position])
    ds.PixelSpacing = [p.grid.spacing_mm[1], p.grid.spacing_mm[2]]
    ds.NumberOfFrames, ds.FrameIncrementPointer = len(z_mm), 0x3004000C
    ds.GridFrameOffsetVector = [float(v) for v in (z_mm if absolute else along_normal * (z_mm - z_mm[0]))]
    ds.DoseGridScaling = scaling
    _set_pixels(ds, frames.astype(np.uint16 if bits == 16 else np.uint32), bits)
    ds.ReferencedRTPlanSequence = [_reference(RTPlanStorage, o.uid("rp"))]
    return ds


def save(ds: Dataset, path: Path) -> None:
    ds.save_as(path, enforce_file_format=True)


@contextmanager
def edited(path: Path, to: Path | None = None) -> Iterator[FileDataset]:
    """The dataset of a file for changing; it is written back (or to another file) at the end."""
    ds = pydicom.dcmread(path)
    changed = copy.deepcopy(ds)
    yield changed
    save(changed, to or path)


def cut_short(path: Path, drop_bytes: int) -> None:
    """Remove the last bytes of a file, as an interrupted copy does."""
    path.write_bytes(path.read_bytes()[:-drop_bytes])


def to_other_patient(path: Path, patient: str) -> None:
    with edited(path) as ds:
        ds.PatientID = ds.PatientName = patient
