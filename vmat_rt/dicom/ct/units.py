"""Whether what a CT holds are HU: what it says of its values, and whether air is where air must be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vmat_rt.dicom.ct.slices import CtSlice
from vmat_rt.errors import Problem, listed, warning

_HU = {"", "HU", "HOUNSFIELD", "HOUNSFIELD UNIT", "HOUNSFIELD UNITS"}
_UNSAID = {"US", "UNSPECIFIED", "UNSPECIFIC", "HU_MOD"}
"""RescaleType of values that may be HU: no unit is said, or HU that were modified (PS3.3 C.11.1.1.2)."""
_AIR_HU = -500.0
_OUTSIDE = 0.15
_EVEN_HU = 100.0
_EXPORT_HU = "Export the planning CT in HU (RescaleType HU), not a map made from it."


def unit_problems(slices: Sequence[CtSlice]) -> tuple[Problem, ...]:
    """An error for values that the CT says are not HU, a warning for those of which it does not say it."""
    types = sorted({one.rescale_type.upper() for one in slices} - _HU)
    refused = [name for name in types if name not in _UNSAID]
    if refused:
        message = f"RescaleType of the CT is {listed(refused)}, not HU: its values are something else than HU."
        return (Problem("CT_RESCALE_TYPE", message, _EXPORT_HU),)
    if types:
        message = (
            f"RescaleType of the CT is {listed(types)}, so whether its values are HU is not said; they are taken as HU."
        )
        return (warning("CT_RESCALE_TYPE", message, "Check HU of air and water in the planning system."),)
    return ()


def air_problems(hu: NDArray[np.float32]) -> tuple[Problem, ...]:
    """A warning where much of a CT is even, as air round a patient is, but nothing is as low as air."""
    lowest = float(hu.min())
    if lowest < _AIR_HU:
        return ()
    share = float(np.count_nonzero(hu < lowest + _EVEN_HU)) / hu.size
    if share < _OUTSIDE:
        return ()
    message = (
        f"No value of the CT lies below {lowest:g} HU, though {100 * share:.0f} % of it is as even as the air round a "
    )
    remedy = "Check the rescale values: air is -1000 HU, water 0. Export the CT again where it is not."
    return (warning("CT_NO_AIR", f"{message}patient (-1000 HU); its values may not be HU.", remedy),)
