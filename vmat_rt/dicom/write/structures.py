"""Contours -> RTSTRUCT (PS3.3 A.19, C.8.8.5 to C.8.8.8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import RTStructureSetStorage

from vmat_rt.case import Contours
from vmat_rt.dicom.write.header import CtReference, Origin, OutputHeader, new_object
from vmat_rt.dicom.write.layout import decimal_string
from vmat_rt.errors import GeometryError

# Micrometres, so that vertices take few characters.
_DECIMALS = 3

_DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"
"""SOP class of the item that stands for the study; retired, and what planning systems still look for."""

_COLOURS = (
    (0, 119, 187), (238, 119, 51), (0, 153, 136), (204, 51, 17), (51, 187, 238), (238, 51, 119),
    (17, 119, 51), (136, 34, 85), (221, 204, 119), (51, 34, 136), (153, 153, 51), (170, 68, 153),
)  # fmt: skip
"""Hues after Paul Tol's colour-blind-safe sets ("Colour Schemes", SRON/EPS/TN/09-002): vibrant, then muted."""


@dataclass(frozen=True)
class Roi:
    """One ROI to write. interpreted_type is an RT ROI Interpreted Type of PS3.3 C.8.8.8, or empty."""

    number: int
    name: str
    contours: Contours
    interpreted_type: str
    description: str = ""


def structure_set_dataset(rois: Sequence[Roi], label: str, header: OutputHeader, origin: Origin) -> Dataset:
    """An RTSTRUCT of these ROIs, not yet written.

    label: StructureSetLabel, at most 16 characters. Contours refer to the CT slice that they lie in, where there is
    one. Raises GeometryError when an ROI lies in another frame, or the header knows no CT series.
    """
    if header.ct is None:
        raise GeometryError("an RTSTRUCT refers to the slices of a CT series, and there is none")
    dataset = new_object(header, origin, RTStructureSetStorage)
    dataset.StructureSetLabel = label
    dataset.StructureSetName = origin.description
    dataset.StructureSetDate, dataset.StructureSetTime = header.date, header.time
    dataset.ApprovalStatus = "UNAPPROVED"
    dataset.ReferencedFrameOfReferenceSequence = [_frame_item(header, header.ct)]
    for roi in rois:
        if roi.contours.frame_uid != header.frame_uid:
            raise GeometryError("an ROI to be written lies in another frame of reference than the CT")
    dataset.StructureSetROISequence = [_roi_item(roi) for roi in rois]
    dataset.ROIContourSequence = [_contours_item(roi, header.ct) for roi in rois]
    dataset.RTROIObservationsSequence = [_observation_item(roi) for roi in rois]
    return dataset


def _frame_item(header: OutputHeader, ct: CtReference) -> Dataset:
    """The frame, its study, and every slice of the CT series, ascending in z (PS3.3 C.8.8.5)."""
    series = Dataset()
    series.SeriesInstanceUID = ct.series_uid
    series.ContourImageSequence = [_slice_item(ct, index) for index in range(len(ct.sop_uids))]
    study = Dataset()
    study.ReferencedSOPClassUID = _DETACHED_STUDY
    study.ReferencedSOPInstanceUID = header.inherited.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = header.frame_uid
    frame.RTReferencedStudySequence = [study]
    return frame


def _slice_item(ct: CtReference, index: int) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = ct.sop_class_uid
    item.ReferencedSOPInstanceUID = ct.sop_uids[index]
    return item


def _roi_item(roi: Roi) -> Dataset:
    item = Dataset()
    item.ROINumber = roi.number
    item.ReferencedFrameOfReferenceUID = roi.contours.frame_uid
    item.ROIName = roi.name
    item.ROIDescription = roi.description
    item.ROIGenerationAlgorithm = "AUTOMATIC"
    return item


def _contours_item(roi: Roi, ct: CtReference) -> Dataset:
    item = Dataset()
    item.ROIDisplayColor = list(_COLOURS[(roi.number - 1) % len(_COLOURS)])
    item.ContourSequence = _contour_items(roi.contours, ct)
    item.ReferencedROINumber = roi.number
    return item


def _observation_item(roi: Roi) -> Dataset:
    item = Dataset()
    item.ObservationNumber = roi.number
    item.ReferencedROINumber = roi.number
    item.RTROIInterpretedType = roi.interpreted_type
    item.ROIInterpreter = ""
    return item


def _contour_data(text: str) -> RawDataElement:
    """ContourData from its text. pydicom would turn every number into an object first, which takes most of the time."""
    value = text.encode() + b" " * (len(text) % 2)
    return RawDataElement(Tag("ContourData"), "DS", len(value), value, 0, True, True)


def _contour_items(contours: Contours, ct: CtReference) -> list[Dataset]:
    z_mm = np.asarray(ct.z_mm)
    half_slice_mm = float(np.median(np.diff(z_mm))) / 2 if z_mm.size > 1 else contours.slab_mm / 2
    items = []
    for plane in contours.planes:
        nearest = int(np.argmin(np.abs(z_mm - plane.z_mm)))
        in_slice = abs(z_mm[nearest] - plane.z_mm) <= half_slice_mm
        z = decimal_string(plane.z_mm)
        for polygon in plane.polygons:
            points = np.round(polygon, _DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0
            if len(np.unique(points, axis=0)) < 3:
                continue
            item = Dataset()
            if in_slice:
                item.ContourImageSequence = [_slice_item(ct, nearest)]
            item.ContourGeometricType = "CLOSED_PLANAR"
            item.NumberOfContourPoints = len(points)
            item[Tag("ContourData")] = _contour_data("\\".join(f"{x}\\{y}\\{z}" for y, x in points.tolist()))
            items.append(item)
    return items
