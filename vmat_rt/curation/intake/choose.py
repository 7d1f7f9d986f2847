"""Which CT, structure set, plan and dose make one study, where a patient has several. What is unclear is refused."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vmat_rt.dicom.dose import plan_of, read_dose, summation_type_of
from vmat_rt.dicom.dose_meaning import WHOLE_PLAN_TYPES
from vmat_rt.dicom.files import DicomFile, read_whole
from vmat_rt.dicom.linking import StudyFiles
from vmat_rt.dicom.study import Study
from vmat_rt.errors import InputError, Problem, warning

_ADD_DOSE = "Add the RTDOSE of the plan made on this structure set."
_UNCLEAR = {"SEVERAL_PLANS", "SEVERAL_DOSES"}


@dataclass(frozen=True)
class Candidate:
    """One structure set with its CT. rivals: other structure sets drawn on the same CT."""

    files: StudyFiles
    rivals: int = 0


def find_candidates(entries: Sequence[StudyFiles]) -> tuple[Candidate, ...]:
    """One for each structure set, and for each CT of a study in which there is none.

    A CT beside the one that was contoured (another phase, a scan from the linac) is passed over.
    """
    by_set: dict[str, list[StudyFiles]] = defaultdict(list)
    for entry in entries:
        by_set[entry.structures_uid or ""].append(entry)
    alone = by_set.pop("", [])
    contoured = [_choose_series(same) for same in by_set.values()]
    used = {file.study_uid for entry in contoured for file in (*entry.ct, *_find_structures(entry))}
    sets = Counter(entry.series_uid for entry in contoured)
    chosen = [Candidate(entry, sets[entry.series_uid] - 1 if entry.ct else 0) for entry in contoured]
    return (*chosen, *(Candidate(entry) for entry in alone if entry.ct[0].study_uid not in used))


def _find_structures(entry: StudyFiles) -> tuple[DicomFile, ...]:
    return (entry.structures.file,) if entry.structures else ()


def _choose_series(entries: Sequence[StudyFiles]) -> StudyFiles:
    """Choose, of entries that share a structure set, the one whose CT it refers to."""
    first = entries[0]
    if len(entries) == 1 or first.structures is None:
        return first
    referred = [entry for entry in entries if entry.series_uid in first.structures.images]
    message = f"{len(entries)} CT series lie in the frame of reference of the structure set"
    if len(referred) == 1:
        referral = warning(
            "CT_SERIES_REFERRED", f"{message}; the one it refers to is used.", "Nothing needs to be done."
        )
        return replace(referred[0], problems=(*referred[0].problems, referral))
    unclear = Problem("SEVERAL_CT_SERIES", f"{message}, and it does not refer to one of them.", "Keep the right one.")
    return replace(first, problems=(*first.problems, unclear))


def hash_files(files: StudyFiles) -> str:
    """Hash what the study is read from, to know it again without reading its pixels.

    The structure set counts byte for byte (names are corrected in place), CT slices, and plans and doses that share
    its study or frame, by SOPInstanceUID and size.
    """
    digest = hashlib.sha256()
    own = [*files.ct, *_find_structures(files)]
    studies, frames = {file.study_uid for file in own} - {""}, {file.frame_uid for file in own} - {""}
    near = [file for file in (*files.plans, *files.doses) if file.study_uid in studies or file.frame_uid in frames]
    for line in sorted(f"{file.kind} {file.sop_uid} {file.path.stat().st_size}" for file in (*own, *near)):
        digest.update(f"{line}\n".encode())
    for file in _find_structures(files):
        digest.update(file.path.read_bytes())
    return digest.hexdigest()


def check_dose(candidate: Candidate, study: Study) -> tuple[Problem, ...]:
    """What stands against the study's dose being the one of the one plan on its structure set; errors only."""
    unclear = [replace(problem, severity="error") for problem in study.problems if problem.code in _UNCLEAR]
    if study.dose is None:
        return (*unclear, *(() if unclear else _explain_no_dose(candidate.files, study)))
    plan = study.plan
    linked = plan is not None and plan.structure_set_uid == study.structure_set.sop_uid
    if candidate.rivals and not linked:
        message = (
            f"{candidate.rivals + 1} structure sets lie on this CT, and no plan says which of them the dose is of."
        )
        unclear.append(Problem("SEVERAL_STRUCTURE_SETS", message, "Add the RTPLAN, or keep one structure set."))
    return tuple(unclear)


def _explain_no_dose(files: StudyFiles, study: Study) -> Iterator[Problem]:
    if not files.doses:
        yield Problem("NO_DOSE", "The study has no RTDOSE, so there is nothing to learn from it.", _ADD_DOSE)
        return
    frame_uid = study.structure_set.frame_uid
    in_frame = [file for file in files.doses if file.frame_uid == frame_uid]
    if not in_frame:
        message = f"The {len(files.doses)} RTDOSE files of the patient lie in other frames of reference."
        yield Problem("DOSE_FRAME_MISMATCH", message, "Add the dose that was computed on this CT.")
        return
    belonging: dict[DicomFile, str] = {}
    for file in in_frame:
        try:
            source = read_whole(file.path, "RTDOSE")
        except InputError as damage:
            yield from damage.problems
            continue
        if study.plan is None or plan_of(source) in (study.plan.sop_uid, ""):
            belonging[file] = summation_type_of(source)
    yield from _explain_no_fit(belonging, len(in_frame))


def _explain_no_fit(belonging: dict[DicomFile, str], in_frame: int) -> Iterator[Problem]:
    """belonging: doses that may be this plan's, with their summation type."""
    if not belonging:
        message = f"None of {in_frame} RTDOSE files in this frame belongs to the plan of this structure set."
        yield Problem("DOSE_NOT_LINKED", message, _ADD_DOSE)
        return
    whole = [file for file, kind in belonging.items() if kind in WHOLE_PLAN_TYPES]
    if not whole:
        kinds = ", ".join(sorted(set(belonging.values())))
        message = (
            f"The {len(belonging)} RTDOSE files are of type {kinds} (DoseSummationType), none is the whole plan's."
        )
        yield Problem("DOSE_SINGLE_BEAM", message, "Export the RTDOSE of the whole plan (DoseSummationType PLAN).")
    for file in whole:
        try:
            read_dose(file.path)
        except InputError as damage:
            yield from damage.problems
