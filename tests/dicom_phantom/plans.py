"""The plan of the phantom: two opposed arcs and a setup beam."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    RTPlanStorage,
    RTStructureSetStorage,
)

from tests.dicom_phantom.objects import dicom_object, reference
from tests.dicom_phantom.values import Phantom


def plan(p: Phantom) -> FileDataset:
    """Two opposed arcs over the prescription of options.prescription_gy, and a setup beam that must not count."""
    o = p.options
    ds = dicom_object(o, RTPlanStorage, "RTPLAN", "rp")
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
    ds.ReferencedStructureSetSequence = [reference(RTStructureSetStorage, o.uid("rs"))]
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
