"""Which contoured target each dose of a plan is meant for, where only one can be meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vmat_rt.case import Structure
from vmat_rt.dicom.plan import Plan
from vmat_rt.dicom.prescription.names import contradicts, names_dose, same_dose
from vmat_rt.dicom.prescription.planned import DoseReference
from vmat_rt.dicom.prescription.problems import placed_elsewhere
from vmat_rt.errors import Problem
from vmat_rt.naming import alias_table, fold
from vmat_rt.protocol import Protocol

_TUMOURS = ("gtv", "ctv", "itv", "hrctv")


@dataclass(frozen=True)
class PlacedDoses:
    """Doses of a plan by target name, what was said of them, and those of its doses that found no place."""

    dose_gy: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    loose: tuple[DoseReference, ...] = ()


def place_doses(
    plan: Plan, protocol: Protocol, structures: Iterable[Structure], targets: Mapping[str, Structure]
) -> PlacedDoses:
    """By ROI number; by description, for targets that no number prescribes; what is left where only one fits."""
    by_number = {target.number: name for name, target in targets.items() if target.number is not None}
    table = alias_table(protocol)
    doses: dict[str, float] = {}
    left: list[DoseReference] = []
    for reference in plan.doses.references:
        if reference.roi_number is not None and reference.roi_number in by_number:
            doses[by_number[reference.roi_number]] = reference.dose_gy
        else:
            left.append(reference)
    still: list[DoseReference] = []
    for reference in left:
        named = table.get(fold(reference.description)) if reference.roi_number is None else None
        if named in targets and named is not None:
            doses.setdefault(named, reference.dose_gy)
        else:
            still.append(reference)
    more, problems = _place_by_exclusion(still, structures, targets, doses)
    loose = tuple(reference for reference in still if not _is_among(reference.dose_gy, more.values()))
    return PlacedDoses({**more, **doses}, problems, loose)


def _place_by_exclusion(
    references: Sequence[DoseReference],
    structures: Iterable[Structure],
    targets: Mapping[str, Structure],
    placed: Mapping[str, float],
) -> tuple[dict[str, float], tuple[Problem, ...]]:
    """References to a site, an organ or a CTV, each to the one target without a dose that it can mean, if any."""
    open_targets = {name: target for name, target in targets.items() if name not in placed}
    found: dict[str, float] = {}
    for dose in _drop_repeats(reference.dose_gy for reference in references):
        by_name = [name for name, target in open_targets.items() if names_dose(target.roi_name, dose)]
        if len(by_name) == 1:
            found[by_name[0]] = dose
    rois: dict[int | None, Structure] = {
        structure.number: structure for structure in structures if structure.number is not None
    }
    if not found and len(targets) == len(open_targets) == 1 and len(_drop_repeats(r.dose_gy for r in references)) == 1:
        (name, target), dose = next(iter(targets.items())), references[0].dose_gy
        if all(_may_mean_a_target(r, rois) for r in references) and not contradicts(target.roi_name, dose):
            found = {name: dose}
    problems = []
    for name, dose in found.items():
        source = next(reference for reference in references if same_dose(reference.dose_gy, dose))
        problems.append(placed_elsewhere(source, rois.get(source.roi_number), targets[name]))
    return found, tuple(problems)


def _may_mean_a_target(reference: DoseReference, rois: Mapping[int | None, Structure]) -> bool:
    """A site, or the tumour or organ that a target was grown from; never another planning target."""
    roi = rois.get(reference.roi_number)
    if reference.roi_number is None:
        return not fold(reference.description).startswith("ptv")
    return roi is not None and (roi.name is not None or fold(roi.roi_name).startswith(_TUMOURS))


def _drop_repeats(doses_gy: Iterable[float]) -> list[float]:
    found: list[float] = []
    for dose in doses_gy:
        if not _is_among(dose, found):
            found.append(dose)
    return found


def _is_among(dose_gy: float, others_gy: Iterable[float]) -> bool:
    return any(same_dose(dose_gy, other) for other in others_gy)
