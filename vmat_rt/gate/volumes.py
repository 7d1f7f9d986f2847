"""Whether structures are as large as what their names say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vmat_rt.case import Structure
from vmat_rt.errors import Problem, warning
from vmat_rt.gate.usual_volumes import USUAL_VOLUMES
from vmat_rt.geometry.rasterize import volume_cc


def volume_problems(structures: Mapping[str, Structure], site: str) -> Iterator[Problem]:
    """Warnings for volumes outside the usual range of the site. structures: by TG-263 name."""
    usual = USUAL_VOLUMES.get(site, {})
    for name, structure in structures.items():
        if name not in usual or structure.shape is None:
            continue
        cc, low, high = volume_cc(structure), usual[name].low_cc, usual[name].high_cc
        if not low <= cc <= high:
            message = f"{name} measures {cc:.3g} cc; usual are {low:g} to {high:g} cc."
            yield warning("VOLUME_UNUSUAL", message, "Check that this is the structure its name says, and all of it.")
