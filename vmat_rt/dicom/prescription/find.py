"""Which dose each contoured target gets: what the user says, else the plan, else the protocol. Never a guess.

A plan's dose is placed where it names the target: by ROI number, by description, or, for one dose of an organ, site or
CTV, where there is one target that it can mean. A plan beside the CT rules out the protocol's defaults, unless it
agrees with them in all that it says and the target's own name says the rest. Without a plan they stand as a whole, with
a warning, and only for targets whose name says the dose or whose protocol was asked for by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vmat_rt.assembly.prescription import COMMAND_LINE, PLAN, PROTOCOL, not_contoured, targets_meant
from vmat_rt.case import Prescription, Structure
from vmat_rt.dicom.plan import Plan
from vmat_rt.dicom.prescription.names import contradicts, names_dose, same_dose
from vmat_rt.dicom.prescription.placed import PlacedDoses, place_doses
from vmat_rt.dicom.prescription.problems import (
    assumed,
    check_fractionation,
    check_plan_words,
    contradicting,
    dose_unknown,
    fractions_unknown,
    not_placed,
    other_targets,
)
from vmat_rt.errors import ConfigError, Problem, shortened
from vmat_rt.protocol import Protocol


@dataclass(frozen=True)
class Given:
    """What the user says: total Gy by target (TG-263 name or alias), fractions, whether the protocol is theirs, and
    codes of errors about the anatomy that they take as warnings.
    """

    dose_gy: Mapping[str, float] = field(default_factory=dict)
    fractions: int | None = None
    protocol_named: bool = True
    allowed: frozenset[str] = frozenset()


def find_prescription(
    structures: Iterable[Structure], protocol: Protocol, plan: Plan | None, given: Given
) -> tuple[Prescription | None, tuple[Problem, ...]]:
    """The prescription of the contoured targets among `structures`, or the problems that stand against it.

    Warnings come with a prescription too. Raises ConfigError when the user's doses name no target.
    """
    structures = tuple(structures)
    names = {spec.name for spec in protocol.with_role("target")}
    targets = {s.name: s for s in structures if s.name in names and s.shape is not None and s.name is not None}
    told = _read_given(given.dose_gy, protocol)
    placed = PlacedDoses() if plan is None else place_doses(plan, protocol, structures, targets)
    defaults = _find_defaults(targets, protocol, plan, given, placed)
    dose_gy, used = _choose(targets, ((COMMAND_LINE, told), (PLAN, placed.dose_gy), (PROTOCOL, defaults)))
    fractions, said_by = _find_fractions(plan, protocol, given, dose_gy)
    without = [target for name, target in targets.items() if name not in dose_gy]
    problems = [dose_unknown(target, targets, plan, _explain_no_default(target, given)) for target in without]
    problems += [not_contoured(name) for name in told if name not in targets]
    if fractions is None and dose_gy and not problems:
        problems.append(fractions_unknown(dose_gy, plan))
    if problems or not dose_gy or fractions is None:
        return None, tuple(problems)
    if plan is not None and PLAN in used:
        problems += [*placed.problems, *not_placed(placed.loose, dose_gy), *check_plan_words(plan.doses, dose_gy)]
    problems += other_targets(structures, dose_gy)
    problems += check_fractionation(max(dose_gy.values()), fractions)
    if PROTOCOL in used:
        problems.append(assumed(defaults, protocol, "no plan is used" if plan is None else "the plan does not say it"))
    problems += [
        contradicting(targets[n], dose) for n, dose in dose_gy.items() if contradicts(targets[n].roi_name, dose)
    ]
    origin = ", ".join(dict.fromkeys(used))
    if said_by not in used:
        origin += f" (fractions: {said_by})"
    return Prescription(dose_gy, fractions, origin), tuple(problems)


def _choose(
    targets: Iterable[str], sources: Sequence[tuple[str, Mapping[str, float]]]
) -> tuple[dict[str, float], list[str]]:
    """The first source's dose of every target that has one, and which sources were used."""
    dose_gy: dict[str, float] = {}
    used: list[str] = []
    for name in targets:
        source, doses = next((pair for pair in sources if name in pair[1]), ("", {}))
        if source:
            dose_gy[name] = doses[name]
            used.append(source)
    return dose_gy, used


def _read_given(given_gy: Mapping[str, float], protocol: Protocol) -> dict[str, float]:
    doses, unknown = targets_meant(given_gy, protocol)
    if unknown:
        known = ", ".join(sorted(spec.name for spec in protocol.with_role("target")))
        raise ConfigError(f"{unknown[0]!r} is not a target of the protocol {protocol.name}; its targets are {known}")
    return doses


def _find_defaults(
    targets: Mapping[str, Structure], protocol: Protocol, plan: Plan | None, given: Given, placed: PlacedDoses
) -> dict[str, float]:
    """The protocol's doses where they may stand beside what the user and the plan say."""
    defaults = {name: dose for name, dose in protocol.default_prescription_gy().items() if name in targets}
    told = _read_given(given.dose_gy, protocol)
    missing = {name: dose for name, dose in defaults.items() if name not in placed.dose_gy and name not in told}
    named = {name: dose for name, dose in missing.items() if names_dose(targets[name].roi_name, dose)}
    said = {**placed.dose_gy, **told}
    agrees = all(same_dose(dose, defaults.get(name, 0.0)) for name, dose in said.items())
    agrees = agrees and given.fractions in (None, protocol.fractions)
    if plan is not None:
        agrees = agrees and bool(said) and not placed.loose and plan.fractions == protocol.fractions
        return named if agrees else {}
    return (missing if given.protocol_named else named) if agrees else {}


def _explain_no_default(target: Structure, given: Given) -> str:
    """Without a plan."""
    if given.dose_gy or given.fractions is not None:
        return "the doses or fractions given are not the protocol's, so its own dose does not go with them"
    if given.protocol_named:
        return "neither a plan nor the protocol gives it"
    return f'no plan is used, and the name "{shortened(target.roi_name)}" does not say a dose'


def _find_fractions(
    plan: Plan | None, protocol: Protocol, given: Given, dose_gy: Mapping[str, float]
) -> tuple[int | None, str]:
    """The user's, the plan's; without a plan the protocol's, unless a dose is not the one that it gives."""
    if given.fractions is not None:
        return given.fractions, COMMAND_LINE
    if plan is not None:
        return plan.fractions, PLAN
    defaults = protocol.default_prescription_gy()
    own = all(same_dose(dose, defaults.get(name, dose)) for name, dose in dose_gy.items())
    return (protocol.fractions if own else None), PROTOCOL
