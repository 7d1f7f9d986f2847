"""What is in a folder: every study, every ROI, and all that stands against predicting it. Needs no model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vmat_rt.case import Prescription, Structure
from vmat_rt.dicom.ct.read import CtSeries, read_ct
from vmat_rt.dicom.load import commonly_named, load_structures, prescription_for, structure_problems
from vmat_rt.dicom.study import Study, StudyFiles, find_studies, read_files
from vmat_rt.errors import InputError, Problem
from vmat_rt.gate.codes import ALLOWABLE
from vmat_rt.naming import propose_aliases
from vmat_rt.protocol import Protocol, load_protocol, packaged_protocols
from vmat_rt.report.document import build_prescription_entry, build_problem_entries, build_structure_entry
from vmat_rt.report.schema import InspectDocument, InspectedCt, InspectedStudy
from vmat_rt.study.choice import StudyChoice, case_of, protocol_for

WANTED_BY_A_PROTOCOL = {"TARGET_MISSING", "STRUCTURE_MISSING", "PROTOCOL_UNCLEAR", "PRESCRIPTION_UNKNOWN", *ALLOWABLE}
"""Errors that stop a prediction but are not faults of the export: the study is whole, but not for our protocols."""


@dataclass
class _Found:
    """What could be learnt of one study before something stopped the reading."""

    ct: CtSeries | None = None
    study: Study | None = None
    protocol: Protocol | None = None
    structures: tuple[Structure, ...] = ()
    prescription: Prescription | None = None
    problems: list[Problem] = field(default_factory=list)

    def note(self, problems: tuple[Problem, ...]) -> None:
        self.problems = list(dict.fromkeys((*self.problems, *problems)))


def inspect_folder(folder: Path, choice: StudyChoice) -> InspectDocument:
    """Every study of the folder. Raises InputError only when the folder holds no DICOM to speak of."""
    return InspectDocument(
        studies=[_inspected(files, choice) for files in find_studies(folder, deidentified=choice.deidentified)]
    )


def _inspected(files: StudyFiles, choice: StudyChoice) -> InspectedStudy:
    found = _examined(files, choice)
    ct = found.ct
    unmapped = [structure.roi_name for structure in found.structures if structure.name is None]
    return InspectedStudy(
        case=files.key,
        ct=None
        if ct is None
        else InspectedCt(
            shape=ct.volume.grid.shape, spacing_mm=ct.volume.grid.spacing_mm, patient_position=ct.patient_position
        ),
        structures=[build_structure_entry(structure, None) for structure in found.structures],
        prescription=build_prescription_entry(found.prescription) if found.prescription is not None else None,
        problems=build_problem_entries(found.problems),
        complete=not any(p.severity == "error" and p.code not in WANTED_BY_A_PROTOCOL for p in found.problems),
        proposed_aliases=propose_aliases(unmapped, found.protocol) if found.protocol is not None else {},
    )


def _examined(files: StudyFiles, choice: StudyChoice) -> _Found:
    found = _Found()
    found.note(files.problems)
    try:
        if files.structures is None and files.ct:
            found.ct = read_ct(files.ct)
            found.note(found.ct.problems)
        found.study = read_files(files, need_ct=False)
        found.ct = found.study.ct
        found.note(found.study.problems)
        _name_and_prescribe(found, found.study, choice)
    except InputError as refusal:
        found.note(refusal.problems)
    if found.study is not None:
        found.note(structure_problems(found.study, found.protocol, choice.allowed))
    return found


def _name_and_prescribe(found: _Found, study: Study, choice: StudyChoice) -> None:
    """What a protocol says of the study. Raises InputError when something stands against it."""
    found.structures = commonly_named(study, [load_protocol(name) for name in packaged_protocols()])
    found.protocol = protocol_for(study, choice)
    found.structures = load_structures(study, found.protocol)
    try:
        found.prescription = prescription_for(study, found.protocol, found.structures, choice.given)
    finally:
        if study.ct is not None:
            found.note(case_of(study, found.protocol, choice).problems)


def as_text(document: InspectDocument) -> str:
    """The document for a person at a terminal."""
    return "\n\n".join(_study_text(study) for study in document.studies)


def _study_text(study: InspectedStudy) -> str:
    lines = [f"{study.case}: {'complete' if study.complete else 'not complete'}"]
    if study.ct is not None:
        shape = " x ".join(str(n) for n in study.ct.shape)
        spacing = " x ".join(f"{s:.3f}" for s in study.ct.spacing_mm)
        lines.append(f"  CT {shape} voxels of {spacing} mm (z, y, x), {study.ct.patient_position}")
    if study.prescription is not None:
        doses = ", ".join(f"{name} {dose:g} Gy" for name, dose in study.prescription.dose_gy.items())
        lines.append(f"  {doses} in {study.prescription.fractions} fractions ({study.prescription.source})")
    for entry in study.structures:
        volume = "no volume" if entry.volume_cc is None else f"{entry.volume_cc:10.2f} cc"
        proposal = study.proposed_aliases.get(entry.roi_name)
        name = entry.name or (f"? (perhaps {proposal})" if proposal else "-")
        lines.append(f"  {entry.roi_name:<28} {name:<28} {entry.contours:5d} contours {volume}")
    lines += [f"  {p.severity}: {p.message} {p.remedy} [{p.code}]" for p in study.problems]
    return "\n".join(lines)
