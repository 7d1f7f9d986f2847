"""The gate: whether a case makes sense before it is predicted, reviewed or learnt from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from vmat_rt.case import Case
from vmat_rt.errors import Problem, listed_within
from vmat_rt.gate.codes import ANATOMY
from vmat_rt.gate.contents import contents_problems, metal_problems, placement_problems
from vmat_rt.gate.dose import dose_problems
from vmat_rt.gate.measures import measure
from vmat_rt.gate.relations import relation_problems
from vmat_rt.gate.site import site_problems
from vmat_rt.gate.slices import slice_problems
from vmat_rt.gate.volumes import volume_problems

_DOUBTS = {
    "ANATOMY_ORDER",
    "SIDES_SWAPPED",
    "STRUCTURE_IN_AIR",
    "CONTENTS_UNUSUAL",
    "VOLUME_UNUSUAL",
    "BODY_NOT_PATIENT",
}
_TOO_MANY = 5
"""So many doubts, of more than one kind, are no longer a patient's own peculiarity."""
_ROOM, _LONGEST = 400, 90


def check_entry(case: Case, site: str, allowed: Collection[str] = (), outline: bool = True) -> tuple[Problem, ...]:
    """Everything that stands against a case that shall teach a model, its dose included, errors first. As examine."""
    found = [*dose_problems(case), *examine(case, site, allowed, outline)]
    return tuple(sorted(found, key=lambda problem: problem.severity != "error"))


def examine(case: Case, site: str, allowed: Collection[str] = (), outline: bool = True) -> tuple[Problem, ...]:
    """What is wrong with the anatomy of a case, errors first.

    site: of the case's protocol. allowed: codes of errors that the user takes as warnings. outline: whether the body of
    the case is meant to be the patient's outline (that of OpenKBP is where dose may be).
    """
    measures = measure(case)
    targets = tuple(case.targets())
    found = [
        *site_problems(measures, site),
        *placement_problems(measures, targets, outline),
        *relation_problems(case.structures, site, case.body, targets),
        *slice_problems(case.ct),
        *contents_problems(measures),
        *volume_problems(case.structures, site),
        *metal_problems(measures, site),
    ]
    doubts = [problem for problem in found if problem.code in _DOUBTS]
    if len(doubts) >= _TOO_MANY and len({problem.code for problem in doubts}) > 1:
        told = listed_within([problem.message.rstrip(".") for problem in doubts], _ROOM, _LONGEST)
        message = f"{len(doubts)} things do not fit, so this is not the anatomy of these names: {told}."
        remedy = "Check image, structure set and names; if all is right, go on with --allow ANATOMY_IMPLAUSIBLE."
        found.append(Problem("ANATOMY_IMPLAUSIBLE", message, remedy))
    graded = [replace(p, severity="warning") if p.code in allowed else p for p in found]
    return tuple(sorted(graded, key=lambda problem: (problem.severity != "error", ANATOMY.index(problem.code))))
