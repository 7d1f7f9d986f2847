"""Any RTDOSE looked at again: metrics and goals over a study's structures, gamma against another dose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import FloatArray, Prescription, Structure, Volume
from vmat_rt.dicom.dose import read_dose
from vmat_rt.dicom.load import commonly_named, load_structures, prescription_for, structure_problems
from vmat_rt.dicom.study import Study, read_study
from vmat_rt.errors import ConfigError, InputError, Problem, warning
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
from vmat_rt.report.document import build_goal_entries, build_problem_entries, build_structure_metrics
from vmat_rt.report.schema import DvhDocument
from vmat_rt.study.choice import StudyChoice, protocol_for
from vmat_rt.study.dose_review import DoseReview, review_dose


def review_study(
    folder: Path, dose: Volume, metrics: Sequence[Metric], choice: StudyChoice, *, all_rois: bool
) -> DoseReview:
    """Review a dose over every mapped ROI of a study (every contoured one with all_rois) and the protocol's goals.

    CT is optional. Where no protocol fits the ROI names, all ROIs are listed, without goals, and a warning says so.
    Raises InputError when structures or dose cannot be used or lie in different frames, ConfigError when
    a prescription names no ROI of the study.
    """
    study = read_study(folder, choice.structures_uid, choice.series_uid, need_ct=False)
    _require_one_frame(study, dose)
    protocol, problems = _protocol(study, choice)
    structures = [structure for structure in _structures(study, protocol) if structure.shape is not None]
    if not all_rois and protocol is not None:
        structures = [structure for structure in structures if structure.name is not None]
    prescription = _prescription(study, protocol, structures, choice)
    doses_gy = dict(prescription.dose_gy) if prescription is not None else {}
    if protocol is None:
        doses_gy = _given_doses(choice, structures)
    review = review_dose(structures, dose, metrics, doses_gy, protocol, prescription)
    before = (*_without_ct_errors(study), *structure_problems(study, protocol), *problems)
    return replace(review, problems=tuple(dict.fromkeys((*before, *review.problems))))


def dvh_document(
    folder: Path, dose_file: Path, metrics: Sequence[Metric], choice: StudyChoice, *, all_rois: bool
) -> DvhDocument:
    """The review of an RTDOSE file as JSON. Raises as review_study and read_dose."""
    review = review_study(folder, read_dose(dose_file).volume, metrics, choice, all_rois=all_rois)
    return DvhDocument(
        structures=[build_structure_metrics(dvh, [str(metric) for metric in metrics], None) for dvh in review.values()],
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


def _require_one_frame(study: Study, dose: Volume) -> None:
    if dose.grid.frame_uid != study.structure_set.frame_uid:
        raise InputError(dose_frames("The RTDOSE lies in another frame of reference than the structure set."))


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
        return prescription_for(study, protocol, structures, choice.prescription_gy or None, choice.fractions)
    except InputError:
        return None


def dvh_text(document: DvhDocument) -> str:
    """The document for a person at a terminal."""
    lines = []
    for entry in document.structures:
        name = entry.name or "-"
        volume = "-" if entry.volume_cc is None else f"{entry.volume_cc:.2f}"
        values = "  ".join(f"{m} {'-' if v is None else f'{v:.2f}'}" for m, v in entry.metrics.items())
        lines.append(f"{entry.roi_name:<24} {name:<18} {volume:>9} cc  {values}")
    for goal in document.goals:
        value = "-" if goal.value is None else f"{goal.value:.2f}"
        limit = "-" if goal.limit_evaluated is None else f"{goal.limit_evaluated:g}"
        lines.append(
            f"{goal.status:<14} {goal.structure:<18} {goal.metric_evaluated:<12} {value} {goal.comparison} {limit} "
            f"{goal.unit_evaluated} ({goal.goal_set}) {goal.reason}"
        )
    lines += [f"{p.severity}: {p.message} {p.remedy} [{p.code}]" for p in document.problems]
    return "\n".join(lines)


def gamma_of_files(
    reference_file: Path,
    evaluation_file: Path,
    criteria: GammaCriteria,
    folder: Path | None,
    choice: StudyChoice,
    device: str,
) -> tuple[GammaResult, dict[str, GammaSummary]]:
    """Gamma of two RTDOSE files, and by region where a study's structures are given (targets also grown by 5 mm).

    Raises InputError when a file cannot be used or two things lie in different frames of reference.
    """
    reference = read_dose(reference_file).volume
    result = gamma_of_doses(reference, read_dose(evaluation_file).volume, criteria, device)
    if folder is None:
        return result, {}
    study = read_study(folder, choice.structures_uid, choice.series_uid, need_ct=False)
    _require_one_frame(study, reference)
    protocol, _ = _protocol(study, choice)
    return result, compute_region_pass_rates(result, _regions(study, protocol, reference.grid))


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
