"""Contours -> RTSTRUCT (PS3.3 A.19, C.8.8.5 to C.8.8.8).

rt-utils lays out the sequences (references to the CT, ROI, contour and observation items), from slices that we sorted
ourselves; the contours are ours, as its own tracer cuts half a pixel off every side (see `trace`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import RTStructureSetStorage
from rt_utils import ds_helper
from rt_utils.utils import ROIData

from vmat_rt.case import Contours
from vmat_rt.dicom.write.header import CtReference, Origin, OutputHeader, new_object
from vmat_rt.dicom.write.layout import decimal_string
from vmat_rt.errors import GeometryError

# Micrometres, so that vertices take few characters.
_DECIMALS = 3


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
    slices = _slice_headers(header, header.ct)
    dataset = new_object(header, origin, RTStructureSetStorage)
    dataset.StructureSetLabel = label
    dataset.StructureSetName = origin.description
    dataset.StructureSetDate, dataset.StructureSetTime = header.date, header.time
    dataset.ApprovalStatus = "UNAPPROVED"
    ds_helper.add_refd_frame_of_ref_sequence(dataset, slices)
    ds_helper.add_sequence_lists_to_ds(dataset)
    for roi in rois:
        _add_roi(dataset, roi, slices, header.ct)
    return dataset


def _slice_headers(header: OutputHeader, ct: CtReference) -> list[Dataset]:
    """What rt-utils needs to know of each CT slice, ascending in z."""
    slices = []
    for sop_uid in ct.sop_uids:
        item = Dataset()
        item.SOPClassUID, item.SOPInstanceUID = ct.sop_class_uid, sop_uid
        item.SeriesInstanceUID = ct.series_uid
        item.StudyInstanceUID = header.inherited.StudyInstanceUID
        item.FrameOfReferenceUID = header.frame_uid
        slices.append(item)
    return slices


def _add_roi(dataset: Dataset, roi: Roi, slices: list[Dataset], ct: CtReference) -> None:
    frame_uid = slices[0].FrameOfReferenceUID
    if roi.contours.frame_uid != frame_uid:
        raise GeometryError("an ROI to be written lies in another frame of reference than the CT")
    # rt-utils gives the colour; the mask that its own tracer would want is not needed.
    data = ROIData(None, None, roi.number, roi.name, frame_uid, roi.description)
    dataset.StructureSetROISequence.append(ds_helper.create_structure_set_roi(data))
    item = Dataset()
    item.ROIDisplayColor = data.color
    item.ContourSequence = _contour_items(roi.contours, slices, ct)
    item.ReferencedROINumber = roi.number
    dataset.ROIContourSequence.append(item)
    observation = ds_helper.create_rtroi_observation(data)
    observation.RTROIInterpretedType = roi.interpreted_type
    del observation.ROIObservationDescription
    dataset.RTROIObservationsSequence.append(observation)


def _contour_data(text: str) -> RawDataElement:
    """ContourData from its text. pydicom would turn every number into an object first, which takes most of the time."""
    value = text.encode() + b" " * (len(text) % 2)
    return RawDataElement(Tag("ContourData"), "DS", len(value), value, 0, True, True)


def _contour_items(contours: Contours, slices: list[Dataset], ct: CtReference) -> list[Dataset]:
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
            item = ds_helper.create_contour(slices[nearest], [])
            item.NumberOfContourPoints = len(points)
            item.add(_contour_data("\\".join(f"{x}\\{y}\\{z}" for y, x in points.tolist())))
            if not in_slice:
                del item.ContourImageSequence
            items.append(item)
    return items
