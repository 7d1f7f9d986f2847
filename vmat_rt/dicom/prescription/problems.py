"""What is said of a prescription that is assumed, contradicted or unknown. Every text is bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from vmat_rt.case import Structure
from vmat_rt.dicom.plan import Plan
from vmat_rt.dicom.prescription.names import contradicts, named_doses_gy, same_dose
from vmat_rt.dicom.prescription.planned import DoseReference, PlannedDoses
from vmat_rt.errors import Problem, listed, shortened, warning
from vmat_rt.naming import fold
from vmat_rt.protocol import Protocol

_BY_NAME = ", or name the protocol whose doses hold (--protocol NAME; protocol: in the watcher's configuration)."

_FRACTION_GY: Final = (1.0, 12.0)
"""Twice a day it is still 1.1 to 1.2 Gy; above 12 Gy prescriptions are those of radiosurgery."""
_BEAM_SHARE: Final = (0.75, 1.25)
"""Beam doses hold at points of their own, which lie some per cent off the prescription."""


def not_placed(loose: Iterable[DoseReference], dose_gy: Mapping[str, float]) -> Iterator[Problem]:
    """Doses of the plan for none of the targets that are prescribed, where they are not the dose of one as well."""
    others = [one.quoted() for one in loose if not any(same_dose(one.dose_gy, dose) for dose in dose_gy.values())]
    if others:
        message = f"The plan also prescribes {listed(others, 3, 110, between='; ')}, to nothing that is a target here;"
        remedy = "Contour that target or map its name (docs/names.md) if its dose is meant to be predicted too."
        yield warning("PLAN_DOSE_LEFT", f"{message} it is not predicted.", remedy)


def other_targets(structures: Iterable[Structure], dose_gy: Mapping[str, float]) -> Iterator[Problem]:
    """A warning for contoured PTVs that no name maps and whose names say a dose that no target is prescribed."""
    others = [
        repr(shortened(one.roi_name))
        for one in structures
        if one.name is None and one.shape is not None and fold(one.roi_name).startswith("ptv")
        if named_doses_gy(one.roi_name) and all(contradicts(one.roi_name, dose) for dose in dose_gy.values())
    ]
    if others:
        message = f"{listed(others, 4, 66)} looks like a target of a dose of its own; none is predicted for it."
        remedy = "If it is one, map its name in a protocol file of your own (docs/names.md) and prescribe its dose."
        yield warning("TARGET_NOT_MAPPED", message, remedy)


def check_plan_words(doses: PlannedDoses, dose_gy: Mapping[str, float]) -> Iterator[Problem]:
    """Warnings where a plan's description, or what its beams give, is another dose than it prescribes."""
    check = "Check the prescription; the dose prescribed is used. --prescription NAME=GY and --fractions N set another."
    for one in doses.references:
        if one.number is not None and contradicts(one.description, one.dose_gy):
            named = " or ".join(f"{dose:g}" for dose in named_doses_gy(one.description)[:3])
            message = f"The plan prescribes {one.quoted()}, a description that says {named} Gy."
            yield warning("PRESCRIPTION_NAME", message, check)
    highest = max(dose_gy.values())
    if doses.beams_gy is not None and not _BEAM_SHARE[0] <= doses.beams_gy / highest <= _BEAM_SHARE[1]:
        message = f"The plan's beams give {doses.beams_gy:.4g} Gy over all fractions; it prescribes {highest:g} Gy."
        yield warning("PLAN_BEAM_DOSE", message, check)


def check_fractionation(dose_gy: float, fractions: int) -> Iterator[Problem]:
    """A warning where the highest dose and its fractions can hardly belong together."""
    each = dose_gy / fractions
    if not _FRACTION_GY[0] <= each <= _FRACTION_GY[1]:
        message = f"{dose_gy:g} Gy in {fractions} fractions are {each:.3g} Gy a fraction, which is not usual."
        remedy = (
            "Check that dose and fractions are those of the whole course; --prescription and --fractions set others."
        )
        yield warning("PRESCRIPTION_FRACTION", message, remedy)


def assumed(doses_gy: Mapping[str, float], protocol: Protocol, why: str) -> Problem:
    doses = ", ".join(f"{name} {dose:g} Gy" for name, dose in doses_gy.items())
    message = f"Assumed from the protocol {protocol.name}, since {why}: {doses} in {protocol.fractions} fractions."
    return warning("PRESCRIPTION_ASSUMED", message, f"If that is wrong, give {_spelled(doses_gy)} --fractions N.")


def contradicting(target: Structure, dose_gy: float) -> Problem:
    named = " or ".join(f"{dose:g}" for dose in named_doses_gy(target.roi_name))
    message = f"{shortened(target.roi_name)} is prescribed {dose_gy:g} Gy, while its name says {named} Gy."
    return warning("PRESCRIPTION_NAME", message, "Check the prescription; the number given is used, not the name's.")


def dose_unknown(
    target: Structure, targets: Mapping[str, Structure], plan: Plan | None, why_not_default: str
) -> Problem:
    why = why_not_default if plan is None else f"the plan does not give one for it. The plan says: {plan.doses.words}"
    message = f"The dose prescribed to {target.name} is unknown: {why}."
    remedy = f"Give doses and fractions, e.g. {_spelled(_examples(targets))} --fractions {_example_fractions(plan)}"
    return Problem("PRESCRIPTION_UNKNOWN", message, f"{remedy}{_BY_NAME if plan is None else '.'}")


def placed_elsewhere(source: DoseReference, roi: Structure | None, target: Structure) -> Problem:
    """The plan's dose for a site, an organ or a CTV is used as the target's."""
    words = source.quoted() + (f', which is "{shortened(roi.roi_name)}"' if roi is not None else "")
    message = f"The plan prescribes {words}; this is taken as the dose of {shortened(target.roi_name)}."
    remedy = f"If that is wrong, give it with --prescription {target.name}=GY."
    return warning("PLAN_PRESCRIPTION_PLACED", message, remedy)


def fractions_unknown(dose_gy: Mapping[str, float], plan: Plan | None) -> Problem:
    doses = ", ".join(f"{name} {dose:g} Gy" for name, dose in dose_gy.items())
    if plan is not None:
        why = f"the plan does not give one for it. The plan says: {plan.doses.words}"
    else:
        why = "the doses given are not the protocol's, so its number of fractions does not go with them"
    message = f"The number of fractions for {doses} is unknown: {why}."
    return Problem(
        "PRESCRIPTION_UNKNOWN", message, f"Give it with --fractions N, e.g. --fractions {_example_fractions(plan)}."
    )


def _example_fractions(plan: Plan | None) -> str:
    return str(plan.fractions) if plan is not None and plan.fractions is not None else "28"


def _examples(targets: Mapping[str, Structure]) -> dict[str, float]:
    """A dose for each target: by TG-263 the number in a name is its dose."""
    return {
        name: next(iter((*named_doses_gy(target.roi_name), *named_doses_gy(name))), 70.0)
        for name, target in targets.items()
    }


def _spelled(doses_gy: Mapping[str, float]) -> str:
    return " ".join(f"--prescription {name}={dose:g}" for name, dose in doses_gy.items())
