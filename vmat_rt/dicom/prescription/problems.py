"""What is said of a prescription that is assumed, contradicted or unknown. Every text is bounded."""

from __future__ import annotations

from collections.abc import Mapping

from vmat_rt.case import Structure
from vmat_rt.dicom.plan import Plan
from vmat_rt.dicom.prescription.names import named_doses_gy
from vmat_rt.dicom.prescription.planned import DoseReference
from vmat_rt.errors import Problem, shortened, warning
from vmat_rt.protocol import Protocol

_BY_NAME = ", or name the protocol whose doses hold (--protocol NAME; protocol: in the watcher's configuration)."


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
