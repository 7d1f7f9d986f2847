"""Which dose each contoured target gets: of several sources the first that knows it. Never a guess."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vmat_rt.case import Prescription
from vmat_rt.errors import Problem
from vmat_rt.naming import alias_table, fold
from vmat_rt.protocol import Protocol

COMMAND_LINE, PLAN, PROTOCOL = "command line", "plan", "protocol default"


@dataclass(frozen=True)
class DoseSource:
    """What one source (`name`) says: total Gy by target under its TG-263 name, and the fractions or None.

    expects: every target that it names has to be contoured; a protocol's defaults do without.
    """

    name: str
    dose_gy: Mapping[str, float]
    fractions: int | None = None
    expects: bool = False


def protocol_defaults(protocol: Protocol) -> DoseSource:
    """The doses and fractions that hold where nobody says otherwise: the last source."""
    return DoseSource(PROTOCOL, protocol.default_prescription_gy(), protocol.fractions)


def targets_meant(given_gy: Mapping[str, float], protocol: Protocol) -> tuple[dict[str, float], tuple[str, ...]]:
    """Doses by target (TG-263 name or alias) -> by TG-263 name, and the labels that name no target."""
    table = alias_table(protocol)
    targets = {spec.name for spec in protocol.with_role("target")}
    meant = {label: table.get(fold(label)) for label in given_gy}
    doses = {name: given_gy[label] for label, name in meant.items() if name is not None and name in targets}
    return doses, tuple(label for label, name in meant.items() if name not in targets)


def prescribe(
    targets: Iterable[str], sources: Sequence[DoseSource], ask: str = "--prescription {name}={gy}"
) -> tuple[Prescription | None, tuple[Problem, ...]]:
    """The prescription of these contoured targets, or the problems that stand against it.

    ask: how a user gives the dose of a target that no source knows; `{name}` and `{gy}` are filled in.
    """
    names = list(targets)
    knowing = {name: next((source for source in sources if name in source.dose_gy), None) for name in names}
    problems = [_unknown(name, ask) for name, source in knowing.items() if source is None]
    expected = dict.fromkeys(name for source in sources if source.expects for name in source.dose_gy)
    problems += [not_contoured(name) for name in expected if name not in names]
    dose_gy = {name: source.dose_gy[name] for name, source in knowing.items() if source is not None}
    if problems or not dose_gy:
        return None, tuple(problems)
    counting = next(source for source in sources if source.fractions is not None)
    assert counting.fractions is not None
    used = list(dict.fromkeys(source.name for source in knowing.values() if source is not None))
    origin = ", ".join(used) + ("" if counting.name in used else f" (fractions: {counting.name})")
    return Prescription(dose_gy, counting.fractions, origin), ()


def _unknown(name: str, ask: str) -> Problem:
    message = f"The dose prescribed to {name} is unknown: neither a plan nor the protocol gives it."
    return Problem(
        "PRESCRIPTION_UNKNOWN", message, f"Give it in Gy, e.g. {ask.format(name=name, gy=_likely_gy(name))}."
    )


def _likely_gy(name: str) -> str:
    """PTV_7000 -> 70: by TG-263 the number in a target's name is its dose in cGy."""
    digits = name.rpartition("_")[2]
    return f"{int(digits) / 100:g}" if digits.isdigit() else "70"


def not_contoured(name: str) -> Problem:
    """A dose that is given for a target which is not there."""
    return Problem("TARGET_MISSING", f"A dose is given for {name}, which is not contoured.", "Contour it or omit it.")
