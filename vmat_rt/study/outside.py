"""check_learned: what of a case lies outside the range that its model learned, in words; far outside is refused.

A model scales what it has learned to the highest prescription, whatever that is, so a dose comes out for any input.
How far is far is judgement; each threshold says what it rests on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vmat_rt.bundle import Bundle
from vmat_rt.case import Case
from vmat_rt.errors import Problem, warning
from vmat_rt.geometry.rasterize import volume_cc
from vmat_rt.learned import Learned, Range, Treatment, cc, in_words, percent

SAME_FRACTION: Final = 0.02
"""Gy per fraction that differ by less are the same: 69.96 Gy for 70, a 2.0 Gy that a plan rounds."""
FRACTION_FACTOR: Final = 3.0
"""Fractionation by itself moves no dose; planners' habits change with it. From 2.5 Gy to five fractions of 7.25 Gy it
is still arcs round a target of the same size, and the shape of the dose is worth seeing under a warning; beyond,
prescriptions are those of radiosurgery, to isodoses inside hot targets, or a number of fractions is mistyped."""
SHARE_DISTANCE: Final = 0.15
"""A level so far from every learned one gets a dose of another level: 45 Gy beside 70 Gy (0.64, learned 0.8) came out
15 % too high, which no reading of a report puts right."""
MORE_LEVELS: Final = 2
"""One level more than learned is drawn by its neighbours; of two more, at least one has no neighbour of its own."""
VOLUME_MARGIN: Final = 0.1
"""The smallest and largest of a hundred training cases are no walls: of new cases of the same kind one in fifty lies
beyond them, mostly by little."""
VOLUME_FACTOR: Final = 3.0
"""A factor of 3 in volume is one of 1.44 in each direction. A target that is so much larger or smaller than any that
was learned is another disease, or a fault of its contours."""

_CODE: Final = "OUTSIDE_TRAINING"
_READ: Final = "Read the dose as a guess there; train a model on such cases, or choose another with --model."
_ALLOW: Final = "Use a model that learned such cases (--model); for research, --allow-outside predicts nevertheless."
_ALLOWED: Final = "It is far outside and was allowed for research: do not rely on this dose."


def check_learned(case: Case, site: str, bundle: Bundle, allow_outside: bool = False) -> tuple[Problem, ...]:
    """OUTSIDE_TRAINING for each thing about the case that the bundle's model did not learn; nothing where it did.

    site: that of the case's protocol. Errors are what is grossly outside; allow_outside makes warnings of them. A
    bundle that does not know its range gives the warning TRAINING_RANGE_UNKNOWN.
    """
    learned = bundle.manifest.learned
    if learned is None:
        return (_unknown(bundle),)
    found = tuple(outside(learned, treatment_of(case), site))
    if not allow_outside:
        return found
    return tuple(p if p.severity == "warning" else warning(p.code, p.message, _ALLOWED) for p in found)


def treatment_of(case: Case) -> Treatment:
    """Doses and volumes of the case's contoured targets, and its fractions."""
    targets = case.targets()
    volumes = {name: volume_cc(case.structures[name]) for name in targets}
    return Treatment(targets, volumes, case.prescription.fractions)


def outside(learned: Learned, treatment: Treatment, site: str) -> Iterator[Problem]:
    """What of a treatment at a site was not learned, each as a warning, or as an error where it is grossly so."""
    if _plain(site) != _plain(learned.site):
        yield _problem(f"the site is {site[:60]}; the model learned {learned.site[:60]}.", gross=True)
    if not treatment.dose_gy:
        return
    yield from _fractionation(learned, treatment)
    yield from _levels(learned, treatment)
    yield from _volumes(learned, treatment)


def _fractionation(learned: Learned, treatment: Treatment) -> Iterator[Problem]:
    dose_gy, known = treatment.gy_per_fraction, learned.gy_per_fraction
    if known.holds(dose_gy, SAME_FRACTION) and learned.fractions.holds(treatment.fractions):
        return
    nearest = _nearest(known, dose_gy)
    yield _problem(
        f"{dose_gy:.4g} Gy per fraction in {treatment.fractions} fraction{'' if treatment.fractions == 1 else 's'}; "
        f"the model learned {learned.fractionation()}: the dose is that of {nearest:.4g} Gy per fraction, scaled to "
        f"{max(treatment.dose_gy.values()):.4g} Gy.",
        gross=_factor(known, dose_gy) > FRACTION_FACTOR,
    )


def _levels(learned: Learned, treatment: Treatment) -> Iterator[Problem]:
    count, known = treatment.dose_levels, learned.dose_levels
    if not known.holds(count):
        yield _problem(
            f"{in_words(count)} dose level{'' if count == 1 else 's'}; the model learned {in_words(known)}.",
            gross=count >= known.high + MORE_LEVELS,
        )
    lower = [level.share for level in learned.levels[1:]]
    said = " and ".join(percent(s.low) if s.low == s.high else f"{s} times" for s in lower) or "no lower level"
    for name, share in treatment.shares().items():
        if learned.level_at(share) is None:
            distance = min(abs(share - _nearest(level.share, share)) for level in learned.levels)
            yield _problem(
                f"{name[:64]} at {treatment.dose_gy[name]:.4g} Gy is at {percent(share)} of the highest level; the "
                f"model learned {said}. The dose of this target is not one that it learned.",
                gross=distance > SHARE_DISTANCE,
            )


def _volumes(learned: Learned, treatment: Treatment) -> Iterator[Problem]:
    for name, share in treatment.shares().items():
        level, volume = learned.level_at(share), treatment.volumes_cc[name]
        known = learned.volumes_cc if level is None else level.volumes_cc
        if not known.holds(volume, VOLUME_MARGIN):
            yield _problem(
                f"{name[:64]} of {cc(volume)} cc; the model learned {cc(known.low)} to {cc(known.high)} cc.",
                gross=_factor(known, volume) > VOLUME_FACTOR,
            )


def _problem(message: str, gross: bool) -> Problem:
    said = f"Outside what the model learned: {message}"
    return Problem(_CODE, said, _ALLOW) if gross else warning(_CODE, said, _READ)


def _unknown(bundle: Bundle) -> Problem:
    message = (
        f"The bundle {bundle.manifest.name[:64]} does not say what its model learned: nothing was compared with it."
    )
    return warning(
        "TRAINING_RANGE_UNKNOWN",
        message,
        "Compare the case with its training data yourself; a bundle that is trained now says it.",
    )


def _nearest(known: Range, value: float) -> float:
    return min(max(value, known.low), known.high)


def _factor(known: Range, value: float) -> float:
    """By how much the value lies above or below the range; 1 inside."""
    nearest = _nearest(known, value)
    return max(value / nearest, nearest / value) if min(value, nearest) > 0 else float("inf")


def _plain(site: str) -> str:
    return " ".join(site.casefold().replace("_", " ").replace("-", " ").split())
