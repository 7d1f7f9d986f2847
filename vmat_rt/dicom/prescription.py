"""The prescription of a DICOM study: what the user says, else its plan, else the protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vmat_rt.assembly.prescription import (
    COMMAND_LINE,
    PLAN,
    DoseSource,
    prescribe,
    protocol_defaults,
    targets_meant,
)
from vmat_rt.case import Prescription, Structure
from vmat_rt.dicom.plan import Plan
from vmat_rt.errors import ConfigError, Problem
from vmat_rt.naming import alias_table, fold
from vmat_rt.protocol import Protocol


def find_prescription(
    targets: Iterable[Structure],
    protocol: Protocol,
    plan: Plan | None,
    given_gy: Mapping[str, float],
    given_fractions: int | None,
) -> tuple[Prescription | None, tuple[Problem, ...]]:
    """The prescription of contoured targets, or the problems that stand against it.

    given_gy: total Gy by target (TG-263 name or alias), from the user. Raises ConfigError when it names no target.
    """
    targets = tuple(targets)
    sources = (
        DoseSource(COMMAND_LINE, _given(given_gy, protocol), given_fractions, expects=True),
        DoseSource(PLAN, _planned(plan, protocol, targets), plan.fractions if plan is not None else None),
        protocol_defaults(protocol),
    )
    return prescribe((structure.name for structure in targets if structure.name is not None), sources)


def _given(given_gy: Mapping[str, float], protocol: Protocol) -> dict[str, float]:
    doses, unknown = targets_meant(given_gy, protocol)
    if unknown:
        known = ", ".join(sorted(spec.name for spec in protocol.with_role("target")))
        raise ConfigError(f"{unknown[0]!r} is no target of the protocol {protocol.name}; its targets are {known}")
    return doses


def _planned(plan: Plan | None, protocol: Protocol, targets: Iterable[Structure]) -> dict[str, float]:
    """By ROI number; by the description of a dose reference only for targets that no number prescribes."""
    if plan is None:
        return {}
    table = alias_table(protocol)
    labelled = {table.get(fold(label)): dose for label, dose in plan.prescription_by_label_gy.items()}
    doses = {name: dose for name, dose in labelled.items() if name is not None}
    by_number = {
        structure.name: plan.prescription_gy[structure.number]
        for structure in targets
        if structure.name is not None and structure.number is not None and structure.number in plan.prescription_gy
    }
    return {**doses, **by_number}
