"""measure: every number of one predicted dose against the case's reference dose, on the cohort's grid.

METRICS says what each number is; docs/evaluate.md says it at length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Case, FloatArray, Structure, Volume
from vmat_rt.errors import InputError, Problem
from vmat_rt.evaluate.goal_outcomes import count_goal_shares, judge_goals
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.metrics.dose_error import compute_dose_error, require_some_dose
from vmat_rt.metrics.dvh.compute import Dvh, compute_dvhs
from vmat_rt.metrics.gamma.index import GammaCriteria, compute_region_pass_rates, gamma
from vmat_rt.metrics.openkbp_score import OpenKbpRegions, score_patient
from vmat_rt.metrics.shells import Shell, ShellDvh, compute_shell_dvhs, find_shells
from vmat_rt.protocol import Protocol
from vmat_rt.report.evaluation_schema import GoalOutcome, OpenKbpEntry, StructureResult

CRITERIA: Final = GammaCriteria(dose_percent=3.0, distance_mm=3.0, lower_cutoff_percent=10.0)
STRUCTURE_METRICS: Final = ("D98%", "D95%", "D50%", "D2%", "Dmean", "D0.03cc")
TARGET_METRICS: Final = (*STRUCTURE_METRICS, "HI", "CI")
SHELL_METRICS: Final = (*STRUCTURE_METRICS, "HI")
INSIDE: Final = 0.5
"""Fraction from which a voxel belongs to OpenKBP's masks, which are binary."""

METRICS: Final = {
    "mae_gy": "mean |predicted - reference| over the body, voxels weighted by their part in it",
    "mae_target_gy": "the same over the union of the prescribed targets",
    "mae_outside_gy": "the same over the body outside that union",
    "rmse_gy": "root mean square of the difference over the body",
    "bias_gy": "mean of predicted - reference over the body",
    "gamma_global_percent": f"points of the body with gamma <= 1, {CRITERIA.label} (of the reference maximum)",
    "gamma_target_percent": "the same points within the union of the prescribed targets, no margin",
    "d95_gap_gy": "D95% predicted - reference, by target",
    "d95_abs_gap_gy": "|D95% predicted - reference|, by target",
    "mean_gap_gy": "Dmean predicted - reference, by structure",
    "near_max_gap_gy": "D0.03cc predicted - reference, by structure",
    "homogeneity_gap": "HI (D2% - D98%) / D50% predicted - reference, by target and shell",
    "conformity_gap": "CI (Paddick) at the target's prescription, predicted - reference, by target",
    "asymmetry_gy": "mean dose of the left - of the right structure in the predicted dose, by pair",
    "asymmetry_reference_gy": "the same in the reference dose",
    "asymmetry_gap_gy": "the difference of these two",
    "goals_agreement_percent": "planning goals that both doses meet or both miss, of those that both can be judged by",
    "goals_met_percent": "planning goals that the predicted dose meets, of the same goals",
    "goals_met_reference_percent": "planning goals that the reference dose meets, of the same goals",
    "openkbp_dose_score": "OpenKBP's dose score, Gy",
    "openkbp_dvh_score": "OpenKBP's DVH score, Gy; a cohort's pools all entries of all patients",
    "coverage_percent": "part of the body for which the model gives a dose; the rest counts as 0 Gy",
    "seconds": "to predict the dose, without loading the model",
    "failed": "1 where the case gave no result, else 0",
}

_SIDE: Final = re.compile(r"(?<=_)L(?=_|$)")


@dataclass(frozen=True)
class Measures:
    """Numbers of one case; a metric that exists a structure is keyed `name:structure`. None: not to be had."""

    metrics: dict[str, float | None]
    structures: list[StructureResult]
    goals: list[GoalOutcome]
    openkbp: OpenKbpEntry | None


def measure(case: Case, dose: Volume, protocol: Protocol, *, with_gamma: bool, openkbp: bool) -> Measures:
    """Compare `dose` (Gy, on the grid of the case's reference dose) with the reference dose.

    openkbp: the body is OpenKBP's mask of possible dose, so that its scores can be given. Raises InputError when the
    case has no reference dose (NO_REFERENCE_DOSE) or one of the doses is not a dose, GeometryError when grids differ.
    """
    reference = find_reference(case)
    structures = choose_structures(case, protocol)
    body = structure_fraction(case.body, dose.grid)
    targets = _unite([case.structures[name] for name in case.targets()], dose)
    metrics = _measure_voxel_errors(reference, dose, body, targets)
    if with_gamma:
        metrics |= _measure_gamma(reference, dose, body, targets)
    dvhs = _BothDvhs(*(_compute_dvhs(case, structures, protocol, volume) for volume in (dose, reference)))
    shells = find_shells(structures.values(), case.prescription.dose_gy, protocol)
    of_shells = _BothShells(*(_compute_shell_dvhs(case, shells, protocol, volume) for volume in (dose, reference)))
    results = [_compare_structure(structure, case, protocol, dvhs) for structure in structures.values()]
    results += [_compare_shell(shell, case, of_shells) for shell in shells]
    goals = judge_goals(case, protocol, (dvhs.predicted, of_shells.predicted), (dvhs.reference, of_shells.reference))
    scores = _make_openkbp_entry(case, dose, protocol) if openkbp else None
    metrics |= _measure_gaps(results) | _measure_asymmetries(results) | count_goal_shares(goals)
    if scores is not None:
        metrics["openkbp_dose_score"] = scores.dose_error_gy
        entries = list(scores.dvh_errors_gy.values())
        metrics["openkbp_dvh_score"] = float(np.mean(entries)) if entries else None
    return Measures(metrics, results, goals, scores)


@dataclass(frozen=True)
class _BothDvhs:
    """By TG-263 name, in the predicted dose and in the reference."""

    predicted: dict[str, Dvh]
    reference: dict[str, Dvh]


@dataclass(frozen=True)
class _BothShells:
    """Shells by target, in the predicted dose and in the reference."""

    predicted: dict[str, ShellDvh]
    reference: dict[str, ShellDvh]


def find_reference(case: Case) -> Volume:
    """The case's reference dose. Raises InputError (NO_REFERENCE_DOSE, REFERENCE_DOSE_EMPTY)."""
    if case.reference_dose is None:
        message = "The case has no reference dose, so there is nothing to compare a prediction with."
        raise InputError(Problem("NO_REFERENCE_DOSE", message, "Add it to the cohort with its RTDOSE."))
    require_some_dose(case.reference_dose)
    return case.reference_dose


def choose_structures(case: Case, protocol: Protocol) -> dict[str, Structure]:
    """The protocol's targets and organs that the case has, in the protocol's order."""
    known = (*protocol.with_role("target"), *protocol.with_role("oar"))
    present = {spec.name: case.structures[spec.name] for spec in known if spec.name in case.structures}
    return {name: structure for name, structure in present.items() if structure.shape is not None}


def _unite(structures: list[Structure], dose: Volume) -> FloatArray:
    """Largest fraction of any of them in each voxel (z, y, x)."""
    union = np.zeros(dose.grid.shape, np.float32)
    for structure in structures:
        np.maximum(union, structure_fraction(structure, dose.grid), out=union)
    return union


def _measure_voxel_errors(
    reference: Volume, dose: Volume, body: FloatArray, targets: FloatArray
) -> dict[str, float | None]:
    over_body = compute_dose_error(reference, dose, body)
    over_targets = compute_dose_error(reference, dose, targets)
    outside = compute_dose_error(reference, dose, np.maximum(body - targets, 0))
    return {
        "mae_gy": over_body.mae_gy if over_body else None,
        "mae_target_gy": over_targets.mae_gy if over_targets else None,
        "mae_outside_gy": outside.mae_gy if outside else None,
        "rmse_gy": over_body.rmse_gy if over_body else None,
        "bias_gy": over_body.signed_gy if over_body else None,
    }


def _measure_gamma(reference: Volume, dose: Volume, body: FloatArray, targets: FloatArray) -> dict[str, float | None]:
    result = gamma(reference, dose, CRITERIA.dose_percent, CRITERIA.distance_mm, CRITERIA.lower_cutoff_percent)
    rates = compute_region_pass_rates(result, {"body": body, "targets": targets})
    return {
        "gamma_global_percent": rates["body"].pass_rate_percent,
        "gamma_target_percent": rates["targets"].pass_rate_percent,
    }


def _compute_dvhs(case: Case, structures: Mapping[str, Structure], protocol: Protocol, dose: Volume) -> dict[str, Dvh]:
    """Compute DVHs by TG-263 name."""
    metrics = (*STRUCTURE_METRICS, *protocol.goal_metrics())
    by_name: dict[str, Dvh] = {}
    doses_gy = case.prescription.dose_gy
    of_targets = {name: structures[name] for name in case.targets() if name in structures}
    others = {name: structure for name, structure in structures.items() if name not in of_targets}
    for group, wanted in ((of_targets, (*metrics, "HI", "CI")), (others, metrics)):
        dvhs = compute_dvhs(group.values(), dose, metrics=wanted, prescription_gy=doses_gy)
        by_name |= dict(zip(group, dvhs.values(), strict=True))
    return {name: by_name[name] for name in structures}


def _compute_shell_dvhs(case: Case, shells: tuple[Shell, ...], protocol: Protocol, dose: Volume) -> dict[str, ShellDvh]:
    metrics = (*STRUCTURE_METRICS, *protocol.goal_metrics(), "HI")
    return compute_shell_dvhs(shells, dose, metrics, case.prescription.dose_gy)


def _compare_shell(shell: Shell, case: Case, dvhs: _BothShells) -> StructureResult:
    predicted, reference = dvhs.predicted[shell.target].dvh, dvhs.reference[shell.target].dvh
    return StructureResult(
        name=f"{shell.target} shell",
        outside=shell.outside_in_words,
        role="target",
        volume_cc=predicted.volume_cc,
        prescription_gy=case.prescription.dose_gy[shell.target],
        predicted=dict(predicted.values(SHELL_METRICS)),
        reference=dict(reference.values(SHELL_METRICS)),
    )


def _compare_structure(structure: Structure, case: Case, protocol: Protocol, dvhs: _BothDvhs) -> StructureResult:
    name = structure.name or structure.roi_name
    predicted, reference = dvhs.predicted[name], dvhs.reference[name]
    target = name in case.targets()
    metrics = TARGET_METRICS if target else STRUCTURE_METRICS
    roles = {spec.name: spec.role for spec in protocol.structures}
    return StructureResult(
        name=name,
        outside="",
        role="target" if roles[name] == "target" else "oar",
        volume_cc=predicted.volume_cc,
        prescription_gy=case.prescription.dose_gy.get(name),
        predicted=dict(predicted.values(metrics)),
        reference=dict(reference.values(metrics)),
    )


def _measure_gaps(results: list[StructureResult]) -> dict[str, float | None]:
    gaps: dict[str, float | None] = {}
    for result in results:
        if result.prescription_gy is not None:
            gap = find_gap(result, "D95%")
            gaps[f"d95_gap_gy:{result.name}"] = gap
            gaps[f"d95_abs_gap_gy:{result.name}"] = None if gap is None else abs(gap)
            gaps[f"homogeneity_gap:{result.name}"] = find_gap(result, "HI")
            gaps[f"conformity_gap:{result.name}"] = find_gap(result, "CI")
        gaps[f"mean_gap_gy:{result.name}"] = find_gap(result, "Dmean")
        gaps[f"near_max_gap_gy:{result.name}"] = find_gap(result, "D0.03cc")
    return gaps


def find_gap(result: StructureResult, metric: str) -> float | None:
    """Predicted minus reference, or None where either has none."""
    predicted, reference = result.predicted.get(metric), result.reference.get(metric)
    return None if predicted is None or reference is None else predicted - reference


def _measure_asymmetries(results: list[StructureResult]) -> dict[str, float | None]:
    """Measure each pair of structures, named without its side."""
    by_name = {result.name: result for result in results}
    values: dict[str, float | None] = {}
    for name, left in by_name.items():
        right = by_name.get(_SIDE.sub("R", name))
        if right is None or right is left:
            continue
        pair = re.sub(r"_L(?=_|$)", "", name)
        predicted = _subtract(left.predicted["Dmean"], right.predicted["Dmean"])
        reference = _subtract(left.reference["Dmean"], right.reference["Dmean"])
        values[f"asymmetry_gy:{pair}"] = predicted
        values[f"asymmetry_reference_gy:{pair}"] = reference
        values[f"asymmetry_gap_gy:{pair}"] = _subtract(predicted, reference)
    return values


def _subtract(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _make_openkbp_entry(case: Case, dose: Volume, protocol: Protocol) -> OpenKbpEntry:
    reference, grid = find_reference(case), dose.grid

    def masks(role: str) -> dict[str, NDArray[np.bool_]]:
        names = [spec.name for spec in protocol.with_role(role) if spec.name in case.structures]
        return {name: structure_fraction(case.structures[name], grid) >= INSIDE for name in names}

    possible = structure_fraction(case.body, grid) >= INSIDE
    regions = OpenKbpRegions(possible, masks("oar"), masks("target"), float(np.prod(grid.spacing_mm)))
    score = score_patient(dose.array, reference.array, regions)
    errors = {f"{metric} {name}": value for (metric, name), value in score.dvh_errors_gy.items()}
    return OpenKbpEntry(dose_error_gy=score.dose_error_gy, dvh_errors_gy=errors)
