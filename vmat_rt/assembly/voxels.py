"""A patient as voxels (CT, masks, dose) -> Case, by the same rules as DICOM: names, targets, prescription, body."""

from __future__ import annotations

import difflib
import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from vmat_rt.assembly.placement import placement_problems
from vmat_rt.assembly.prescription import DoseSource, prescribe, protocol_defaults, targets_meant
from vmat_rt.assembly.required import choose_protocol, found_body, missing_structures
from vmat_rt.assembly.values import ct_problems, dose_problems, grid_problems
from vmat_rt.case import Case, Prescription, Structure, Volume
from vmat_rt.errors import InputError, Problem, raise_errors
from vmat_rt.naming import alias_table, fold, map_names
from vmat_rt.protocol import Protocol

_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_MOST_FRACTIONS: Final = 200
_MOST_GY: Final = 200.0


@dataclass(frozen=True)
class GivenDoses:
    """What somebody says of the prescription: total Gy by target (TG-263 name or alias), fractions.

    source names who says it, ask how a dose that is missing is given: `{name}` and `{gy}` are filled in.
    """

    dose_gy: Mapping[str, float]
    fractions: int | None
    source: str
    ask: str = "--prescription {name}={gy}"


@dataclass(frozen=True)
class Voxels:
    """A patient as voxels, all in one frame of reference.

    ct: HU, or None where it cannot be used. masks: area fractions by the name each was given, None where one cannot be
    used; their grids may be their own. dose: Gy. given: what is said of the prescription, the first goes before the
    others. gantry_angles_deg: of the plan, as a head-first supine patient has them. problems: what was found so far.
    """

    ct: Volume | None
    masks: Mapping[str, Volume | None]
    dose: Volume | None = None
    given: Sequence[GivenDoses] = ()
    gantry_angles_deg: tuple[float, ...] = ()
    problems: tuple[Problem, ...] = field(default=())


def case_of_voxels(voxels: Voxels, protocols: Sequence[Protocol], key: str = "") -> Case:
    """The patient in the terms of that one of `protocols` that fits the names.

    key: the case's name; by default one that follows from the content. Raises InputError with every problem found.
    """
    problems = [*voxels.problems, *_key_problems(key), *_ct_problems(voxels.ct)]
    protocol, structures, prescribed = None, dict[str, Structure](), None
    try:
        protocol = choose_protocol(voxels.masks, protocols)
    except InputError as refusal:
        problems += refusal.problems
    problems += _names_unknown(voxels, protocols if protocol is None else [protocol])
    if protocol is not None:
        names = map_names(voxels.masks, protocol)
        drawn = {name for name in names.names.values() if name is not None}
        structures = dict(_structures(voxels, names.names))
        prescribed, more = _prescription(voxels.given, [n for n in _targets(protocol) if n in drawn], protocol)
        problems += [*names.problems, *missing_structures(drawn, protocol, list(voxels.masks)), *more]
    if voxels.ct is not None:
        problems += [p for s in structures.values() for p in placement_problems(s, voxels.ct.grid)]
    if voxels.dose is not None:
        problems += dose_problems(voxels.dose.array, prescribed.highest_gy if prescribed is not None else None)
    problems = list(dict.fromkeys(problems))
    raise_errors(problems)
    assert voxels.ct is not None  # a CT that cannot be used has its problem
    assert protocol is not None
    assert prescribed is not None
    body = structures.get(protocol.body_name)
    if body is None:
        body, told = found_body(voxels.ct, protocol.body_name, structures.values())
        problems.append(told)
    return Case(
        key=key or f"case-{_digest(voxels)[:10]}",
        ct=voxels.ct,
        structures=structures,
        body=body,
        prescription=prescribed,
        protocol_name=protocol.name,
        reference_dose=voxels.dose,
        gantry_angles_deg=tuple(sorted(voxels.gantry_angles_deg)),
        problems=tuple(problems),
    )


def _ct_problems(ct: Volume | None) -> Iterator[Problem]:
    if ct is not None:
        yield from grid_problems(ct.grid)
        yield from ct_problems(ct.array)


def _key_problems(key: str) -> Iterator[Problem]:
    if key and not _KEY.fullmatch(key):
        remedy = "Use letters, digits, - and _, 64 at most: results lie in a folder of that name."
        yield Problem("KEY_INVALID", f"{key!r} cannot be the key of a case.", remedy)


def _names_unknown(voxels: Voxels, protocols: Sequence[Protocol]) -> Iterator[Problem]:
    """A name that none of the protocols knows, with the one that it resembles."""
    known: dict[str, str] = {}
    for protocol in protocols:
        known.update(alias_table(protocol))
    for roi_name in voxels.masks:
        if fold(roi_name) not in known:
            yield unknown_name(roi_name, known)


def unknown_name(roi_name: str, known: Mapping[str, str]) -> Problem:
    """The problem of a name that is not among the folded aliases `known` (alias -> TG-263 name)."""
    near = nearest_name(roi_name, known)
    meant = f"; did you mean {near}?" if near else f". Known are {', '.join(dict.fromkeys(known.values()))}."
    message = f"No structure of the protocol is called {roi_name!r}{meant}"
    return Problem("NAME_UNKNOWN", message, "Use its TG-263 name, or leave it out.")


def nearest_name(roi_name: str, known: Mapping[str, str]) -> str | None:
    """The TG-263 name whose alias a name resembles most, or None where it resembles none."""
    near = difflib.get_close_matches(fold(roi_name), known, n=1, cutoff=0.5)
    return known[near[0]] if near else None


def _structures(voxels: Voxels, names: Mapping[str, str | None]) -> Iterator[tuple[str, Structure]]:
    for roi_name, fraction in voxels.masks.items():
        name = names[roi_name]
        if name is not None and fraction is not None:
            yield name, Structure(roi_name, name, fraction)


def _targets(protocol: Protocol) -> Iterable[str]:
    return (spec.name for spec in protocol.with_role("target"))


def _prescription(
    given: Sequence[GivenDoses], targets: Sequence[str], protocol: Protocol
) -> tuple[Prescription | None, list[Problem]]:
    """The prescription of targets that have a mask, usable or not."""
    problems: list[Problem] = []
    sources = []
    known = {fold(name): name for name in _targets(protocol)}
    for one in given:
        usable = {label: gy for label, gy in one.dose_gy.items() if _is_number(gy) and 0 < gy < _MOST_GY}
        doses, unknown = targets_meant(usable, protocol)
        problems += [_dose_invalid(label, one.dose_gy[label]) for label in one.dose_gy if label not in usable]
        problems += [_not_a_target(label, known) for label in unknown]
        problems += _count_problems(one.fractions)
        sources.append(DoseSource(one.source, doses, one.fractions, expects=True))
    if any(problem.code == "PRESCRIPTION_INVALID" for problem in problems):
        return None, problems
    ask = given[-1].ask if given else GivenDoses.ask
    prescribed, more = prescribe(targets, [*sources, protocol_defaults(protocol)], ask)
    return prescribed, [*problems, *more]


def _count_problems(fractions: object) -> Iterator[Problem]:
    if fractions is None or (isinstance(fractions, int | np.integer) and 1 <= fractions <= _MOST_FRACTIONS):
        return
    message = f"{fractions!r} fractions cannot be: a whole number of 1 to {_MOST_FRACTIONS} is expected."
    yield Problem("PRESCRIPTION_INVALID", message, "Give the number of fractions of the whole plan.")


def _is_number(value: object) -> bool:
    numeric = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return numeric and math.isfinite(float(value))  # type: ignore[arg-type]


def _dose_invalid(label: str, dose_gy: object) -> Problem:
    message = f"The dose prescribed to {label!r} is {dose_gy!r}; a number between 0 and {_MOST_GY:g} Gy is expected."
    return Problem("PRESCRIPTION_INVALID", message, "Give it in Gy, in total over all fractions.")


def _not_a_target(label: str, known: Mapping[str, str]) -> Problem:
    near = nearest_name(label, known)
    meant = f"; did you mean {near}?" if near else f". Its targets are {', '.join(known.values())}."
    message = f"A dose is given for {label!r}, which is not a target of the protocol{meant}"
    return Problem("NAME_UNKNOWN", message, "Use the TG-263 name of the target.")


def _digest(voxels: Voxels) -> str:
    """Of everything that a prediction follows from: the same input has the same key."""
    digest = hashlib.sha256()
    volumes = {"ct": voxels.ct, "dose": voxels.dose, **{f"mask {name}": mask for name, mask in voxels.masks.items()}}
    for name, volume in sorted(volumes.items()):
        if volume is not None:
            digest.update(f"{name} {volume.grid.describe()}".encode())
            digest.update(volume.array.tobytes())
    digest.update(repr(voxels.gantry_angles_deg).encode())
    for one in voxels.given:
        digest.update(repr((sorted(one.dose_gy.items()), one.fractions)).encode())
    return digest.hexdigest()
