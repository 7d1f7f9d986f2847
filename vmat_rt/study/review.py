"""Any RTDOSE looked at again: metrics and goals over a study's structures, gamma against another dose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import FloatArray, Prescription, Structure, Volume
from vmat_rt.dicom.dose import DoseFile, in_frame, read_dose
from vmat_rt.dicom.dose_meaning import DoseMeaning, difference_problems
from vmat_rt.dicom.load import commonly_named, load_case, load_structures, prescription_for, structure_problems
from vmat_rt.dicom.study import Study, read_study
from vmat_rt.errors import ConfigError, InputError, Problem, warning
from vmat_rt.gate.dose import d95_problems, scale_problem
from vmat_rt.gate.examine import examine
from vmat_rt.gate.relations import relation_problems
from vmat_rt.gate.volumes import volume_problems
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.grid import Grid
from vmat_rt.metrics.gamma.index import (
    GammaCriteria,
    GammaResult,
    GammaSummary,
    compute_region_pass_rates,
    gamma,
    grow_region,
)
from vmat_rt.metrics.grammar import Metric
from vmat_rt.protocol import Protocol, load_protocol, packaged_protocols
from vmat_rt.report.document import (
    build_goal_entries,
    build_problem_entries,
    build_shell_metrics,
    build_structure_metrics,
)
from vmat_rt.report.schema import DvhDocument, GoalEntry
from vmat_rt.study.choice import StudyChoice, protocol_for
from vmat_rt.study.dose_review import DoseReview, review_dose
from vmat_rt.system.steps import announced


def review_study(
    folder: Path, dose: Volume | DoseFile, metrics: Sequence[Metric], choice: StudyChoice, *, all_rois: bool
) -> DoseReview:
    """Review a dose over every mapped ROI of a study (every contoured one with all_rois) and the protocol's goals.

    Goals are judged only on the physical dose of a whole plan at the scale of the prescription. CT is optional. Where
    no protocol fits the ROI names, all ROIs are listed, without goals, and a warning says so.
    Raises InputError when structures or dose cannot be used or lie in different frames, ConfigError when
    a prescription names no ROI of the study.
    """
    with announced("read"):
        study = _read(folder, choice)
        read = _in_frame_of(study, dose, choice.deidentified)
    protocol, problems = _protocol(study, choice)
    structures = [structure for structure in _structures(study, protocol) if structure.shape is not None]
    if not all_rois and protocol is not None:
        structures = [structure for structure in structures if structure.name is not None]
    prescription = _prescription(study, protocol, structures, choice)
    doses_gy = dict(prescription.dose_gy) if prescription is not None else {}
    if protocol is None:
        doses_gy = _given_doses(choice, structures)
    judged = prescription if read.meaning.is_whole_plan and read.meaning.is_physical else None
    with announced("dvh and goals"):
        review = review_dose(structures, read.volume, metrics, doses_gy, protocol, judged)
    with announced("look at the anatomy"):
        doubts = _doubts(study, protocol, structures, choice)
    if judged is not None and (wrong := _wrong_scale(review, structures, judged)) is not None:
        review, doubts = replace(review, goals={}), (wrong, *doubts)
    elif judged is not None:
        doubts = (*_doubtful_d95(review, structures, judged), *doubts)
    before = (*doubts, *read.problems, *_without_ct_errors(study), *structure_problems(study, protocol), *problems)
    return replace(review, problems=tuple(dict.fromkeys((*before, *review.problems))))


def dvh_document(
    folder: Path, dose_file: Path, metrics: Sequence[Metric], choice: StudyChoice, *, all_rois: bool
) -> DvhDocument:
    """The review of an RTDOSE file as JSON. Raises as review_study and read_dose."""
    review = review_study(folder, read_dose(dose_file), metrics, choice, all_rois=all_rois)
    names = [str(metric) for metric in metrics]
    return DvhDocument(
        structures=[build_structure_metrics(dvh, names, None) for dvh in review.values()],
        shells=build_shell_metrics(review.shells, names),
        goals=build_goal_entries(review.goals),
        problems=build_problem_entries(review.problems),
    )


def _structures(study: Study, protocol: Protocol | None) -> tuple[Structure, ...]:
    if protocol is not None:
        return load_structures(study, protocol)
    return commonly_named(study, [load_protocol(name) for name in packaged_protocols()])


def _given_doses(choice: StudyChoice, structures: Sequence[Structure]) -> dict[str, float]:
    """--prescription by ROI or TG-263 name, where no protocol says what a target is. Raises ConfigError."""
    known = {name for structure in structures for name in (structure.roi_name, structure.name)}
    for name in choice.prescription_gy:
        if name not in known:
            raise ConfigError(f"{name!r} is no contoured ROI of the study")
    return dict(choice.prescription_gy)


def _without_ct_errors(study: Study) -> tuple[Problem, ...]:
    """The study's problems. A DVH needs no CT: that it is absent is none, what is wrong with it a warning."""
    return tuple(replace(problem, severity="warning") for problem in study.problems if problem.code != "NO_CT")


def _read(folder: Path, choice: StudyChoice) -> Study:
    chosen = (choice.structures_uid, choice.series_uid)
    return read_study(folder, *chosen, need_ct=False, deidentified=choice.deidentified)


def _taken_for_one_frame(dose: DoseFile, frame_uid: str) -> DoseFile:
    """The dose in the structures' frame: the user says that the set lost its frames."""
    message = (
        "The RTDOSE names another frame of reference than the structure set, or none; --accept-deidentified takes both "
        "for one."
    )
    said = warning("DEIDENTIFIED_FRAME", message, "Check that the dose belongs to these structures.")
    volume = replace(dose.volume, grid=replace(dose.volume.grid, frame_uid=frame_uid))
    return replace(dose, volume=volume, problems=(*dose.problems, said))


def _wrong_scale(review: DoseReview, structures: Sequence[Structure], prescription: Prescription) -> Problem | None:
    """A warning where the dose in the highest target is not at the scale of its prescription."""
    named = {structure.name: structure for structure in structures}
    name = max(prescription.dose_gy, key=lambda target: prescription.dose_gy[target])
    if name not in named or name not in review:
        return None
    wrong = scale_problem(named[name], review[name], prescription)
    return wrong and warning(wrong.code, f"{wrong.message} Goals are not judged on it.", wrong.remedy)


def _doubtful_d95(
    review: DoseReview, structures: Sequence[Structure], prescription: Prescription
) -> tuple[Problem, ...]:
    """Warnings for the prescribed targets that get another dose, though the highest is at the right scale."""
    names = [s.name for s in structures if s.name in prescription.dose_gy and s.name in review]
    named = {structure.name: structure for structure in structures}
    return tuple(d95_problems([(named[name], review[name]) for name in names if name is not None], prescription))


def _doubts(
    study: Study, protocol: Protocol | None, structures: Sequence[Structure], choice: StudyChoice
) -> tuple[Problem, ...]:
    """What the gate says of the structures, as warnings: on the CT where there is one, else of names and places."""
    if protocol is None:
        return ()
    if study.ct is not None:
        try:
            found = examine(load_case(study, protocol, choice.given), protocol.site)
        except InputError:
            found = ()
        if found:
            return tuple(replace(problem, severity="warning") for problem in found)
    named = {structure.name: structure for structure in structures if structure.name is not None}
    return (*relation_problems(named, protocol.site), *volume_problems(named, protocol.site))


def _in_frame_of(study: Study, dose: Volume | DoseFile, deidentified: bool = False) -> DoseFile:
    """The dose, which must lie in the structure set's frame or, where it names none, belong to its plan."""
    read = dose if isinstance(dose, DoseFile) else DoseFile(dose, "", DoseMeaning())
    frame_uid = study.structure_set.frame_uid
    if read.volume.grid.frame_uid == frame_uid:
        return read if deidentified else replace(read, problems=(*read.problems, *_of_another_patient(study, read)))
    if deidentified:
        return _taken_for_one_frame(read, frame_uid)
    if read.volume.grid.frame_uid:
        raise InputError(dose_frames("The RTDOSE lies in another frame of reference than the structure set."))
    plan = study.plan
    if plan is None or read.plan_uid != plan.sop_uid or plan.structure_set_uid != study.structure_set.sop_uid:
        message = "The RTDOSE names no frame of reference, and no plan in the folder links it to the structure set."
        remedy = "Add the RTPLAN that it belongs to, or export the dose with its FrameOfReferenceUID."
        raise InputError(Problem("DOSE_NO_FRAME", message, remedy))
    return in_frame(read, frame_uid)


def _of_another_patient(study: Study, dose: DoseFile) -> tuple[Problem, ...]:
    """A warning where dose and structure set name different patients, though one frame of reference."""
    own = str(study.structure_set.header.get("PatientID") or "").strip()
    if not own or not dose.patient_id or own == dose.patient_id:
        return ()
    message = "The RTDOSE names another PatientID than the structure set, though the same frame of reference."
    remedy = "Check that both are of one patient; --accept-deidentified takes them for one patient's."
    return (warning("DOSE_OTHER_PATIENT", message, remedy),)


def dose_frames(message: str) -> Problem:
    """The problem of two things that lie in different frames of reference."""
    return Problem("DOSE_FRAME_MISMATCH", message, "Give doses that were computed on the same CT.")


def _protocol(study: Study, choice: StudyChoice) -> tuple[Protocol | None, tuple[Problem, ...]]:
    try:
        return protocol_for(study, choice), ()
    except InputError as refusal:
        return None, tuple(
            warning(p.code, f"{p.message} All ROIs are listed, without goals.", p.remedy) for p in refusal.problems
        )


def _prescription(
    study: Study, protocol: Protocol | None, structures: Sequence[Structure], choice: StudyChoice
) -> Prescription | None:
    if protocol is None:
        return None
    try:
        return prescription_for(study, protocol, structures, choice.given)
    except InputError:
        return None


def dvh_text(document: DvhDocument) -> str:
    """The document for a person at a terminal."""
    lines = []
    for entry in (*document.structures, *document.shells):
        name = entry.name or "-"
        volume = "-" if entry.volume_cc is None else f"{entry.volume_cc:.2f}"
        values = "  ".join(f"{m} {'-' if v is None else f'{v:.2f}'}" for m, v in entry.metrics.items())
        lines.append(f"{entry.roi_name:<24} {name:<18} {volume:>9} cc  {values}")
    lines += [f"{goal.status:<14} {_goal_text(goal)} ({goal.goal_set}) {goal.reason}" for goal in document.goals]
    lines += [f"{p.severity}: {p.message} {p.remedy} [{p.code}]" for p in document.problems]
    return "\n".join(lines)


def _goal_text(goal: GoalEntry) -> str:
    if goal.arms:
        return " or ".join(_goal_text(arm) for arm in goal.arms)
    value = "-" if goal.value is None else f"{goal.value:.2f}"
    whole = "" if goal.whole_value is None else f" (whole {goal.whole_value:.2f})"
    limit = "-" if goal.limit_evaluated is None else f"{goal.limit_evaluated:g}"
    asked = f"{goal.judged_on:<18} {goal.metric_evaluated:<12}"
    return f"{asked} {value}{whole} {goal.comparison} {limit} {goal.unit_evaluated}"


def gamma_of_files(
    reference_file: Path,
    evaluation_file: Path,
    criteria: GammaCriteria,
    folder: Path | None,
    choice: StudyChoice,
    device: str,
) -> tuple[GammaResult, dict[str, GammaSummary], tuple[Problem, ...]]:
    """Gamma of two RTDOSE files, by region where a study's structures are given (targets also grown by 5 mm), and what
    the files say of their doses.

    Raises InputError when a file cannot be used or two things lie in different frames of reference.
    """
    with announced("read"):
        first, second = read_dose(reference_file), read_dose(evaluation_file)
        reference, problems = first.volume, _meanings(first, second)
    with announced("gamma"):
        result = gamma_of_doses(reference, second.volume, criteria, device)
    if folder is None:
        return result, {}, problems
    with announced("structures"):
        study = _read(folder, choice)
        _in_frame_of(study, reference)
        protocol, _ = _protocol(study, choice)
        return result, compute_region_pass_rates(result, _regions(study, protocol, reference.grid)), problems


def _meanings(reference: DoseFile, evaluation: DoseFile) -> tuple[Problem, ...]:
    """What the two doses say of themselves, each as `dvh` says it, and that they are not doses of one kind."""
    told = [
        replace(problem, message=f"{role}: {problem.message}")
        for role, dose in (("Reference", reference), ("Evaluation", evaluation))
        for problem in dose.problems
    ]
    return (*told, *difference_problems(reference.meaning, evaluation.meaning))


def gamma_of_doses(reference: Volume, evaluation: Volume, criteria: GammaCriteria, device: str) -> GammaResult:
    """Gamma of two doses. Raises InputError (DOSE_FRAME_MISMATCH) when they lie in different frames of reference."""
    if reference.grid.frame_uid != evaluation.grid.frame_uid:
        raise InputError(dose_frames("The two doses lie in different frames of reference."))
    return gamma(reference, evaluation, **vars(criteria), device=device)


def _regions(study: Study, protocol: Protocol | None, grid: Grid) -> dict[str, FloatArray | NDArray[np.bool_]]:
    """Fractions of each structure on the grid by name, and the targets grown by 5 mm."""
    targets = {spec.name for spec in protocol.with_role("target")} if protocol is not None else set()
    regions: dict[str, FloatArray | NDArray[np.bool_]] = {}
    for structure in load_structures(study, protocol):
        if structure.shape is None:
            continue
        fraction = structure_fraction(structure, grid)
        regions[structure.name or structure.roi_name] = fraction
        if structure.name in targets and fraction.any():
            regions[f"{structure.name} + 5 mm"] = grow_region(fraction, grid)
    return regions
