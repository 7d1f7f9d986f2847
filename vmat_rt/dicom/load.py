"""Study -> Case: TG-263 names, targets, body, prescription. Identity stays behind."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from vmat_rt.assembly.placement import placement_problems
from vmat_rt.assembly.required import found_body, missing_structures, no_target
from vmat_rt.assembly.target_slices import missing_target_slices
from vmat_rt.case import Case, Contours, Prescription, Structure, Volume
from vmat_rt.dicom.gantry import seen_supine
from vmat_rt.dicom.prescription.agreement import agreement_problems
from vmat_rt.dicom.prescription.find import Given, find_prescription
from vmat_rt.dicom.structures import StructureSet
from vmat_rt.dicom.study import Study
from vmat_rt.errors import InputError, Problem, listed_within, raise_errors, shortened, warning
from vmat_rt.naming import NameMap, alias_table, find_agreed_names, fold, map_names
from vmat_rt.protocol import Protocol

NOTHING_GIVEN = Given()
_ROOM = 300


@dataclass(frozen=True)
class _Named:
    """A structure with what was found wrong with it; errors only where the protocol uses it."""

    structure: Structure
    problems: tuple[Problem, ...]


def load_case(study: Study, protocol: Protocol, given: Given = NOTHING_GIVEN) -> Case:
    """The study in the protocol's terms, without identity.

    given: doses and fractions from the user, before the plan's and the protocol's own. Raises InputError with every
    problem of the case, ConfigError when the user's doses name what the protocol does not have as a target.
    """
    if study.ct is None:
        raise InputError(_errors(study.problems) or [Problem("NO_CT", "The study has no CT.", "Add the CT series.")])
    ct = study.ct.volume
    named, name_problems = _named(study.structure_set, protocol)
    problems = [*study.problems, *name_problems]
    problems += [problem for one in named for problem in (*one.problems, *_placement(one, ct))]
    structures = {s.name: s for s in (one.structure for one in named) if s.name is not None and s.shape is not None}
    drawn = [roi.name for roi in study.structure_set.rois if roi.drawn]
    problems += missing_structures({one.structure.name for one in named}, protocol, drawn)
    problems += agreement_problems(study.plan, study.ct)
    prescribed, prescription_problems = find_prescription([one.structure for one in named], protocol, study.plan, given)
    problems += prescription_problems
    problems = [_as_warning(problem) if problem.code in given.allowed else problem for problem in problems]
    raise_errors(problems)
    assert prescribed is not None  # a case without contoured target was refused by missing_structures
    body = structures.get(protocol.body_name)
    if body is None:
        body, told = found_body(ct, protocol.body_name, structures.values())
        problems.append(told)
    return Case(
        key=study.key,
        ct=ct,
        structures=structures,
        body=body,
        prescription=prescribed,
        protocol_name=protocol.name,
        unmapped=tuple(one.structure for one in named if one.structure.name is None),
        reference_dose=study.dose.volume if study.dose is not None else None,
        reference_simulated=study.dose is not None and study.dose.simulated,
        gantry_angles_deg=_angles_deg(study),
        problems=tuple(problems),
    )


def load_structures(study: Study, protocol: Protocol | None) -> tuple[Structure, ...]:
    """Every ROI in file order, mapped where a protocol is given; needs neither CT nor target and refuses nothing.

    See `structure_problems` for what is wrong with them.
    """
    return tuple(one.structure for one in _named(study.structure_set, protocol)[0])


def commonly_named(study: Study, protocols: Iterable[Protocol]) -> tuple[Structure, ...]:
    """Every ROI in file order, under the names on which all of the protocols that know it agree."""
    names = find_agreed_names([roi.name for roi in study.structure_set.rois if roi.drawn], protocols)
    return tuple(
        replace(structure, name=names.get(structure.roi_name) if roi.drawn else None)
        for structure, roi in zip(load_structures(study, None), study.structure_set.rois, strict=True)
    )


def prescription_for(
    study: Study, protocol: Protocol, structures: Iterable[Structure], given: Given = NOTHING_GIVEN
) -> Prescription:
    """The prescription of those of `structures` that are contoured targets; as `load_case` finds it.

    Raises InputError when the dose of one is unknown or none is a target, ConfigError as `load_case`.
    """
    found, problems = find_prescription(structures, protocol, study.plan, given)
    if found is None:
        contoured = [roi.name for roi in study.structure_set.rois if roi.drawn]
        names = sorted(spec.name for spec in protocol.with_role("target"))
        raise InputError(problems or [no_target(names, protocol, contoured)])
    return found


def structure_problems(study: Study, protocol: Protocol | None, allowed: Collection[str] = ()) -> tuple[Problem, ...]:
    """What is wrong with the ROIs and their names; errors only for ROIs that the protocol uses."""
    named, problems = _named(study.structure_set, protocol)
    placed = [] if study.ct is None else [p for one in named for p in _placement(one, study.ct.volume)]
    found = (*problems, *(problem for one in named for problem in one.problems), *placed)
    return tuple(_as_warning(problem) if problem.code in allowed else problem for problem in found)


def _named(structure_set: StructureSet, protocol: Protocol | None) -> tuple[list[_Named], list[Problem]]:
    """Structures under the protocol's names. An ROI without contours claims no name, however it is called."""
    rois = structure_set.rois
    drawn = [roi.name for roi in rois if roi.drawn]
    name_map = map_names(drawn, protocol) if protocol is not None else NameMap({}, ())
    targets = {spec.name for spec in protocol.with_role("target")} if protocol is not None else set()
    named = []
    for roi in rois:
        name = name_map.names.get(roi.name) if roi.drawn else None
        problems = roi.problems if name is not None else tuple(_as_warning(problem) for problem in roi.problems)
        structure = Structure(roi.name, name, roi.contours, roi.number)
        missing = missing_target_slices(structure) if name in targets else ()
        named.append(_Named(structure, (*problems, *missing)))
    told = [] if protocol is None else _undrawn(structure_set, protocol, set(name_map.names.values()))
    return named, [*name_map.problems, *told]


def _undrawn(structure_set: StructureSet, protocol: Protocol, drawn: Collection[str | None]) -> list[Problem]:
    """A warning for ROIs that the protocol would use, had they contours, where no other ROI stands for the same."""
    table = alias_table(protocol)
    meant = {roi.name: table.get(fold(roi.name)) for roi in structure_set.rois if not roi.drawn and not roi.problems}
    empty = [f"{shortened(roi_name)!r} ({name})" for roi_name, name in meant.items() if name and name not in drawn]
    if not empty:
        return []
    message = f"Listed without any contour, and left out: {listed_within(empty, _ROOM)}."
    return [warning("ROI_NOT_DRAWN", message, "If one was drawn, export the structure set again, with its contours.")]


def _placement(one: _Named, ct: Volume) -> tuple[Problem, ...]:
    if not isinstance(one.structure.shape, Contours):
        return ()
    problems = placement_problems(one.structure, ct.grid)
    return problems if one.structure.name is not None else tuple(_as_warning(problem) for problem in problems)


def _angles_deg(study: Study) -> tuple[float, ...]:
    """The plan's gantry angles as a head-first supine patient would see them, so that they hold in LPS."""
    if study.plan is None:
        return ()
    position = study.plan.patient_position or (study.ct.patient_position if study.ct is not None else "")
    return tuple(sorted(seen_supine(angle, position) for angle in study.plan.gantry_angles_deg))


def _as_warning(problem: Problem) -> Problem:
    return replace(problem, severity="warning")


def _errors(problems: Sequence[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity == "error"]
