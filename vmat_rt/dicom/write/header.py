"""What the objects that we write inherit from the study they belong to, and what they say of themselves.

Every object carries the CT's patient, study and frame of reference, says who made it, and is the same instance whenever
the same inputs and model make the same content: its UIDs are derived and no date or time of writing stands in it.
RTPlanDate and StructureSetDate are those of the structure set that was predicted on. When a prediction was run belongs
to the report.
"""

from __future__ import annotations

import copy
import hashlib
import io
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import UID, ImplicitVRLittleEndian, RTDoseStorage, RTPlanStorage, RTStructureSetStorage
from pydicom.valuerep import validate_value

from vmat_rt.case import ModelIdentity
from vmat_rt.dicom.write.layout import HEAD_FIRST_SUPINE, Cosines
from vmat_rt.dicom.write.uids import IMPLEMENTATION_UID, derived_uid
from vmat_rt.errors import GeometryError
from vmat_rt.grid import Grid

if TYPE_CHECKING:
    from vmat_rt.dicom.study import CtSeries, Study

NOT_FOR_TREATMENT = "PREDICTED - NOT FOR TREATMENT"
SIMULATED = "SIMULATED - NOT FOR TREATMENT"
MANUFACTURER = "vmat-rt"

# Type 2: present in every object, empty where the study does not know them.
_ALWAYS = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
    "PositionReferenceIndicator",
)
_WHERE_KNOWN = (
    "SpecificCharacterSet",
    "TimezoneOffsetFromUTC",
    "StudyInstanceUID",
    "StudyDescription",
    "IssuerOfPatientID",
    "EthnicGroup",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientSpeciesDescription",
    "PatientSpeciesCodeSequence",
    "PatientBreedDescription",
    "PatientBreedCodeSequence",
    "BreedRegistrationSequence",
    "ResponsiblePerson",
    "ResponsiblePersonRole",
    "ResponsibleOrganization",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
)
# A planning system matches by these, so they are passed on letter by letter, even where they break a VR's rules.
_VERBATIM = {"PatientName", "PatientID", "StudyInstanceUID", "SpecificCharacterSet"}
_SERIES: dict[str, tuple[str, int]] = {
    RTStructureSetStorage: ("RTSTRUCT", 9001),
    RTPlanStorage: ("RTPLAN", 9002),
    RTDoseStorage: ("RTDOSE", 9003),
}


@dataclass(frozen=True)
class CtReference:
    """The CT slices that an RTSTRUCT refers to: SOPInstanceUID of each, and its z (LPS mm), ascending."""

    series_uid: str
    sop_class_uid: str
    z_mm: tuple[float, ...]
    sop_uids: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class OutputHeader:
    """The study as its outputs see it.

    inherited: patient, study and frame attributes, copied from the CT (from the structure set where there is no CT).
    orientation: the CT's ImageOrientationPatient as found. date, time: of the structure set, or empty. plan_uid: the
    RTPLAN that came with the study, or None.
    """

    inherited: Dataset
    frame_uid: str
    orientation: Cosines
    patient_position: str
    structure_set_uid: str
    ct: CtReference | None = None
    plan_uid: str | None = None
    date: str = ""
    time: str = ""

    @property
    def input_uids(self) -> tuple[str, ...]:
        """UIDs of the inputs, from which those of the outputs are derived."""
        series = self.ct.series_uid if self.ct else ""
        study = str(self.inherited.get("StudyInstanceUID", ""))
        return (study, self.frame_uid, series, self.structure_set_uid, self.plan_uid or "")

    def require_frame_of(self, grid: Grid) -> None:
        """Raise GeometryError unless `grid` lies in this study's frame of reference."""
        if grid.frame_uid != self.frame_uid:
            raise GeometryError("what is to be written lies in another frame of reference than the study")


@dataclass(frozen=True)
class Origin:
    """Who made an object. description becomes SeriesDescription; seed goes into every UID.

    predicted: a dose that a model made. simulated: no patient and no treatment planning system stands behind it.
    """

    description: str
    model: str
    software: tuple[str, ...]
    seed: tuple[str, ...]
    predicted: bool
    simulated: bool = False


def origin_of(identity: ModelIdentity) -> Origin:
    """The origin of what this model predicts."""
    bundle = _text(f"{identity.name} {identity.version}")
    software = (f"vmat-rt {version('vmat-rt')}", bundle, f"sha256 {identity.sha256[:16]}")
    return Origin(NOT_FOR_TREATMENT, bundle, software, (identity.sha256,), predicted=True)


def header_from(study: Study) -> OutputHeader:
    """What the outputs of a study inherit. Values that break their VR's rules are left out, the patient never is."""
    structure_set, ct = study.structure_set, study.ct
    source = ct.header if ct is not None else structure_set.header
    frame_uid = ct.volume.grid.frame_uid if ct is not None else structure_set.frame_uid
    day = _valid(structure_set.header, "StructureSetDate")
    clock = _valid(structure_set.header, "StructureSetTime")
    return OutputHeader(
        inherited=inherited_attributes(source),
        frame_uid=frame_uid,
        orientation=ct.orientation if ct is not None else HEAD_FIRST_SUPINE,
        patient_position=ct.patient_position if ct is not None else "",
        structure_set_uid=structure_set.sop_uid,
        ct=_ct_reference(ct) if ct is not None else None,
        plan_uid=study.plan.sop_uid if study.plan is not None else None,
        date=str(day.value) if day is not None else "",
        time=str(clock.value) if day is not None and clock is not None else "",
    )


def _ct_reference(ct: CtSeries) -> CtReference:
    z_mm = tuple(float(z) for z in ct.volume.grid.axis_mm(0))
    return CtReference(ct.series_uid, str(ct.header.SOPClassUID), z_mm, tuple(ct.sop_uids))


def inherited_attributes(source: Dataset) -> Dataset:
    """The patient, study and frame attributes of `source` that its derived objects share."""
    kept = Dataset()
    for keyword in (*_ALWAYS, *_WHERE_KNOWN):
        element = _valid(source, keyword)
        if element is not None:
            kept.add(copy.deepcopy(element))
        elif keyword in _ALWAYS:
            setattr(kept, keyword, "")
    if "StudyInstanceUID" not in kept:
        # Type 1: a study whose files name none still needs one that all its outputs share.
        kept.StudyInstanceUID = derived_uid("study", str(kept.PatientID), str(source.get("FrameOfReferenceUID", "")))
    method = "DeidentificationMethod" in kept or "DeidentificationMethodCodeSequence" in kept
    if kept.get("PatientIdentityRemoved") == "YES" and not method:
        # PS3.3 C.7.1.1 asks for the method then; we do not know it.
        del kept.PatientIdentityRemoved
    return kept


def _valid(source: Dataset, keyword: str) -> DataElement | None:
    """The element when it has a value that its VR allows, else None."""
    try:
        element = source.get(Tag(keyword))
        if element is None or element.is_empty:
            return None
        if keyword not in _VERBATIM and element.VR != "SQ":
            _require_valid(element)
    except Exception:  # the boundary: pydicom raises whatever the bytes of a file lead it to
        return None
    return element


def _require_valid(element: DataElement) -> None:
    """Raise ValueError when a value breaks the rules of its VR, or of Patient's Sex."""
    for value in element.value if element.VM > 1 else [element.value]:
        text = str(value) if element.VR in {"DS", "IS", "PN"} else value
        validate_value(element.VR, text, config.RAISE)
    if element.keyword == "PatientSex" and element.value not in {"M", "F", "O"}:
        raise ValueError("PatientSex is M, F or O")


def new_object(header: OutputHeader, origin: Origin, sop_class_uid: str) -> Dataset:
    """A dataset with the modules that all our objects share; `save_object` gives it its UIDs and its file."""
    modality, series_number = _SERIES[sop_class_uid]
    dataset = copy.deepcopy(header.inherited)
    dataset.SOPClassUID = sop_class_uid
    dataset.Modality = modality
    dataset.SeriesInstanceUID = derived_uid(*header.input_uids, *origin.seed, modality, "series")
    dataset.SeriesNumber = series_number
    dataset.SeriesDescription = origin.description
    dataset.InstanceNumber = 1
    dataset.OperatorsName = ""
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = origin.model
    dataset.SoftwareVersions = list(origin.software)
    dataset.FrameOfReferenceUID = header.frame_uid
    if origin.predicted or origin.simulated:
        dataset.ContentQualification = "RESEARCH"
    return dataset


def save_object(path: Path, dataset: Dataset, header: OutputHeader, origin: Origin) -> str:
    """Give the dataset its SOPInstanceUID, write it as implicit VR little endian and return the UID.

    The UID covers the inputs, the origin and every other byte of the dataset, so one UID never names two contents.
    Implicit VR, because a long ContourData does not fit the 16-bit lengths of explicit VR.
    """
    content = io.BytesIO()
    dataset.save_as(content, implicit_vr=True, little_endian=True)
    digest = hashlib.sha256(content.getbuffer()).hexdigest()
    dataset.SOPInstanceUID = derived_uid(*header.input_uids, *origin.seed, dataset.Modality, digest)
    write_file(path, dataset, ImplicitVRLittleEndian)
    return str(dataset.SOPInstanceUID)


def write_file(path: Path, dataset: Dataset, transfer_syntax_uid: str) -> None:
    """Write a DICOM file whose meta information names vmat-rt and holds nothing that changes from run to run."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = "VMATRT"
    file = FileDataset(str(path), dataset, preamble=b"\0" * 128, file_meta=meta)
    file.save_as(path, enforce_file_format=True)


def _text(value: str) -> str:
    """A value for a VR of LO, whatever the character set: at most 64 ASCII characters without backslash."""
    return value.encode("ascii", "replace").decode().replace("\\", "/")[:64]
