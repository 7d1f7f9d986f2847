"""A folder of DICOM -> one Study: CT, structure set, and the plan and dose that belong to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Never, TypeVar

import numpy as np

from vmat_rt.dicom.attributes import Attributes
from vmat_rt.dicom.connection import Lengths, slice_places_mm
from vmat_rt.dicom.copies import UID_TWICE
from vmat_rt.dicom.ct.read import CtSeries, read_ct
from vmat_rt.dicom.deidentified import FOR_DEIDENTIFIED
from vmat_rt.dicom.dose import DoseFile, has_pixels, in_frame, plan_of, read_dose, read_planes
from vmat_rt.dicom.dose_meaning import meaning_of
from vmat_rt.dicom.files import DicomFile, read_whole
from vmat_rt.dicom.linking import StructureFile, StudyFiles, find_studies, missing_slices
from vmat_rt.dicom.plan import Plan, read_plan, structure_set_of
from vmat_rt.dicom.references import reference_problems
from vmat_rt.dicom.rtdose.planes import are_one_dose
from vmat_rt.dicom.structures import StructureSet, read_structures
from vmat_rt.errors import InputError, Problem, listed, raise_errors, warning

__all__ = ["CtSeries", "Study", "StudyFiles", "find_studies", "read_files", "read_study"]

_T = TypeVar("_T")
_CHOOSE_STRUCTURES = "Choose one with --structures UID, or keep one study in the folder."
_CHOOSE_SERIES = "Choose one with --series UID."


@dataclass(frozen=True)
class Study:
    """One patient's study with identity, as DICOM gives it. key is stable and tells nothing of the patient.

    ct is None only where the reader was told that it does without; problems then also hold the errors of the CT.
    """

    key: str
    ct: CtSeries | None
    structure_set: StructureSet
    plan: Plan | None
    dose: DoseFile | None
    problems: tuple[Problem, ...]


def read_study(
    folder: Path,
    structures_uid: str | None = None,
    series_uid: str | None = None,
    *,
    need_ct: bool = True,
    deidentified: bool = False,
) -> Study:
    """The study in a folder. structures_uid, series_uid choose among several structure sets and CT series.

    Two patients, structure sets or CT series are refused unless chosen from. With need_ct=False a study without usable
    CT is read too; see Study.problems. deidentified: as in `find_studies`. Raises InputError with every problem found.
    """
    entries = find_studies(folder, deidentified=deidentified)
    return read_files(_choose(entries, structures_uid, series_uid, need_ct), need_ct=need_ct)


def read_files(files: StudyFiles, *, need_ct: bool = True) -> Study:
    """Read what `find_studies` found. A plan or dose that cannot be used is a warning, not an error."""
    if files.structures is None:
        raise InputError([problem for problem in files.problems if problem.severity == "error"])
    raise_errors(files.problems if need_ct else [p for p in files.problems if p.code == UID_TWICE])
    ct, ct_problems = _read_ct(files)
    if need_ct:
        raise_errors(ct_problems)
    structure_set = _read_structure_set(files.structures, ct, partial(slice_places_mm, files.ct))
    raise_errors(structure_set.problems)
    plan, plan_problems = _read_plan(files)
    dose, dose_problems = _read_dose(files, structure_set.frame_uid, plan)
    lost = _lost_slices(files, ct, structure_set)
    problems = (*files.problems, *ct_problems, *lost, *structure_set.problems, *plan_problems, *dose_problems)
    return Study(files.key, ct, structure_set, plan, dose, problems)


def _choose(
    entries: Sequence[StudyFiles], structures_uid: str | None, series_uid: str | None, need_ct: bool
) -> StudyFiles:
    if structures_uid is None and series_uid is None and len({entry.patient for entry in entries}) > 1:
        remedy = f"{_CHOOSE_STRUCTURES} {FOR_DEIDENTIFIED}"
        _refuse("TWO_PATIENTS", f"The folder holds several patients: {_list(entries)}.", remedy)
    chosen = entries
    if structures_uid is not None:
        chosen = [entry for entry in chosen if entry.structures_uid == structures_uid]
        if not chosen:
            _refuse("STRUCTURES_NOT_FOUND", f"No RTSTRUCT has that UID; there are {_list(entries)}.", "Check the UID.")
    if series_uid is not None:
        chosen = _of_series(chosen, series_uid)
    chosen = [entry for entry in chosen if entry.structures] or list(chosen)
    if len({entry.structures_uid for entry in chosen}) > 1:
        _refuse("SEVERAL_STRUCTURE_SETS", f"There are several structure sets: {_list(chosen)}.", _CHOOSE_STRUCTURES)
    if len(chosen) == 1:
        return chosen[0]
    if chosen[0].structures is None:
        raise InputError(problem for entry in chosen for problem in entry.problems if problem.severity == "error")
    referred = [entry for entry in chosen if entry.series_uid in chosen[0].structures.images]
    if len(referred) == 1:
        return replace(referred[0], problems=(*referred[0].problems, _chosen_series(len(chosen))))
    if not need_ct:
        return replace(chosen[0], ct=(), problems=(*chosen[0].problems, _several_series(chosen)))
    raise InputError(_several_series(chosen))


def _of_series(entries: Sequence[StudyFiles], series_uid: str) -> list[StudyFiles]:
    chosen = [entry for entry in entries if entry.series_uid == series_uid]
    mismatched = [problem for entry in entries for problem in entry.problems if problem.code == "FRAME_MISMATCH"]
    if mismatched and not any(entry.structures for entry in chosen):
        raise InputError(mismatched)
    if chosen:
        return chosen
    _refuse("SERIES_NOT_FOUND", f"No CT series has that UID; there are {_list(entries)}.", "Check the UID.")
    raise AssertionError


def _several_series(entries: Sequence[StudyFiles]) -> Problem:
    structure = entries[0].structures
    assert structure is not None
    named = listed([f"series UID {e.series_uid} ({len(e.ct)} files)" for e in entries], 4, 110, between="; ")
    message = f"Several CT series lie in the frame of reference of the structure set: {named}."
    return Problem("SEVERAL_CT_SERIES", message, _CHOOSE_SERIES)


def _chosen_series(count: int) -> Problem:
    message = f"{count} CT series lie in the frame of reference of the structure set; the one it refers to is used."
    return warning("CT_SERIES_REFERRED", message, "Choose another with --series UID.")


def _list(entries: Sequence[StudyFiles]) -> str:
    each = {(entry.structures_uid or entry.series_uid): entry for entry in entries}.values()
    named = [
        f"structure set {entry.structures.describe()}"
        if entry.structures
        else f"CT series UID {entry.series_uid} without structure set"
        for entry in each
    ]
    return listed(named, most=3, longest=150, between="; ")


def _read_ct(files: StudyFiles) -> tuple[CtSeries | None, tuple[Problem, ...]]:
    if not files.ct or files.structures is None:
        return None, ()
    try:
        ct = read_ct(files.ct)
    except InputError as error:
        return None, error.problems
    referred = (*missing_slices(files.structures, files.ct), *reference_problems(files.structures.source, ct))
    return ct, (*ct.problems, *referred)


def _read_structure_set(
    structures: StructureFile, ct: CtSeries | None, slices_mm: Callable[[], Lengths]
) -> StructureSet:
    if ct is None:
        structure_set = read_structures(structures.source, slices_mm=slices_mm)
    else:
        grid = ct.volume.grid
        structure_set = read_structures(structures.source, grid.frame_uid, grid.spacing_mm[0], slices_mm)
    if structures.frames:
        return structure_set
    message = "The structure set names no frame of reference; that of the CT series it refers to was taken."
    told = warning("STRUCTURES_NO_FRAME", message, "Check in the report that contours and CT fit.")
    return replace(structure_set, problems=(*structure_set.problems, told))


def _lost_slices(files: StudyFiles, ct: CtSeries | None, structure_set: StructureSet) -> tuple[Problem, ...]:
    """A warning where contours lie between slices of a CT of two spacings: they were drawn on slices that are lost."""
    if ct is None or all(problem.code != "CT_MIXED_SPACING" for problem in ct.problems):
        return ()
    slices = slice_places_mm(files.ct)
    drawn = {plane.z_mm for roi in structure_set.rois if roi.contours is not None for plane in roi.contours.planes}
    planes = np.array(sorted(z for z in drawn if slices[0] < z < slices[-1]))
    beside = planes[np.abs(planes[:, None] - slices).min(axis=1, initial=np.inf) > np.diff(slices).min() / 4]
    if not beside.size:
        return ()
    where = listed([f"{z:.1f}" for z in beside])
    message = f"{beside.size} planes of contours lie where the CT has no slice (z {where} mm): slices seem to be lost."
    return (warning("CT_SLICES_LOST", message, "Export the complete CT series that the structures were drawn on."),)


def _read_plan(files: StudyFiles) -> tuple[Plan | None, tuple[Problem, ...]]:
    """The plan made on this structure set, or the only one that refers to none."""
    sources, problems = _sources(files.plans, "RTPLAN")
    referring = [(file, structure_set_of(source)) for file, source in sources]
    own = [file for file, uid in referring if uid == files.structures_uid]
    candidates = own or [file for file, uid in referring if not uid]
    if not candidates and files.plans:
        message = f"None of {len(files.plans)} RTPLAN files can be linked to this structure set; none is used."
        problems = (*problems, warning("PLAN_NOT_LINKED", message, "Add the plan made on it, or --prescription."))
    if len(candidates) > 1:
        planned = _plans_with_dose(files)
        candidates = [file for file in candidates if file.sop_uid in planned]
        if len(candidates) != 1:
            message = f"{len(own) or len(files.plans)} RTPLAN files belong to this structure set; none is used."
            return None, (*problems, warning("SEVERAL_PLANS", message, "Keep one in the folder, or --prescription."))
    if not candidates:
        return None, problems
    plan, more = _optional(lambda: read_plan(candidates[0].path), "RTPLAN")
    return plan, (*problems, *more, *(plan.problems if plan else ()))


def _plans_with_dose(files: StudyFiles) -> set[str]:
    return {plan_of(source) for _, source in _sources(files.doses, "RTDOSE")[0]}


def _read_dose(files: StudyFiles, frame_uid: str, plan: Plan | None) -> tuple[DoseFile | None, tuple[Problem, ...]]:
    """The dose of the whole plan in this frame; doses of single beams or fractions are never taken for it.

    One that names the plan goes before those that name none.
    """
    sources, problems = _sources([file for file in files.doses if file.frame_uid in (frame_uid, "")], "RTDOSE")
    sources = [pair for pair in sources if has_pixels(pair[1]) and (pair[0].frame_uid or _is_of(plan, files, pair[1]))]
    if plan is not None:
        own = [pair for pair in sources if plan_of(pair[1]) in (plan.sop_uid, "")]
        problems = (*problems, *_of_other_plans(len(sources) - len(own) if own else 0))
        sources = own
    summed = [pair for pair in sources if meaning_of(pair[1]).is_whole_plan and meaning_of(pair[1]).is_physical]
    named = [pair for pair in summed if plan is not None and plan_of(pair[1]) == plan.sop_uid]
    whole = named or summed
    if not whole:
        if files.doses:
            message = f"None of {len(files.doses)} RTDOSE files is the whole plan's dose in this frame; none is used."
            problems = (
                *problems,
                warning("DOSE_NOT_LINKED", message, "Add the plan's summed dose to compare."),
            )
        return None, problems
    if len(whole) > 1 and not are_one_dose([source for _, source in whole]):
        message = f"{len(whole)} RTDOSE files hold a whole plan's dose; none is used."
        return None, (*problems, warning("SEVERAL_DOSES", message, "Keep the one to compare with in the folder."))
    parts = [source for _, source in whole]
    read = partial(read_planes, parts) if len(parts) > 1 else partial(read_dose, whole[0][0].path)
    dose, more = _optional(lambda: in_frame(read(), frame_uid), "RTDOSE")
    return dose, (*problems, *more, *(dose.problems if dose is not None else ()))


def _is_of(plan: Plan | None, files: StudyFiles, dose: Attributes) -> bool:
    """Whether a dose names this plan, and the plan this structure set."""
    return plan is not None and plan_of(dose) == plan.sop_uid and plan.structure_set_uid == files.structures_uid


def _of_other_plans(count: int) -> tuple[Problem, ...]:
    if not count:
        return ()
    message = f"{count} RTDOSE files belong to another plan than the one that is used; they are left out."
    return (warning("DOSE_OTHER_PLAN", message, "Check that the plan and dose that are meant are in the folder."),)


def _sources(files: Sequence[DicomFile], what: str) -> tuple[list[tuple[DicomFile, Attributes]], tuple[Problem, ...]]:
    """Files with their content; those that cannot be read become warnings."""
    found: list[tuple[DicomFile, Attributes]] = []
    problems: list[Problem] = []
    for file in files:
        source, more = _optional(partial(read_whole, file.path, what), what)
        problems.extend(more)
        if source is not None:
            found.append((file, source))
    return found, tuple(problems)


def _optional(read: Callable[[], _T], what: str) -> tuple[_T | None, tuple[Problem, ...]]:
    try:
        return read(), ()
    except InputError as error:
        return None, tuple(
            warning(problem.code, f"The {what} is not used. {problem.message}", problem.remedy)
            for problem in error.problems
        )


def _refuse(code: str, message: str, remedy: str) -> Never:
    raise InputError(Problem(code, message, remedy))
