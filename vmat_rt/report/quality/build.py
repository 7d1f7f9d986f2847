"""From a case's doses to the entries of plan quality, and to the page's tables of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vmat_rt.metrics.gamma.index import GammaResult, gamma
from vmat_rt.metrics.plan_quality import EQD2_METRICS, compute_organ_effect, compute_target_quality
from vmat_rt.protocol import Protocol
from vmat_rt.report.colours import find_role, list_evaluated_structures
from vmat_rt.report.quality.entries import DoseQuality, GammaRate, OrganEffects, TargetIndices
from vmat_rt.report.result import CaseResult, DoseResult
from vmat_rt.report.tables import ABSENT, format_number

GAMMA_CRITERIA: Final = ((3.0, 3.0), (2.0, 2.0))
"""Percent of the reference's maximum and mm: AAPM TG-218's usual pair, and the stricter one."""


@dataclass(frozen=True)
class QualityRow:
    """One structure in one dose; name is empty where it is that of the row above."""

    name: str
    dose: str
    values: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class QualityTable:
    """Structures that are asked for the same numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[QualityRow, ...]


def compute_gammas(predicted: DoseResult, others: Sequence[DoseResult]) -> tuple[GammaResult, ...]:
    """Gamma of the predicted dose against the clinical one by each of GAMMA_CRITERIA; none without a clinical dose."""
    reference = next((dose for dose in others if dose.label == "clinical"), None)
    if reference is None:
        return ()
    return tuple(gamma(reference.dose, predicted.dose, percent, mm) for percent, mm in GAMMA_CRITERIA)


def build_gamma_rates(gammas: Sequence[GammaResult]) -> list[GammaRate]:
    """Criteria and pass rates, as JSON."""
    return [
        GammaRate(
            criteria=found.criteria.label,
            pass_rate_percent=found.pass_rate_percent,
            mean=found.mean,
            points=found.points_evaluated,
            reason=found.reason or "",
        )
        for found in gammas
    ]


def build_dose_qualities(result: CaseResult) -> list[DoseQuality]:
    """Indices of the prescribed targets and effects on the organs, for the predicted dose and the clinical one.

    The geometric baseline is left out: it stands in the report to be compared with, not to be treated.
    """
    doses = [result.predicted, *(dose for dose in result.others if dose.label == "clinical")]
    return [_build_quality(result, dose) for dose in doses]


def _build_quality(result: CaseResult, dose: DoseResult) -> DoseQuality:
    prescription = result.case.prescription
    alpha_betas = find_alpha_betas(result.protocol)
    targets, organs = [], []
    for structure in list_evaluated_structures(result.case, result.protocol):
        dvh, name = dose.dvhs.get(structure.roi_name), structure.name
        if dvh is None or name is None:
            continue
        if name in prescription.dose_gy:
            own_gy = prescription.dose_gy[name]
            found = vars(compute_target_quality(dvh, dose.dose, own_gy))
            targets.append(TargetIndices(name=name, prescription_gy=own_gy, **found))
        elif find_role(name, result.protocol) == "oar":
            effect = compute_organ_effect(dvh, prescription.fractions, alpha_betas.get(name))
            organs.append(
                OrganEffects(
                    name=name,
                    geud_gy=effect.geud_gy,
                    geud_exponent=effect.exponent,
                    eqd2_gy=dict(effect.eqd2_gy),
                    alpha_beta_gy=effect.alpha_beta_gy,
                )
            )
    return DoseQuality(label=dose.label, targets=targets, organs=organs)


def find_alpha_betas(protocol: Protocol) -> dict[str, float]:
    """The one alpha/beta (Gy) that all goals of a structure name; structures with several or none are left out."""
    found: dict[str, set[float]] = {}
    for goal_set in protocol.goal_sets:
        for goal in goal_set.single_goals():
            if goal.alpha_beta_gy is not None:
                found.setdefault(goal.structure, set()).add(goal.alpha_beta_gy)
    return {name: next(iter(values)) for name, values in found.items() if len(values) == 1}


def build_quality_tables(qualities: Sequence[DoseQuality], titles: Mapping[str, str]) -> list[QualityTable]:
    """A table of the targets' indices and one of the organs' effects; titles are what the page calls each dose."""
    indices = ("CI Paddick", "CI RTOG", "GI", "R50 %", "HI")
    targets = QualityTable("Targets, dose against shape", indices, tuple(_list_targets(qualities, titles)))
    columns = ("gEUD, Gy", "a", *(f"EQD2 of {metric}, Gy" for metric in EQD2_METRICS), "α/β, Gy")
    organs = QualityTable("Organs, effect", columns, tuple(_list_organs(qualities, titles)))
    return [table for table in (targets, organs) if table.rows]


def _list_targets(qualities: Sequence[DoseQuality], titles: Mapping[str, str]) -> list[QualityRow]:
    rows = []
    for same in zip(*(quality.targets for quality in qualities), strict=True):
        for first, (quality, entry) in enumerate(zip(qualities, same, strict=True)):
            indices = (entry.paddick_ci, entry.rtog_ci, entry.gradient_index, entry.r50)
            values = (*(format_number(value, 2) for value in indices), format_number(entry.homogeneity, 3))
            rows.append(QualityRow("" if first else entry.name, titles[quality.label], values, entry.reason))
    return rows


def _list_organs(qualities: Sequence[DoseQuality], titles: Mapping[str, str]) -> list[QualityRow]:
    rows = []
    for same in zip(*(quality.organs for quality in qualities), strict=True):
        if all(entry.geud_exponent is None and entry.alpha_beta_gy is None for entry in same):
            continue
        for first, (quality, entry) in enumerate(zip(qualities, same, strict=True)):
            converted = (format_number(entry.eqd2_gy.get(metric)) for metric in EQD2_METRICS)
            values = (
                format_number(entry.geud_gy), format_number(entry.geud_exponent), *converted,
                ABSENT if entry.alpha_beta_gy is None else f"{entry.alpha_beta_gy:g}",
            )  # fmt: skip
            rows.append(QualityRow("" if first else entry.name, titles[quality.label], values, ""))
    return rows
