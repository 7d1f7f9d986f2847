"""CaseResult -> report.json: every number of the report, once. The page prints from this document."""

from __future__ import annotations

import functools
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata

from vmat_rt.case import ModelIdentity, Prescription, Structure
from vmat_rt.errors import Problem
from vmat_rt.geometry.rasterize import volume_cc
from vmat_rt.grid import Grid
from vmat_rt.metrics.dvh.compute import Dvh
from vmat_rt.metrics.goals import GoalResult
from vmat_rt.metrics.shells import ShellDvh
from vmat_rt.report.colours import find_role, list_evaluated_structures, sort_for_report
from vmat_rt.report.comparison import compare
from vmat_rt.report.quality.build import build_dose_qualities, build_gamma_rates
from vmat_rt.report.result import CaseResult, DoseResult
from vmat_rt.report.schema import (
    CaseEntry,
    ComparisonEntry,
    CtEntry,
    DoseEntry,
    GoalEntry,
    GoalSetEntry,
    ModelEntry,
    PrescriptionEntry,
    ProblemEntry,
    ProtocolEntry,
    ReportDocument,
    ShellMetrics,
    StructureEntry,
    StructureMetrics,
)

METRICS = ("D99%", "D98%", "D95%", "D50%", "D5%", "D2%", "D1%", "D0.03cc", "Dmin", "Dmean", "Dmax")
TARGET_METRICS = (*METRICS, "V95%", "V100%", "HI")
_SOFTWARE = ("vmat-rt", "numpy", "SimpleITK", "pydicom")


def build_report_document(result: CaseResult, files: Mapping[str, str]) -> ReportDocument:
    """The whole of report.json. files are what was written, by kind, relative to the report's folder."""
    case, protocol = result.case, result.protocol
    baseline, clinical = result.other("geometric baseline"), result.other("clinical")
    goal_sets = [GoalSetEntry(name=s.name, title=s.title) for s in protocol.goal_sets]
    return ReportDocument(
        title=f"{protocol.site[:1].upper()}{protocol.site[1:]}, {case.prescription.in_words()}",
        created=result.created,
        case=CaseEntry(
            key=case.key, ct=_build_grid_entry(case.ct.grid), dose_grid=_build_grid_entry(result.predicted.dose.grid)
        ),
        patient=dict(result.patient) if result.patient is not None else None,
        protocol=ProtocolEntry(name=protocol.name, title=protocol.title, goal_sets=goal_sets),
        prescription=build_prescription_entry(case.prescription),
        model=_build_model_entry(result.predicted.model),
        problems=build_problem_entries(result.problems),
        structures_mapped=_list_mapped(result),
        structures_unmapped=[build_structure_entry(structure, None) for structure in case.unmapped],
        predicted=_build_dose_entry(result, result.predicted),
        baseline=_build_dose_entry(result, baseline) if baseline else None,
        clinical=_build_dose_entry(result, clinical) if clinical else None,
        comparison_with_clinical=_build_comparison(result, clinical),
        comparison_with_baseline=_build_comparison(result, baseline),
        bands=result.bands,
        quality=build_dose_qualities(result),
        gamma=build_gamma_rates(result.gammas),
        files=dict(files),
        software=list_software_versions(),
        seconds={step: round(seconds, 3) for step, seconds in result.seconds.items()},
    )


def build_structure_metrics(dvh: Dvh, metrics: Sequence[str], prescription_gy: float | None) -> StructureMetrics:
    """One ROI's metrics by their canonical spelling, for report.json and `vmat-rt dvh`.

    prescription_gy is what percentages of dose refer to; None leaves that to the DVH. A metric without a value is None.
    Raises ConfigError for what is not a metric.
    """
    return StructureMetrics(
        roi_name=dvh.roi_name,
        name=dvh.name,
        volume_cc=dvh.volume_cc,
        covered_percent=100 * dvh.covered_fraction,
        metrics=dvh.values(metrics, prescription_gy),
        reason=dvh.reason or dvh.shortfall,
    )


def build_shell_metrics(shells: Mapping[str, ShellDvh], metrics: Sequence[str]) -> list[ShellMetrics]:
    """The shells' metrics, as JSON; percentages of dose refer to the target's own prescription. Raises ConfigError."""
    return [
        ShellMetrics(
            **build_structure_metrics(of.dvh, metrics, None).model_dump(),
            target=of.shell.target,
            outside=list(of.shell.outside),
            margin_mm=of.shell.margin_mm,
        )
        for of in shells.values()
    ]


def build_goal_entries(goals: Mapping[str, Iterable[GoalResult]]) -> list[GoalEntry]:
    """Goal results by goal-set name, as JSON."""
    return [_build_goal_entry(goal_set, result) for goal_set, results in goals.items() for result in results]


def build_problem_entries(problems: Iterable[Problem]) -> list[ProblemEntry]:
    """Problems, errors first, as JSON."""
    ordered = sorted(problems, key=lambda problem: problem.severity != "error")
    return [ProblemEntry.model_validate(problem.as_dict()) for problem in ordered]


def build_prescription_entry(prescription: Prescription) -> PrescriptionEntry:
    """The prescription, highest dose first, as JSON."""
    doses = sorted(prescription.dose_gy.items(), key=lambda item: -item[1])
    return PrescriptionEntry(dose_gy=dict(doses), fractions=prescription.fractions, source=prescription.source)


def build_structure_entry(structure: Structure, known_volume_cc: float | None) -> StructureEntry:
    """One ROI; its volume is computed unless it is known already, and None where there is nothing to measure."""
    volume = known_volume_cc
    if volume is None and structure.shape is not None:
        volume = volume_cc(structure)
    return StructureEntry(
        roi_name=structure.roi_name, name=structure.name, contours=structure.contour_count, volume_cc=volume
    )


@functools.cache
def list_software_versions() -> dict[str, str]:
    """Versions of this package and of those that the numbers depend on."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in _SOFTWARE}


def _build_grid_entry(grid: Grid) -> CtEntry:
    return CtEntry(shape=grid.shape, spacing_mm=grid.spacing_mm)


def _build_model_entry(model: ModelIdentity | None) -> ModelEntry | None:
    if model is None:
        return None
    return ModelEntry(
        name=model.name,
        version=model.version,
        kind=model.kind,
        protocol=model.protocol_name,
        sha256=model.sha256,
        trained_on=model.trained_on,
        limits=list(model.limits),
        metrics=dict(model.metrics),
    )


def _list_mapped(result: CaseResult) -> list[StructureEntry]:
    volumes = {dvh.roi_name: dvh.volume_cc for dvh in result.predicted.dvhs.values()}
    ordered = sort_for_report(result.case.structures.values(), result.case, result.protocol)
    return [build_structure_entry(structure, volumes.get(structure.roi_name)) for structure in ordered]


def _build_dose_entry(result: CaseResult, dose: DoseResult) -> DoseEntry:
    structures = []
    for structure in list_evaluated_structures(result.case, result.protocol):
        dvh = dose.dvhs.get(structure.roi_name)
        if dvh is not None:
            target = find_role(structure.name, result.protocol) == "target"
            prescription = result.case.prescription.dose_gy.get(structure.name or "") if target else None
            structures.append(build_structure_metrics(dvh, TARGET_METRICS if target else METRICS, prescription))
    return DoseEntry(
        label=dose.label,
        model=_build_model_entry(dose.model),
        structures=structures,
        shells=build_shell_metrics(dose.shells, TARGET_METRICS),
        goals=build_goal_entries(dose.goals),
    )


def _build_comparison(result: CaseResult, other: DoseResult | None) -> ComparisonEntry | None:
    return compare(result, other) if other is not None else None


def _build_goal_entry(goal_set: str, result: GoalResult) -> GoalEntry:
    goal = result.single
    return GoalEntry(
        goal_set=goal_set,
        structure=result.structure,
        metric_stated=result.metric_stated,
        metric_evaluated=result.metric,
        comparison=goal.comparison,
        limit_stated=goal.limit,
        unit_stated=goal.unit,
        limit_evaluated=result.limit,
        unit_evaluated=result.unit,
        converted=result.converted,
        value=result.value,
        status=result.status,
        reason=result.reason,
        source=goal.source,
        note=result.goal.note,
        alpha_beta_gy=goal.alpha_beta_gy,
        alpha_beta_source=goal.alpha_beta_source,
        derived_at_gy_per_fraction=goal.derived_at_gy_per_fraction,
        judged_on=result.judged_on,
        whole_value=result.whole_value,
        arms=[_build_goal_entry(goal_set, arm) for arm in result.arms],
    )
