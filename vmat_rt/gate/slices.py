"""Whether the image goes on from slice to slice: one without the patient between slices that show him was lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from vmat_rt.case import Volume
from vmat_rt.errors import Problem, warning

TISSUE_HU: Final = -300.0
EMPTY: Final = 0.05
"""Of the area that slices on both sides of it reach; a neck has 0.15 of head and shoulders."""
LEAST_CM2: Final = 20.0
"""Smaller areas are a couch, a mask or a tube beyond the patient's end."""
_REMEDY: Final = "Look at the CT there and export it again: dose and structures are computed as if there were air."


def slice_problems(ct: Volume) -> Iterator[Problem]:
    """A warning where slices between others that show the patient are empty, or nearly so."""
    tissue = np.count_nonzero(ct.array > TISSUE_HU, axis=(1, 2))
    before, after = np.maximum.accumulate(tissue), np.maximum.accumulate(tissue[::-1])[::-1]
    both = np.minimum(before, after)
    pixel_cm2 = ct.grid.spacing_mm[1] * ct.grid.spacing_mm[2] / 100
    empty = np.flatnonzero((tissue < EMPTY * both) & (both * pixel_cm2 > LEAST_CM2))
    if len(empty):
        z_mm = ct.grid.axis_mm(0)[empty]
        where = f"at z = {z_mm[0]:.1f} mm" if len(empty) == 1 else f"from z = {z_mm[0]:.1f} to {z_mm[-1]:.1f} mm"
        slices = "One CT slice shows" if len(empty) == 1 else f"{len(empty)} CT slices show"
        message = f"{slices} no patient ({where}), but those on both sides do."
        yield warning("CT_SLICE_EMPTY", message, _REMEDY)
