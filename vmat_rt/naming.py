"""ROI names as found -> TG-263 names, through a protocol's aliases. Never by substring.

Names: Mayo et al., AAPM TG-263 (2018), "Standardizing nomenclatures in radiation oncology".
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vmat_rt.errors import ConfigError, Problem, listed
from vmat_rt.protocol import Protocol

_SEPARATORS = re.compile(r"[\s_\-.,^~/\\()\[\]]+")
_SIDE = re.compile(r"(?<=_)[LR](?=_|$)")


def fold(name: str) -> str:
    """The form in which names are compared: lower case, separators removed."""
    return _SEPARATORS.sub("", name).casefold()


def mirrored_name(name: str) -> str:
    """The TG-263 name of the same structure on the other side; a name without a side is its own mirror image."""
    return _SIDE.sub(lambda side: "R" if side.group() == "L" else "L", name)


@dataclass(frozen=True)
class NameMap:
    """Result of mapping: ROI name -> TG-263 name (or None), and what went wrong."""

    names: Mapping[str, str | None]
    problems: tuple[Problem, ...]


def alias_table(protocol: Protocol) -> dict[str, str]:
    """Folded alias -> TG-263 name. Raises ConfigError when one alias stands for two structures."""
    table: dict[str, str] = {}
    for spec in protocol.structures:
        for alias in (spec.name, *spec.aliases):
            owner = table.setdefault(fold(alias), spec.name)
            if owner != spec.name:
                raise ConfigError(f"protocol {protocol.name}: alias {alias!r} stands for both {owner} and {spec.name}")
    return table


def map_names(roi_names: Iterable[str], protocol: Protocol) -> NameMap:
    """Map every ROI name; two ROIs that claim one TG-263 name are an error that names both."""
    table = alias_table(protocol)
    names: dict[str, str | None] = {}
    claims: dict[str, list[str]] = {}
    for roi_name in roi_names:
        name = table.get(fold(roi_name))
        names[roi_name] = name
        if name is not None:
            claims.setdefault(name, []).append(roi_name)
    problems = tuple(
        Problem(
            "TWO_ROIS_ONE_NAME",
            f"The ROIs {listed([repr(roi) for roi in rois], 6, 66, ' and ')} both mean {name}.",
            "Rename or remove all but one of them, or give the right one in a site protocol's aliases.",
        )
        for name, rois in claims.items()
        if len(rois) > 1
    )
    return NameMap(names, problems)


def find_agreed_names(roi_names: Iterable[str], protocols: Iterable[Protocol]) -> dict[str, str]:
    """ROI name -> TG-263 name, for the ROIs that one protocol or more knows and that all of those call the same."""
    tables = [alias_table(protocol) for protocol in protocols]
    known = {name: {table[fold(name)] for table in tables if fold(name) in table} for name in roi_names}
    return {roi_name: names.pop() for roi_name, names in known.items() if len(names) == 1}


def propose_aliases(unmapped: Iterable[str], protocol: Protocol) -> dict[str, str]:
    """Guesses for a person to confirm: ROI name -> TG-263 name that it resembles. Never used for mapping."""
    table = alias_table(protocol)
    guesses: dict[str, str] = {}
    for roi_name in unmapped:
        near = difflib.get_close_matches(fold(roi_name), table, n=1, cutoff=0.75)
        if near and not _say_other_numbers(roi_name, near[0]):
            guesses[roi_name] = table[near[0]]
    return guesses


def _say_other_numbers(one: str, other: str) -> bool:
    """Whether both hold numbers and not the same: "PTV 60" resembles "PTV 56" and is the target of another dose."""
    numbers = [[digits.rstrip("0") for digits in re.findall(r"\d+", fold(name))] for name in (one, other)]
    return bool(numbers[0] and numbers[1]) and numbers[0] != numbers[1]
