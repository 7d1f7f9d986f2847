"""Which dose each contoured target gets: what the user says, else the plan, else the protocol. Never a guess."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vmat_rt.case import Prescription, Structure
from vmat_rt.dicom.plan import Plan
from vmat_rt.errors import ConfigError, Problem
from vmat_rt.naming import alias_table, fold
from vmat_rt.protocol import Protocol

_USER, _PLAN, _PROTOCOL = "command line", "plan", "protocol default"


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
    sources = (
        (_USER, _given(given_gy, protocol)),
        (_PLAN, _planned(plan, protocol, targets := tuple(targets))),
        (_PROTOCOL, protocol.default_prescription_gy()),
    )
    names = [structure.name for structure in targets if structure.name is not None]
    dose_gy: dict[str, float] = {}
    used: list[str] = []
    for name in names:
        for source, doses in sources:
            if name in doses:
                dose_gy[name] = doses[name]
                used.append(source)
                break
    problems = [_unknown(name) for name in names if name not in dose_gy]
    problems += [_not_contoured(name) for name in sources[0][1] if name not in names]
    if problems or not dose_gy:
        return None, tuple(problems)
    fractions, told_by = _fractions(plan, protocol, given_fractions)
    origin = ", ".join(dict.fromkeys(used))
    if told_by not in used:
        origin += f" (fractions: {told_by})"
    return Prescription(dose_gy, fractions, origin), ()


def _given(given_gy: Mapping[str, float], protocol: Protocol) -> dict[str, float]:
    table = alias_table(protocol)
    targets = {spec.name for spec in protocol.with_role("target")}
    doses: dict[str, float] = {}
    for label, dose in given_gy.items():
        name = table.get(fold(label))
        if name not in targets:
            known = ", ".join(sorted(targets))
            raise ConfigError(f"{label!r} is no target of the protocol {protocol.name}; its targets are {known}")
        doses[str(name)] = dose
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


def _fractions(plan: Plan | None, protocol: Protocol, given: int | None) -> tuple[int, str]:
    if given is not None:
        return given, _USER
    if plan is not None and plan.fractions is not None:
        return plan.fractions, _PLAN
    return protocol.fractions, _PROTOCOL


def _unknown(name: str) -> Problem:
    message = f"The dose prescribed to {name} is unknown: neither a plan nor the protocol gives it."
    return Problem("PRESCRIPTION_UNKNOWN", message, f"Give it in Gy, e.g. --prescription {_example(name)}.")


def _example(name: str) -> str:
    """PTV_7000 -> PTV_7000=70: by TG-263 the number in a target's name is its dose in cGy."""
    digits = name.rpartition("_")[2]
    return f"{name}={int(digits) / 100:g}" if digits.isdigit() else f"{name}=70"


def _not_contoured(name: str) -> Problem:
    return Problem("TARGET_MISSING", f"A dose is given for {name}, which is not contoured.", "Contour it or omit it.")
