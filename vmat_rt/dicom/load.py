"""Study -> Case: TG-263 names, targets, body, prescription. Identity stays behind."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vmat_rt.case import Case, Contours, Prescription, Structure, Volume
from vmat_rt.dicom.gantry import seen_supine
from vmat_rt.dicom.placement import placement_problems
from vmat_rt.dicom.prescription import Given, find_prescription
from vmat_rt.dicom.structures import StructureSet
from vmat_rt.dicom.study import Study
from vmat_rt.errors import InputError, Problem, raise_errors, warning
from vmat_rt.geometry.body import body_from_ct
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.naming import NameMap, agreed_names, map_names
from vmat_rt.protocol import Protocol

_CONTOUR_IT = "Contour it, or add the name it has here to the aliases of a site protocol (--protocol my.yaml)."


NOTHING_GIVEN = Given()


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
    problems += _missing({one.structure.name for one in named}, protocol)
    problems += position_problems(study)
    prescribed, prescription_problems = find_prescription([one.structure for one in named], protocol, study.plan, given)
    problems += prescription_problems
    raise_errors(problems)
    assert prescribed is not None  # a case without contoured target was refused by _missing
    body = structures.get(protocol.body_name)
    if body is None:
        body = _body(ct, protocol.body_name, structures.values())
        message = f"{protocol.body_name} is not contoured; the patient outline was found in the CT."
        problems.append(warning("NO_EXTERNAL", message, "Check the outline in the report."))
    return Case(
        key=study.key,
        ct=ct,
        structures=structures,
        body=body,
        prescription=prescribed,
        protocol_name=protocol.name,
        unmapped=tuple(one.structure for one in named if one.structure.name is None),
        reference_dose=study.dose.volume if study.dose is not None else None,
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
    names = agreed_names([roi.name for roi in study.structure_set.rois if roi.drawn], protocols)
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
        raise InputError(problems or [_no_target(sorted(spec.name for spec in protocol.with_role("target")))])
    return found


def structure_problems(study: Study, protocol: Protocol | None) -> tuple[Problem, ...]:
    """What is wrong with the ROIs and their names; errors only for ROIs that the protocol uses."""
    named, problems = _named(study.structure_set, protocol)
    placed = [] if study.ct is None else [p for one in named for p in _placement(one, study.ct.volume)]
    return (*problems, *(problem for one in named for problem in one.problems), *placed)


def choose_protocol(roi_names: Iterable[str], protocols: Iterable[Protocol]) -> Protocol:
    """The protocol whose required targets are all among the contoured ROIs and that maps the most of them.

    Where none has all its targets, the one that maps the most ROIs of those that have one: what it misses is then told
    by `load_case`. Raises InputError: TARGET_MISSING when no protocol finds a target, PROTOCOL_UNCLEAR when several
    fit equally well.
    """
    names, protocols = list(roi_names), list(protocols)
    found = {p.name: {name for name in map_names(names, p).names.values() if name is not None} for p in protocols}
    any_target = [p for p in protocols if found[p.name] & {spec.name for spec in p.with_role("target")}]
    if not any_target:
        looked_for = "; ".join(f"{p.name}: {', '.join(_target_names(p))}" for p in protocols)
        raise InputError(Problem("TARGET_MISSING", f"No target is contoured. Looked for {looked_for}.", _CONTOUR_IT))
    whole = [p for p in any_target if set(_target_names(p)) <= found[p.name]]
    fitting = whole or any_target
    most = max(len(found[p.name]) for p in fitting)
    best = [p for p in fitting if len(found[p.name]) == most]
    if len(best) == 1:
        return best[0]
    candidates = ", ".join(f"{p.name} ({len(found[p.name])} ROIs)" for p in best)
    why = "fit equally well" if whole else "fit equally well, but none has all its targets contoured"
    raise InputError(
        Problem("PROTOCOL_UNCLEAR", f"Which protocol holds is unclear: {candidates} {why}.", "Name it with --protocol.")
    )


def _target_names(protocol: Protocol) -> tuple[str, ...]:
    """The required targets; every target where none is required."""
    targets = protocol.with_role("target")
    required = tuple(spec.name for spec in targets if spec.required)
    return required or tuple(spec.name for spec in targets)


def _named(structure_set: StructureSet, protocol: Protocol | None) -> tuple[list[_Named], list[Problem]]:
    """Structures under the protocol's names. An ROI without contours claims no name, however it is called."""
    rois = structure_set.rois
    drawn = [roi.name for roi in rois if roi.drawn]
    name_map = map_names(drawn, protocol) if protocol is not None else NameMap({}, ())
    named = []
    for roi in rois:
        name = name_map.names.get(roi.name) if roi.drawn else None
        problems = roi.problems if name is not None else tuple(_as_warning(problem) for problem in roi.problems)
        named.append(_Named(Structure(roi.name, name, roi.contours, roi.number), problems))
    return named, list(name_map.problems)


def _placement(one: _Named, ct: Volume) -> tuple[Problem, ...]:
    if not isinstance(one.structure.shape, Contours):
        return ()
    problems = placement_problems(one.structure, ct.grid)
    return problems if one.structure.name is not None else tuple(_as_warning(problem) for problem in problems)


def _missing(drawn: Container[str | None], protocol: Protocol) -> list[Problem]:
    problems = []
    for spec in protocol.structures:
        if spec.required and spec.role != "body" and spec.name not in drawn:
            code = "TARGET_MISSING" if spec.role == "target" else "STRUCTURE_MISSING"
            kind = "target" if spec.role == "target" else "structure"
            looked_for = ", ".join((spec.name, *spec.aliases))
            message = f"The {kind} {spec.name} is not contoured. Looked for ROIs called {looked_for}."
            problems.append(Problem(code, message, _CONTOUR_IT))
    targets = [spec.name for spec in protocol.with_role("target")]
    if not problems and not any(name in drawn for name in targets):
        problems.append(_no_target(targets))
    return problems


def _no_target(looked_for: Iterable[str]) -> Problem:
    message = f"No target is contoured. Looked for {', '.join(looked_for)}."
    return Problem("TARGET_MISSING", message, _CONTOUR_IT)


def _body(ct: Volume, name: str, structures: Iterable[Structure]) -> Structure:
    """The outline found in the CT and what is contoured: a mapped structure is part of the patient, whatever its HU.

    A CT that was blanked outside the treated region, or a bolus of air, must not cut structures off.
    """
    fraction = body_from_ct(ct).array
    for structure in structures:
        np.maximum(fraction, structure_fraction(structure, ct.grid), out=fraction)
    return Structure("found in CT", name, Volume(ct.grid, fraction))


def _angles_deg(study: Study) -> tuple[float, ...]:
    """The plan's gantry angles as a head-first supine patient would see them, so that they hold in LPS."""
    if study.plan is None:
        return ()
    position = study.plan.patient_position or (study.ct.patient_position if study.ct is not None else "")
    return tuple(sorted(seen_supine(angle, position) for angle in study.plan.gantry_angles_deg))


def position_problems(study: Study) -> tuple[Problem, ...]:
    """Whether the plan's patient setup and the CT agree on how the patient lies."""
    planned = "" if study.plan is None else study.plan.patient_position
    imaged = "" if study.ct is None else study.ct.patient_position
    if not planned or not imaged or planned == imaged:
        return ()
    message = (
        f"The plan's patient setup says {planned[:16]}, the CT says {imaged[:16]}. "
        f"The plan's gantry angles are read as those of a patient in {planned[:16]}."
    )
    return (warning("PLAN_POSITION", message, "Check which is right, and export the plan again or leave it out."),)


def _as_warning(problem: Problem) -> Problem:
    return replace(problem, severity="warning")


def _errors(problems: Sequence[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity == "error"]
