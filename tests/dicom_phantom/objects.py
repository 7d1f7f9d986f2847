"""What every DICOM object of the phantom begins with, and how it refers to others."""

from __future__ import annotations

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
)

from tests.dicom_phantom.values import Options


def dicom_object(o: Options, sop_class: str, modality: str, instance: str) -> FileDataset:
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


def reference(sop_class: str, instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
    return item
