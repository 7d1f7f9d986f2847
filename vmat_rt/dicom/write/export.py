"""Case -> DICOM study under a made-up identity: CT series, RTSTRUCT, RTPLAN and RTDOSE that belong together.

A case has no identity, so the files get a synthetic one and UIDs derived from the case's key and CT; the frame of
reference of the original is replaced as well. Exporting the same case again gives the same files byte for byte, also
from another version of vmat-rt that writes the same content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from vmat_rt.case import Case, Contours, Structure, Volume
from vmat_rt.dicom.write.beams import add_beams
from vmat_rt.dicom.write.ct import Compression, CtStyle, write_ct
from vmat_rt.dicom.write.dose import rtdose_dataset
from vmat_rt.dicom.write.header import SIMULATED, CtReference, Origin, OutputHeader, inherited_attributes, save_object
from vmat_rt.dicom.write.layout import Cosines
from vmat_rt.dicom.write.plan import plan_dataset
from vmat_rt.dicom.write.structures import Roi, structure_set_dataset
from vmat_rt.dicom.write.trace import trace_fractions
from vmat_rt.dicom.write.uids import derived_uid

_WHAT_IS_SIMULATED = (
    f"{SIMULATED}. Ideal fluence from these gantry angles on a procedural patient: no MLC, no monitor units, not "
    "deliverable. Control points of the arc stand where the fluence was computed."
)
PatientPosition = Literal["HFS", "HFP", "FFS", "FFP"]
_ORIENTATIONS: dict[str, Cosines] = {
    "HFS": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "HFP": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    "FFS": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "FFP": (1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
}


@dataclass(frozen=True)
class ExportOptions:
    """How a case is dressed as a study.

    patient_id is the case's key where None. description becomes StudyDescription. deidentified says how identity was
    removed, or is empty for a phantom, which never had one. body_part: BodyPartExamined, such as PELVIS. with_plan: an
    RTPLAN (always written with a dose). simulated: neither patient nor dose are real; every object says so wherever a
    person would see it.
    """

    patient_name: str | None = None
    patient_id: str | None = None
    description: str = "vmat-rt case"
    deidentified: str = ""
    patient_position: PatientPosition = "HFS"
    body_part: str = ""
    compression: Compression = "rle"
    with_plan: bool = True
    simulated: bool = False

    @property
    def shown_name(self) -> str:
        """PatientName."""
        return self.patient_name or ("vmat-rt^simulated" if self.simulated else "vmat-rt^sample")

    @property
    def shown_description(self) -> str:
        """StudyDescription and SeriesDescription, at most 64 characters."""
        unsaid = self.simulated and not self.description.startswith("SIMULATED")
        return (f"SIMULATED - {self.description}" if unsaid else self.description)[:64]


def export_case(case: Case, folder: Path, options: ExportOptions | None = None) -> OutputHeader:
    """Write `case` under `folder`: CT/CT_0001.dcm ..., RTSTRUCT.dcm, RTPLAN.dcm and, with a reference dose, RTDOSE.dcm.

    Structures known as voxels are traced (see `trace`), those known as contours written as they are; ROIs with
    neither are left out. Gantry angles become open beams of the plan: one arc, or static ones. Returns the header that
    ties the files together.
    """
    options = options or ExportOptions()
    case = _in_new_frame(case)
    description = options.shown_description
    origin = Origin(description, "case export", ("vmat-rt",), (case.key,), predicted=False, simulated=options.simulated)
    header = _header(case, options)
    write_ct(folder / "CT", case.ct, header, origin, CtStyle(options.compression, options.body_part))
    rois = tuple(_rois(case))
    structure_set = structure_set_dataset(rois, "SIMULATED" if options.simulated else "vmat-rt", header, origin)
    structure_set_uid = save_object(folder / "RTSTRUCT.dcm", structure_set, header, origin)
    header = replace(header, structure_set_uid=structure_set_uid)
    if options.with_plan or case.reference_dose is not None:
        header = replace(header, plan_uid=_write_plan(folder / "RTPLAN.dcm", case, rois, header, origin))
    if case.reference_dose is not None and header.plan_uid is not None:
        dose = rtdose_dataset(case.reference_dose, header, origin, header.plan_uid)
        save_object(folder / "RTDOSE.dcm", dose, header, origin)
    return header


def _in_new_frame(case: Case) -> Case:
    """The case in a frame of reference of its own, with every structure as contours."""
    frame_uid = derived_uid("export", case.key, case.ct.grid.frame_uid, "frame")

    def moved(volume: Volume) -> Volume:
        return replace(volume, grid=replace(volume.grid, frame_uid=frame_uid))

    def traced(structure: Structure) -> Structure:
        shape = structure.shape
        contours = trace_fractions(shape) if isinstance(shape, Volume) else shape
        return replace(structure, shape=replace(contours, frame_uid=frame_uid) if contours else None)

    return replace(
        case,
        ct=moved(case.ct),
        structures={name: traced(structure) for name, structure in case.structures.items()},
        body=traced(case.body),
        unmapped=tuple(traced(structure) for structure in case.unmapped),
        reference_dose=moved(case.reference_dose) if case.reference_dose is not None else None,
    )


def _header(case: Case, options: ExportOptions) -> OutputHeader:
    """Patient, study, frame and CT instances; the structure set follows once it is written."""
    pixels = hashlib.sha256(np.ascontiguousarray(case.ct.array).tobytes()).hexdigest()
    seed = ("export", case.key, options.patient_position, repr(case.ct.grid), pixels)
    study = Dataset()
    study.SpecificCharacterSet = "ISO_IR 192"
    study.PatientName = options.shown_name
    study.PatientID = options.patient_id if options.patient_id is not None else case.key
    study.StudyInstanceUID = derived_uid(*seed, "study")
    study.StudyID = "1"
    study.StudyDescription = options.shown_description
    if options.deidentified:
        study.PatientIdentityRemoved = "YES"
        study.DeidentificationMethod = options.deidentified
    z_mm = tuple(float(z) for z in case.ct.grid.axis_mm(0))
    sop_uids = tuple(derived_uid(*seed, "slice", str(index)) for index in range(len(z_mm)))
    return OutputHeader(
        inherited=inherited_attributes(study),
        frame_uid=case.ct.grid.frame_uid,
        orientation=_ORIENTATIONS[options.patient_position],
        patient_position=options.patient_position,
        structure_set_uid="",
        ct=CtReference(derived_uid(*seed, "series"), CTImageStorage, z_mm, sop_uids),
    )


def _rois(case: Case) -> Iterator[Roi]:
    """Every contoured structure, the body once, numbered from 1."""
    structures = [*case.structures.values(), *case.unmapped]
    if case.body.name not in case.structures:
        structures.append(case.body)
    contoured = [structure for structure in structures if isinstance(structure.shape, Contours)]
    for number, structure in enumerate(contoured, 1):
        if isinstance(structure.shape, Contours):
            yield Roi(number, structure.roi_name[:64], structure.shape, _interpreted_type(structure, case))


def _interpreted_type(structure: Structure, case: Case) -> str:
    name = structure.name or ""
    if name and name == case.body.name:
        return "EXTERNAL"
    if name[:3] in {"PTV", "CTV", "GTV"}:
        return name[:3]
    return "ORGAN" if name else ""


def _write_plan(path: Path, case: Case, rois: tuple[Roi, ...], header: OutputHeader, origin: Origin) -> str:
    number_of = {roi.name: roi.number for roi in rois}
    numbers = {name: number_of.get(structure.roi_name[:64]) for name, structure in case.structures.items()}
    dataset = plan_dataset(case.prescription, numbers, header, origin)
    dataset.RTPlanLabel = "vmat-rt"
    if origin.simulated:
        dataset.RTPlanLabel = "SIMULATED NO TX"
        dataset.RTPlanName = SIMULATED
        dataset.RTPlanDescription = _WHAT_IS_SIMULATED
        dataset.PlanIntent = "RESEARCH"
    if case.gantry_angles_deg:
        add_beams(dataset, case, header.patient_position)
    return save_object(path, dataset, header, origin)
