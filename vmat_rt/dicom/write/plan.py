"""Companion RTPLAN: the prescription that a predicted dose was made for, without beams (PS3.3 A.20, C.8.8.9 ff.).

Planning systems attach a dose to a plan. Several refuse a dose whose plan they do not have, or whose plan was treated;
a fresh plan that travels with the dose is what they take.
"""

from __future__ import annotations

from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import RTPlanStorage, RTStructureSetStorage

from vmat_rt.case import Case, ModelIdentity, Prescription
from vmat_rt.dicom.write.header import NOT_FOR_TREATMENT, Origin, OutputHeader, new_object, origin_of, save_object
from vmat_rt.dicom.write.layout import decimal_string
from vmat_rt.dicom.write.uids import derived_uid

_LABEL = "PREDICTED NO TX"  # RTPlanLabel holds 16 characters


def write_companion_plan(path: Path, case: Case, header: OutputHeader, identity: ModelIdentity) -> str:
    """Write the plan that a predicted dose refers to and return its SOPInstanceUID.

    Prescribed targets refer to the ROI numbers of the study's structure set; one that is not contoured there stands as
    a site. UNAPPROVED, research intent, no beams: it cannot be delivered.
    """
    origin = origin_of(identity)
    numbers = {name: structure.number for name, structure in case.structures.items()}
    dataset = plan_dataset(case.prescription, numbers, header, origin)
    dataset.RTPlanLabel = _LABEL
    dataset.RTPlanName = NOT_FOR_TREATMENT
    dataset.RTPlanDescription = f"{NOT_FOR_TREATMENT}. Prescription of a predicted dose; it has no beams."
    dataset.PlanIntent = "RESEARCH"
    return save_object(path, dataset, header, origin)


def plan_dataset(
    prescription: Prescription, roi_numbers: dict[str, int | None], header: OutputHeader, origin: Origin
) -> Dataset:
    """A beamless RTPLAN with this prescription, not yet named and written."""
    dataset = new_object(header, origin, RTPlanStorage)
    dataset.RTPlanDate, dataset.RTPlanTime = header.date, header.time
    dataset.RTPlanGeometry = "PATIENT"
    dataset.ApprovalStatus = "UNAPPROVED"
    structure_set = Dataset()
    structure_set.ReferencedSOPClassUID = RTStructureSetStorage
    structure_set.ReferencedSOPInstanceUID = header.structure_set_uid
    dataset.ReferencedStructureSetSequence = [structure_set]
    levels = sorted(prescription.dose_gy.items(), key=lambda item: (-item[1], item[0]))
    dataset.DoseReferenceSequence = [
        _dose_reference(index, name, dose_gy, roi_numbers.get(name)) for index, (name, dose_gy) in enumerate(levels, 1)
    ]
    for reference in dataset.DoseReferenceSequence:
        label = reference.DoseReferenceDescription
        reference.DoseReferenceUID = derived_uid(*header.input_uids, *origin.seed, "dose reference", label)
    dataset.FractionGroupSequence = [_fraction_group(prescription.fractions)]
    return dataset


def _dose_reference(index: int, name: str, dose_gy: float, roi_number: int | None) -> Dataset:
    reference = Dataset()
    reference.DoseReferenceNumber = index
    reference.DoseReferenceStructureType = "SITE" if roi_number is None else "VOLUME"
    if roi_number is not None:
        reference.ReferencedROINumber = roi_number
    reference.DoseReferenceDescription = name
    reference.DoseReferenceType = "TARGET"
    reference.TargetPrescriptionDose = decimal_string(dose_gy)
    return reference


def _fraction_group(fractions: int) -> Dataset:
    group = Dataset()
    group.FractionGroupNumber = 1
    group.NumberOfFractionsPlanned = fractions
    group.NumberOfBeams = 0
    group.NumberOfBrachyApplicationSetups = 0
    return group
