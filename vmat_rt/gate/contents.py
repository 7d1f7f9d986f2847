"""Whether the CT shows, where a structure was drawn, what its name says: bone, soft tissue, patient rather than air."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from vmat_rt.errors import Problem, warning
from vmat_rt.gate.measures import Contents, Measures


class Usual(NamedTuple):
    """Range of the median HU, and the largest share of a structure that may be air."""

    low_hu: float
    high_hu: float
    air: float


_SOFT: Final = Usual(-80.0, 250.0, 0.2)
_FLUID: Final = Usual(-60.0, 700.0, 0.35)  # contrast and a catheter's air
_BONE: Final = Usual(80.0, 3100.0, 0.2)
_GLAND: Final = Usual(-130.0, 250.0, 0.2)

USUAL: Final[Mapping[str, Usual]] = {
    "Bladder": _FLUID,
    "Prostate": _SOFT,
    "SeminalVes": _SOFT,
    "PenileBulb": _GLAND,
    "Femur_Head_L": _BONE,
    "Femur_Head_R": _BONE,
    "Brainstem": _SOFT,
    "SpinalCord": _SOFT,
    "Parotid_L": _GLAND,
    "Parotid_R": _GLAND,
    "Bone_Mandible": Usual(150.0, 3100.0, 0.2),
}
"""TG-263 name -> what it shows in CT. Rectum, bowel, oesophagus and larynx hold gas and are not asked."""

TARGET_IN_BODY: Final = (0.9, 0.5)
"""Share of a target within the body: below the first doubtful, below the second refused."""
BODY_IN_AIR: Final = (0.05, 0.3)
"""Share of the outline in which the CT shows no patient: above the first doubtful, above the second refused."""
METAL_CC: Final[Mapping[str, float]] = {"prostate": 1.0, "head and neck": 20.0}
"""Site -> volume that is unusual. Fiducials stay below 1 cc, a hip prosthesis has 30 cc and more; fillings and their
streaks reach 14 cc in the OpenKBP patients, of whom more than half have some."""
_METAL_NEAR_MM: Final = 100.0
_ELSEWHERE = "Check whether the structures lie on another image, are shifted, or have each other's names."


def contents_problems(measures: Measures) -> Iterator[Problem]:
    """Warnings for structures that do not hold what their names say."""
    for name, contents in measures.contents.items():
        usual = USUAL.get(name)
        if usual is None:
            continue
        if contents.in_air > usual.air:
            message = f"{100 * contents.in_air:.0f} % of {name} lies in air."
            yield warning("STRUCTURE_IN_AIR", message, _ELSEWHERE)
        elif not usual.low_hu <= contents.hu[1] <= usual.high_hu:
            message = (
                f"{name} has a median of {contents.hu[1]:.0f} HU in the CT; "
                f"{usual.low_hu:.0f} to {usual.high_hu:.0f} HU are usual."
            )
            yield warning("CONTENTS_UNUSUAL", message, _ELSEWHERE)


def placement_problems(measures: Measures, targets: tuple[str, ...], outline: bool) -> Iterator[Problem]:
    """Targets outside the body, and an outline that is not the patient's: doubtful or, if gross, errors."""
    doubtful, gross = BODY_IN_AIR
    if outline and measures.body_in_air > doubtful:
        message = f"{100 * measures.body_in_air:.0f} % of the contoured outline is air around the patient in the CT."
        yield _grade("BODY_NOT_PATIENT", message, measures.body_in_air > gross)
    for name in targets:
        contents = measures.contents.get(name)
        if contents is not None:
            yield from _check_target(name, contents)


def _check_target(name: str, contents: Contents) -> Iterator[Problem]:
    doubtful, gross = TARGET_IN_BODY
    if contents.in_patient < doubtful:
        message = f"{100 * (1 - contents.in_patient):.0f} % of the target {name} lies outside the patient, in air."
        yield _grade("TARGET_OUTSIDE_BODY", message, contents.in_patient < gross)


def metal_problems(measures: Measures, site: str) -> Iterator[Problem]:
    """Metal near the targets: beams avoid it, and the CT is wrong around it."""
    if measures.metal_cc >= METAL_CC.get(site, 1.0) and measures.metal_mm <= _METAL_NEAR_MM:
        message = (
            f"{measures.metal_cc:.1f} cc of metal (above 2000 HU) lie {measures.metal_mm:.0f} mm from the targets."
        )
        remedy = (
            "HU round metal are wrong, and beams avoid it: expect a less certain prediction, and look at their way."
        )
        yield warning("METAL", message, remedy)


def _grade(code: str, message: str, gross: bool) -> Problem:
    if gross:
        return Problem(code, message, f"{_ELSEWHERE} If it is right, go on with --allow {code}.")
    return warning(code, message, _ELSEWHERE)
