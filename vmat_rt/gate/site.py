"""Whether this is the part of the body that the protocol is for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from vmat_rt.errors import Problem
from vmat_rt.gate.measures import Measures


class BodySize(NamedTuple):
    """Width (x) of the body in the slice of the targets' middle, mm, and its least ratio to the height (y)."""

    least_mm: float
    most_mm: float
    least_ratio: float


BODY_SIZES: Final = {"prostate": BodySize(250.0, 700.0, 1.1)}
"""Site -> the body round its targets. A pelvis is 300 to 500 mm wide and wider than deep; a head neither."""


def site_problems(measures: Measures, site: str) -> Iterator[Problem]:
    """An error where the body round the targets cannot be that of the site."""
    size = BODY_SIZES.get(site)
    height_mm, width_mm = measures.body_mm
    if size is None or not height_mm:
        return
    if not size.least_mm <= width_mm <= size.most_mm or width_mm < size.least_ratio * height_mm:
        message = (
            f"At the targets the body is {width_mm:.0f} mm wide and {height_mm:.0f} mm deep, which is not that of a "
            f"patient of the site {site}."
        )
        remedy = "Check protocol and names; if it is right, go on with --allow BODY_SITE."
        yield Problem("BODY_SITE", message, remedy)
