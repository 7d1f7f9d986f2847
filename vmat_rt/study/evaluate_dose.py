"""What is measured on every dose of a case: DVHs of its structures and the goals of its protocol."""

from __future__ import annotations

from dataclasses import dataclass

from vmat_rt.bundle import Bundle, find_baseline_bundle
from vmat_rt.case import Case, ModelIdentity, Structure, Volume
from vmat_rt.metrics.dvh.compute import compute_dvhs
from vmat_rt.metrics.goals import check_goal_sets
from vmat_rt.metrics.shells import Shell, compute_shell_dvhs, find_shells
from vmat_rt.prediction import predict_dose
from vmat_rt.predictor import PredictedDose
from vmat_rt.protocol import Protocol
from vmat_rt.report.result import DoseResult
from vmat_rt.report.schema import DoseLabel
from vmat_rt.system.threads import run_threads


@dataclass(frozen=True)
class LabelledDose:
    """A dose of the case, Gy in total, and the model that made it (None: no model did)."""

    label: DoseLabel
    dose: Volume
    model: ModelIdentity | None


def doses_to_report(case: Case, bundle: Bundle, predicted: PredictedDose, device: str) -> list[LabelledDose]:
    """The predicted dose first; then the geometric baseline's, which may be the prior, and the clinical one."""
    doses = [LabelledDose("predicted", predicted.dose, bundle.identity)]
    beside = find_baseline_bundle(bundle, bundle.manifest.protocols)
    if beside is not None:
        baseline = predicted.prior or predict_dose(case, beside, device).dose
        doses.append(LabelledDose("geometric baseline", baseline, beside.identity))
    if case.reference_dose is not None:
        doses.append(LabelledDose("clinical", case.reference_dose, None))
    return doses


def evaluate_doses(case: Case, protocol: Protocol, doses: list[LabelledDose]) -> list[DoseResult]:
    """DVHs of the mapped structures and the body, and every goal set of the protocol; in the order of the doses."""
    structures = case.structures.values()
    shells = find_shells(structures, case.prescription.dose_gy, protocol)
    return run_threads(lambda dose: _evaluate_dose(case, protocol, shells, dose), doses)


def _evaluate_dose(case: Case, protocol: Protocol, shells: tuple[Shell, ...], of: LabelledDose) -> DoseResult:
    structures: list[Structure] = [*case.structures.values()]
    if case.body.name not in case.structures:
        structures.append(case.body)
    prescription, metrics = case.prescription, protocol.goal_metrics()
    dvhs = compute_dvhs(structures, of.dose, metrics=metrics, prescription_gy=prescription.dose_gy)
    of_shells = compute_shell_dvhs(shells, of.dose, metrics, prescription.dose_gy)
    goals = check_goal_sets(protocol, dvhs.values(), prescription, of_shells)
    return DoseResult(of.label, of.dose, dvhs, goals, of.model, of_shells)
