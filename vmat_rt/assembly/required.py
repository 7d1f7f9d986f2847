"""Which protocol fits the names that are there, what it requires beside them, and the outline where none is drawn."""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable, Sequence

import numpy as np

from vmat_rt.case import Structure, Volume
from vmat_rt.errors import InputError, Problem, listed, listed_within, shortened, warning
from vmat_rt.geometry.body import find_body
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.naming import fold, map_names
from vmat_rt.protocol import Protocol

_CONTOUR_IT = (
    "Contour it, or add the name it has here to the aliases of a protocol file of your own (docs/names.md) and give "
    "that file: --protocol my.yaml on the command line, `protocol: my.yaml` in the configuration of the watcher."
)
_ROOM_FOR_FOUND = 200
_ROOM_FOR_LOOKED_FOR = 140
_LONGEST_NAME = 32
_NEAREST = 2
_NAMES_COMPARED = 300
_NEAR_ENOUGH = 0.6


def choose_protocol(roi_names: Iterable[str], protocols: Iterable[Protocol]) -> Protocol:
    """The protocol whose required targets are all among the contoured ROIs and that maps the most of them.

    Where none has all its targets, the one that maps the most ROIs of those that have one: what it misses is then told
    by `missing_structures`. Raises InputError: TARGET_MISSING when no protocol finds a target, PROTOCOL_UNCLEAR when
    several fit equally well.
    """
    names, protocols = list(roi_names), list(protocols)
    found = {p.name: {name for name in map_names(names, p).names.values() if name is not None} for p in protocols}
    any_target = [p for p in protocols if found[p.name] & {spec.name for spec in p.with_role("target")}]
    if not any_target:
        looked_for = listed([f"{p.name}: {', '.join(_target_names(p))}" for p in protocols], 4, 60, between="; ")
        message = f"No target is contoured. {_found(names, protocols)} Looked for {looked_for}."
        raise InputError(Problem("TARGET_MISSING", message, _CONTOUR_IT))
    whole = [p for p in any_target if set(_target_names(p)) <= found[p.name]]
    fitting = whole or any_target
    most = max(len(found[p.name]) for p in fitting)
    best = [p for p in fitting if len(found[p.name]) == most]
    if len(best) == 1:
        return best[0]
    candidates = listed([f"{p.name} ({len(found[p.name])} ROIs)" for p in best], most=5, longest=60)
    why = "fit equally well" if whole else "fit equally well, but none has all its targets contoured"
    raise InputError(
        Problem("PROTOCOL_UNCLEAR", f"Which protocol holds is unclear: {candidates} {why}.", "Name it with --protocol.")
    )


def _target_names(protocol: Protocol) -> tuple[str, ...]:
    """The required targets; every target where none is required."""
    targets = protocol.with_role("target")
    required = tuple(spec.name for spec in targets if spec.required)
    return required or tuple(spec.name for spec in targets)


def _found(names: Sequence[str], protocols: Iterable[Protocol]) -> str:
    """The names that are there, and which of them come near a target's alias: what to put into a protocol file."""
    if not names:
        return "No ROI has contours."
    aliases = {fold(a): a for p in protocols for spec in p.with_role("target") for a in (spec.name, *spec.aliases)}
    compared = {fold(name)[:64]: name for name in names[:_NAMES_COMPARED]}
    pairs = [(near, name) for near, name in compared.items() if fold(name) not in aliases]
    scored = sorted(
        ((difflib.SequenceMatcher(None, folded, alias).ratio(), name, aliases[alias]))
        for folded, name in pairs
        for alias in difflib.get_close_matches(folded, aliases, n=1, cutoff=_NEAR_ENOUGH)
    )
    nearest = [
        f"{shortened(name, _LONGEST_NAME)!r} is near the alias {alias!r}" for _, name, alias in scored[::-1][:_NEAREST]
    ]
    shown = f"ROIs found: {listed_within(names, _ROOM_FOR_FOUND, _LONGEST_NAME)}."
    return f"{shown} {'; '.join(nearest)}." if nearest else shown


def missing_structures(
    drawn: Container[str | None], protocol: Protocol, roi_names: Sequence[str] = ()
) -> list[Problem]:
    """A problem for each structure that the protocol requires and that is not among those drawn.

    roi_names: the contoured ROIs under the names they were given.
    """
    problems = []
    for spec in protocol.structures:
        if spec.required and spec.role != "body" and spec.name not in drawn:
            code = "TARGET_MISSING" if spec.role == "target" else "STRUCTURE_MISSING"
            kind = "target" if spec.role == "target" else "structure"
            looked_for = listed_within((spec.name, *spec.aliases), _ROOM_FOR_LOOKED_FOR, _LONGEST_NAME)
            message = (
                f"The {kind} {spec.name} is not contoured. {_found(roi_names, [protocol])} Looked for {looked_for}."
            )
            problems.append(Problem(code, message, _CONTOUR_IT))
    targets = [spec.name for spec in protocol.with_role("target")]
    if not problems and not any(name in drawn for name in targets):
        problems.append(no_target(targets, protocol, roi_names))
    return problems


def no_target(looked_for: Sequence[str], protocol: Protocol, roi_names: Sequence[str] = ()) -> Problem:
    """The problem of a case without any target."""
    shown = listed_within(looked_for, _ROOM_FOR_LOOKED_FOR, _LONGEST_NAME)
    message = f"No target is contoured. {_found(roi_names, [protocol])} Looked for {shown}."
    return Problem("TARGET_MISSING", message, _CONTOUR_IT)


def found_body(ct: Volume, name: str, structures: Iterable[Structure]) -> tuple[Structure, Problem]:
    """The outline found in the CT and what is contoured, and the warning that it was: `name` itself is not contoured.

    A mapped structure is part of the patient, whatever its HU: a CT that was blanked outside the treated region, or a
    bolus of air, must not cut structures off. Raises InputError (NO_BODY).
    """
    fraction = find_body(ct).array
    for structure in structures:
        np.maximum(fraction, structure_fraction(structure, ct.grid), out=fraction)
    message = f"{name} is not contoured; the patient outline was found in the CT."
    told = warning("NO_EXTERNAL", message, "Check the outline in the report.")
    return Structure("found in CT", name, Volume(ct.grid, fraction)), told
