"""One colour per structure, the same in the DVH and in the pictures; colour-blind readers can distinguish them."""

from __future__ import annotations

from collections.abc import Iterable

from vmat_rt.case import Case, Structure
from vmat_rt.protocol import Protocol

_TARGETS = ("#cc3311", "#ee7733", "#ee3377", "#ddaa33")
_ORGANS = ("#0077bb", "#009988", "#882255", "#33bbee", "#117733", "#aa4499", "#999933", "#4466cc", "#88a0a8", "#b08850")
_BODY = "#7f8c99"
"""Hues after Paul Tol's colour-blind-safe sets ("Colour Schemes", SRON/EPS/TN/09-002): vibrant, then muted."""


def find_role(name: str | None, protocol: Protocol) -> str:
    """Role of a TG-263 name in the protocol: target, oar or body; "other" for an ROI that it does not know."""
    return next((spec.role for spec in protocol.structures if spec.name == name), "other")


def sort_for_report(structures: Iterable[Structure], case: Case, protocol: Protocol) -> list[Structure]:
    """Targets from the highest prescribed dose down, then organs as the protocol lists them, body, the rest."""
    roles = ("target", "oar", "body", "other")
    position = {spec.name: i for i, spec in enumerate(protocol.structures)}

    def compute_rank(structure: Structure) -> tuple[int, float, int, str]:
        name = structure.name or ""
        role = find_role(structure.name, protocol)
        dose_gy = case.prescription.dose_gy.get(name, 0.0) if role == "target" else 0.0
        return roles.index(role), -dose_gy, position.get(name, 0), structure.roi_name

    return sorted(structures, key=compute_rank)


def list_evaluated_structures(case: Case, protocol: Protocol) -> list[Structure]:
    """The mapped structures and the body, in the order of the report."""
    structures = {structure.roi_name: structure for structure in (*case.structures.values(), case.body)}
    return sort_for_report(structures.values(), case, protocol)


def assign_colours(structures: Iterable[Structure], protocol: Protocol) -> dict[str, str]:
    """ROI name -> #rrggbb. Colours repeat only when there are more structures than colours."""
    colours: dict[str, str] = {}
    counts = {"target": 0, "organ": 0}
    for structure in structures:
        role = find_role(structure.name, protocol)
        if role == "body":
            colours[structure.roi_name] = _BODY
            continue
        kind, palette = ("target", _TARGETS) if role == "target" else ("organ", _ORGANS)
        colours[structure.roi_name] = palette[counts[kind] % len(palette)]
        counts[kind] += 1
    return colours
