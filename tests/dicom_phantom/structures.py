"""The structure set of the phantom."""

from __future__ import annotations

from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    CTImageStorage,
    RTStructureSetStorage,
)

from tests.dicom_phantom.objects import dicom_object, reference
from tests.dicom_phantom.values import Drawn, Phantom
from vmat_rt.case import Polygon


def structure_set(p: Phantom) -> FileDataset:
    o = p.options
    ds = dicom_object(o, RTStructureSetStorage, "RTSTRUCT", "rs")
    ds.StructureSetLabel, ds.StructureSetDate, ds.StructureSetTime = "PHANTOM", "20200102", "030405"
    series = Dataset()
    series.SeriesInstanceUID = o.uid("CT")
    series.ContourImageSequence = [reference(CTImageStorage, o.uid(f"ct {k}")) for k in range(o.shape[0])]
    study = reference("1.2.840.10008.3.1.2.3.1", o.uid("study"))
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = o.uid("frame"), [study]
    ds.ReferencedFrameOfReferenceSequence = [frame]
    ds.StructureSetROISequence = [_declared(roi, o.uid("frame")) for roi in p.rois]
    ds.ROIContourSequence = [_drawn(roi) for roi in p.rois if roi.planes]
    ds.RTROIObservationsSequence = [_observed(roi) for roi in p.rois]
    ds.ApprovalStatus = "UNAPPROVED"
    return ds


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
