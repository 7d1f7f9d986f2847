"""What a new cohort is made with where its user says nothing: protocol by the first structure sets, grid by site."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vmat_rt.assembly.required import choose_protocol
from vmat_rt.bundle import GridRule
from vmat_rt.cohort.settings import CohortSettings, Provenance
from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.intake.refusals import remove_identity
from vmat_rt.errors import ConfigError, InputError, Problem
from vmat_rt.protocol import Protocol, load_protocol, packaged_protocols
from vmat_rt.strict import reason

GRIDS: Final = {
    "prostate": GridRule(kind="fixed", shape=(96, 160, 192), spacing_mm=(2.5, 2.5, 2.5)),
    "head and neck": GridRule(kind="ct_blocks", shape=(128, 128, 128), spacing_mm=(2.5, 3.906, 3.906)),
}
"""Of a new cohort, by the site of its protocol: those of the models that ship."""

_GRID: Final = re.compile(r"(?:(fixed|ct_blocks):)?(\d+)x(\d+)x(\d+)@([\d.]+)x([\d.]+)x([\d.]+)")


@dataclass(frozen=True)
class NewCohort:
    """What to make a cohort with when there is none yet. Empty values mean: as described above."""

    name: str = ""
    grid: GridRule | None = None
    provenance: Provenance = field(
        default_factory=lambda: Provenance(
            data="clinical studies, read from DICOM",
            licence="of the institution that they come from; not to be passed on",
            simulated=False,
            command="vmat-rt cohort add",
        )
    )


def parse_grid(text: str) -> GridRule:
    """`[fixed:|ct_blocks:]96x160x192@2.5x2.5x2.5`, voxels and mm (z, y, x). Raises ConfigError."""
    match = _GRID.fullmatch(text)
    try:
        assert match is not None
        kind, *numbers = match.groups()
        z, y, x = (int(number) for number in numbers[:3])
        a, b, c = (float(number) for number in numbers[3:])
        if min(z, y, x) < 1 or min(a, b, c) <= 0:
            raise ValueError
    except (AssertionError, ValueError):
        example = "96x160x192@2.5x2.5x2.5 or ct_blocks:128x128x128@2.5x3.9x3.9"
        raise ConfigError(f"{text!r} is not a grid; give voxels and mm along (z, y, x), such as {example}") from None
    return GridRule(kind="ct_blocks" if kind == "ct_blocks" else "fixed", shape=(z, y, x), spacing_mm=(a, b, c))


def open_cohort(uri: str | Path, new: NewCohort) -> Cohort:
    """A cohort that exists. Raises ConfigError when `new` asks for another grid than it has."""
    cohort = Cohort.open(uri)
    if new.grid is not None and new.grid != cohort.settings.grid:
        raise ConfigError("the cohort has another grid already; leave --grid out, or make another cohort")
    return cohort


def create_cohort(uri: str | Path, protocol: Protocol, new: NewCohort) -> Cohort:
    """A new cohort. Raises ConfigError when no grid is known or its name cannot be one."""
    grid = new.grid or GRIDS.get(protocol.site)
    if grid is None:
        raise ConfigError(f"no grid is known for the site {protocol.site!r} of {protocol.name}; give one with --grid")
    name = new.name or derive_cohort_name(uri)
    settings = {"name": name, "protocol": protocol.name, "grid": grid, "provenance": new.provenance}
    try:
        return Cohort.create(uri, CohortSettings.model_validate(settings))
    except ValueError as error:
        raise ConfigError(f"a cohort called {name!r} cannot be made: {reason(error)}") from error


def choose_protocols(cohort_protocol: str, given: tuple[Protocol, ...]) -> tuple[Protocol, ...]:
    """Choose the protocols that cases may follow: what the user names, else the packaged ones of its protocol's site.

    Raises ConfigError when those given are of another site, or none is known.
    """
    packaged = tuple(load_protocol(name) for name in packaged_protocols())
    own = next((p for p in (*given, *packaged) if p.name == cohort_protocol), None)
    if own is None:
        raise ConfigError(f"the cohort follows {cohort_protocol}, which does not ship; give its file with --protocol")
    foreign = [p.name for p in given if p.site != own.site]
    if foreign:
        raise ConfigError(f"the cohort is of the site {own.site}; {', '.join(foreign)} is not")
    return given or tuple(p for p in packaged if p.site == own.site)


def choose_fitting_protocol(name_sets: Iterable[Callable[[], Iterable[str]]], none: Problem) -> Protocol:
    """The packaged protocol with the most targets, of the site that fits most of these.

    name_sets: each gives the structure names of one study, or raises InputError. Raises InputError: `none` when there
    are no studies, else why no protocol fits.
    """
    packaged = [load_protocol(name) for name in packaged_protocols()]
    sites: Counter[str] = Counter()
    why: tuple[Problem, ...] = (none,)
    for names_of in name_sets:
        try:
            sites[choose_protocol(names_of(), packaged).site] += 1
        except InputError as refusal:
            why = refusal.problems
    if not sites:
        raise InputError(remove_identity(problem) for problem in why)
    site = sites.most_common(1)[0][0]
    # A single-level plan may come first in a cohort of SIB plans.
    return max((p for p in packaged if p.site == site), key=lambda protocol: len(protocol.with_role("target")))


def derive_cohort_name(uri: str | Path) -> str:
    """A name for a cohort from the folder or URL that it lies at."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", str(uri).rstrip("/").rpartition("/")[2]).strip("-_")[:64]
    return name or "cohort"
