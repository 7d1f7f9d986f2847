"""The doses in an RTPLAN: which are prescribed to what, which phases add up, and the plan's own words for a person.

PS3.3 C.8.8.10 (RT Prescription) and C.8.8.13 (RT Fraction Scheme). Only what can be read in one way is read: references
of one target that could be phases, alternatives or running totals are quoted and left to the user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from vmat_rt.dicom.attributes import Attributes
from vmat_rt.dicom.prescription.names import same_dose
from vmat_rt.errors import Problem, listed, printable, shortened, warning

HIGHEST_DOSE_GY = 200.0
HIGHEST_FRACTIONS = 200
_SAME_FRACTION_DOSE = 0.35
"""Phases of one course differ by less than this part in their dose per fraction (1.8 and 2.4 Gy still do)."""
_OTHER_DOSES = ("DeliveryMaximumDose", "TargetMaximumDose", "TargetMinimumDose", "DeliveryWarningDose")
_LONGEST_QUOTED = 120
_MOST_QUOTED = 4


@dataclass(frozen=True)
class DoseReference:
    """One target dose of a plan: total Gy, and the ROINumber or the description that it is meant for."""

    dose_gy: float
    roi_number: int | None
    description: str
    structure_type: str
    number: int | None = None

    @property
    def addressee(self) -> tuple[int | None, str]:
        """What the dose is prescribed to: the same for phases of one target."""
        return (self.roi_number, "" if self.roi_number is not None else self.description)

    def quoted(self) -> str:
        """For a sentence: 60 Gy to "Prostata" (SITE)."""
        to = f' to "{_clean(self.description)}"' if self.description else ""
        roi = f", ROI number {self.roi_number}" if self.roi_number is not None else ""
        return f"{self.dose_gy:g} Gy{to} ({self.structure_type or 'no type'}{roi})"


@dataclass(frozen=True)
class PlannedDoses:
    """What a plan prescribes.

    references: one for each addressee, phases added up. fractions: of the whole course, None where the plan does not
    say it in one way. words: the plan's own statements about dose and fractions, for messages and the report.
    beams_gy: what its beams give over all fractions at points of their own, None where it does not say it.
    """

    references: tuple[DoseReference, ...] = ()
    fractions: int | None = None
    words: str = ""
    problems: tuple[Problem, ...] = ()
    beams_gy: float | None = None


@dataclass(frozen=True)
class _Group:
    """One fraction group. doses_gy: target doses that it gives itself, by reference number."""

    fractions: int
    numbers: frozenset[int]
    doses_gy: Mapping[int, float]
    beams_gy: float | None


def read_planned_doses(plan: Attributes) -> PlannedDoses:
    """The target doses and fractions of an RTPLAN. Raises InputError only for elements that cannot be read."""
    groups = tuple(group for group in map(_read_group, plan.items("FractionGroupSequence")) if group.fractions > 0)
    stated, problems = _read_references(plan, groups)
    by_addressee: dict[tuple[int | None, str], list[DoseReference]] = {}
    for reference in stated:
        by_addressee.setdefault(reference.addressee, []).append(reference)
    whole = [several for several in by_addressee.values() if _are_phases(several, groups)]
    summed = {key: _add_up(several, groups, whole) for key, several in by_addressee.items()}
    unclear = [by_addressee[key] for key, total in summed.items() if total is None]
    problems += [_warn_of_unclear_doses(several, groups) for several in unclear if len(several) > 1]
    problems += [_warn_of_phases(several) for several in whole]
    fractions = _count_fractions(stated, groups, bool(whole))
    if fractions is None and len(groups) > 1:
        problems.append(_warn_of_unclear_groups(groups))
    return PlannedDoses(
        references=tuple(total for total in summed.values() if total is not None),
        fractions=fractions,
        words=_quote(plan, stated, groups),
        problems=tuple(problems),
        beams_gy=_add_beams(groups),
    )


def _add_beams(groups: Sequence[_Group]) -> float | None:
    each = [group.beams_gy * group.fractions for group in groups if group.beams_gy]
    return sum(each) if each and len(each) == len(groups) else None


def _read_group(item: Attributes) -> _Group:
    references = item.items("ReferencedDoseReferenceSequence")
    numbers = [
        (number, one) for one in references if (number := one.whole("ReferencedDoseReferenceNumber")) is not None
    ]
    beams = [dose for beam in item.items("ReferencedBeamSequence") if (dose := beam.number("BeamDose")) is not None]
    fractions = item.whole("NumberOfFractionsPlanned") or 0
    return _Group(
        fractions=fractions if 0 < fractions <= HIGHEST_FRACTIONS else 0,
        numbers=frozenset(number for number, _ in numbers),
        doses_gy={n: dose for n, one in numbers if (dose := one.number("TargetPrescriptionDose")) is not None},
        beams_gy=sum(beams) if beams else None,
    )


def _read_references(plan: Attributes, groups: Sequence[_Group]) -> tuple[list[DoseReference], list[Problem]]:
    """Target references with a possible dose, as they stand; a dose may stand in the fraction groups instead."""
    found: list[DoseReference] = []
    problems: list[Problem] = []
    for item in plan.items("DoseReferenceSequence"):
        if item.text("DoseReferenceType").upper() not in ("TARGET", ""):
            continue
        number, dose_gy = item.whole("DoseReferenceNumber"), item.number("TargetPrescriptionDose")
        if dose_gy is None and number is not None:
            parts = [group.doses_gy[number] for group in groups if number in group.doses_gy]
            dose_gy = sum(parts) if parts else None
        if dose_gy is None:
            continue
        if not 0 < dose_gy <= HIGHEST_DOSE_GY:
            message = f"The plan prescribes {dose_gy:g} Gy to a target, which cannot be; it is not used."
            remedy = "Give the dose with --prescription NAME=GY and --fractions N."
            problems.append(warning("PLAN_PRESCRIPTION_INVALID", message, remedy))
            continue
        description, kind = item.text("DoseReferenceDescription"), item.text("DoseReferenceStructureType").upper()
        found.append(DoseReference(dose_gy, item.whole("ReferencedROINumber"), description, kind, number))
    return found, problems


def _add_up(
    several: Sequence[DoseReference], groups: Sequence[_Group], whole: Sequence[Sequence[DoseReference]]
) -> DoseReference | None:
    """One dose for one addressee, None where its references can be read in more than one way.

    whole: the references of those addressees that have one in every fraction group, each a phase.
    """
    doses = [reference.dose_gy for reference in several]
    if len(groups) <= 1:
        return several[0] if same_dose(min(doses), max(doses)) else None
    if several in whole:
        return replace(several[0], dose_gy=sum(doses), number=None)
    if len(several) > 1:
        return None
    held = [several[0].number in group.numbers for group in groups]
    if all(held):
        return several[0]
    # Alone in one phase, beside a target that has a dose in each: the elective volume of that phase.
    in_one = held.count(True) == 1 if any(held) else any(same_dose(doses[0], one.dose_gy) for w in whole for one in w)
    return several[0] if whole and in_one else None


def _are_phases(several: Sequence[DoseReference], groups: Sequence[_Group]) -> bool:
    """Whether there is one reference for each of several fraction groups, that group's share and nothing but that.

    By the groups' own references where they name them; else by dose per fraction, which must be alike for shares and
    unlike for running totals.
    """
    if len(several) != len(groups) or len(groups) < 2:
        return False
    named = [[group for group in groups if reference.number in group.numbers] for reference in several]
    if all(len(found) == 1 for found in named):
        return len({id(found[0]) for found in named}) == len(several)
    if any(named):
        return False
    doses = [reference.dose_gy for reference in several]
    counts = [group.fractions for group in groups]
    steps = [doses[0], *(late - early for early, late in pairwise(doses))]
    return _are_alike(doses, counts) and not _are_alike(steps, counts)


def _are_alike(doses_gy: Sequence[float], fractions: Sequence[int]) -> bool:
    per_fraction = [dose / count for dose, count in zip(doses_gy, fractions, strict=True)]
    return min(per_fraction) > 0 and max(per_fraction) <= min(per_fraction) * (1 + _SAME_FRACTION_DOSE)


def _count_fractions(stated: Sequence[DoseReference], groups: Sequence[_Group], phases: bool) -> int | None:
    """The one group's; the sum over groups that are phases, or that all name one reference as theirs."""
    if len(groups) == 1:
        return groups[0].fractions
    shared = any(groups and all(reference.number in group.numbers for group in groups) for reference in stated)
    return sum(group.fractions for group in groups) if phases or shared else None


def _warn_of_phases(several: Sequence[DoseReference]) -> Problem:
    total = sum(reference.dose_gy for reference in several)
    parts = " and ".join(f"{reference.dose_gy:g}" for reference in several)
    message = f"The plan treats in phases: {parts} Gy to one target are taken as {total:g} Gy, one after the other."
    return warning("PLAN_PHASES", message, "Check the dose and the number of fractions in the report.")


def _warn_of_unclear_doses(several: Sequence[DoseReference], groups: Sequence[_Group]) -> Problem:
    counts = f"{len(groups)} fraction group{'s' if len(groups) != 1 else ''}"
    message = (
        f"The plan has several doses for one target ({_quoted([r.quoted() for r in several])}) and {counts}: "
        "phases, alternatives or running totals, it does not say which. None is used."
    )
    return warning("PLAN_PRESCRIPTION_UNCLEAR", message, "Give the dose with --prescription NAME=GY and --fractions N.")


def _warn_of_unclear_groups(groups: Sequence[_Group]) -> Problem:
    planned = ", ".join(str(group.fractions) for group in groups[:_MOST_QUOTED])
    message = f"The plan has {len(groups)} fraction groups ({planned} fractions); none used."
    return warning("PLAN_FRACTION_GROUPS", message, "Give the number of fractions with --fractions N.")


def _quote(plan: Attributes, stated: Sequence[DoseReference], groups: Sequence[_Group]) -> str:
    """What the plan says of doses and fractions, in one bounded sentence part."""
    counts = [
        f"{g.fractions} fractions" + ("" if g.beams_gy is None else f", its beams {g.beams_gy:g} Gy each time")
        for g in groups
    ]
    parts = [reference.quoted() for reference in stated]
    for item in plan.items("DoseReferenceSequence") if not stated else ():
        given = [f"{word} {value:g} Gy" for word in _OTHER_DOSES if (value := item.number(word)) is not None]
        description = _clean(item.text("DoseReferenceDescription"))
        parts += [f'{", ".join(given)} for "{description}"' if description else ", ".join(given)] if given else []
    said = [_quoted(part) for part in (parts, counts) if part]
    return "; ".join(said) if said else "neither a target dose nor a number of fractions"


def _quoted(parts: Sequence[str]) -> str:
    return listed(parts, _MOST_QUOTED, _LONGEST_QUOTED, between="; ")


def _clean(description: str) -> str:
    return shortened(" ".join(printable(description).split()))
