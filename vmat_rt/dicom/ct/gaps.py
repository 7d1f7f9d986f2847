"""Where CT slices lie: at equal steps, rounded or of two spacings; or missing, twice there, unevenly apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from vmat_rt.errors import Problem, warning

_SAME_PLACE_MM = 0.01
_RELATIVE_TOLERANCE = 0.01
_ROUNDING_MM = 0.02  # positions written with two decimals
_NAMED = 6
_ROUNDED_MM = 0.06  # positions written with one decimal lie up to 0.05 mm off
_SHORTEST_RUN = 3  # so many equal gaps in a row are a spacing, fewer are missing slices
_MOST_RUNS = 5
_MOST_SLICES = 5000
_COMPLETE = "Export the complete series, once."


@dataclass(frozen=True)
class SlicePlaces:
    """Equal steps for slices as found. problems: errors where there are none, warnings where slices had to give.

    interpolated: the slices lie further apart somewhere, and values at these steps are interpolated between them.
    """

    first_mm: float = 0.0
    step_mm: float = 0.0
    count: int = 0
    problems: tuple[Problem, ...] = ()
    interpolated: bool = False

    @property
    def z_mm(self) -> NDArray[np.float64]:
        return self.first_mm + self.step_mm * np.arange(self.count, dtype=np.float64)


def place_slices(z_mm: Sequence[float]) -> SlicePlaces:
    """The equal steps on which axial slices lie, given ascending in mm; see SlicePlaces.

    Positions that are rounded to 0.1 mm stand for the steps they come from. Of a CT with one spacing here and another
    there the finer one is taken all over. Everything else that is not regular is an error, as `gap_problems` says it.
    """
    problems = gap_problems(z_mm)
    z = np.asarray(z_mm, np.float64)
    if not problems:
        return SlicePlaces(float(z[0]), float(z[-1] - z[0]) / (len(z) - 1), len(z))
    if not {problem.code for problem in problems} <= {"CT_GAP", "CT_UNEQUAL_GAPS"}:
        return SlicePlaces(problems=tuple(problems))
    return _rounded(z) or _of_several_spacings(z) or SlicePlaces(problems=tuple(problems))


def _rounded(z: NDArray[np.float64]) -> SlicePlaces | None:
    """The steps from which no slice lies further than rounding does; None where there are none."""
    number = np.arange(len(z))

    def spread_mm(step_mm: float) -> float:
        return float(np.ptp(z - step_mm * number))

    mean = float(z[-1] - z[0]) / (len(z) - 1)
    margin = 2 * _ROUNDED_MM / (len(z) - 1)
    found = minimize_scalar(spread_mm, bounds=(mean - margin, mean + margin), method="bounded", options={"xatol": 1e-9})
    step_mm = float(found.x)
    off_mm = spread_mm(step_mm) / 2
    if off_mm > min(_ROUNDED_MM, 0.1 * step_mm):
        return None
    rest = z - step_mm * number
    message = f"Positions of the CT slices lie up to {off_mm:.2f} mm off equal steps of {step_mm:.3f} mm, as rounded "
    told = warning(
        "CT_POSITIONS_ROUNDED",
        f"{message}ones do; the equal steps are used.",
        "Nothing need be done; an export with positions of more decimals ends this warning.",
    )
    return SlicePlaces(float(rest.min() + rest.max()) / 2, step_mm, len(z), (told,))


def _of_several_spacings(z: NDArray[np.float64]) -> SlicePlaces | None:
    """The finest of the spacings of a CT that has several, each over some length; None where that is not so."""
    runs = _runs(np.diff(z))
    spacings = [float(np.mean(run)) for run in runs]
    finest = min(spacings)
    others = {round(spacing, 1) for spacing in spacings if spacing > finest + _tolerance_mm(finest)}
    whole = all(abs(s / finest - round(s / finest)) < 0.02 for s in spacings)
    if not 1 < len(runs) <= _MOST_RUNS or min(map(len, runs)) < _SHORTEST_RUN or not (whole or len(others) == 1):
        return None
    # Where the length is not a whole number of the finest steps, a little less than it.
    length = float(z[-1] - z[0])
    steps = int(np.ceil(length / finest - 0.01))
    if steps >= _MOST_SLICES:
        return None
    ends = np.cumsum([0, *map(len, runs)])
    shown = "; ".join(
        f"{spacing:.2f} mm from z {z[start]:.2f} to {z[end]:.2f} mm"
        for spacing, start, end in zip(spacings, ends, ends[1:], strict=False)
    )
    message = f"The CT slices are not equally far apart: {shown}. HU between them are interpolated at steps of "
    told = warning(
        "CT_MIXED_SPACING",
        f"{message}{length / steps:.3f} mm: {steps + 1} slices from {len(z)}.",
        "Check in the report that no slice is missing; a series of one spacing ends this warning.",
    )
    return SlicePlaces(float(z[0]), length / steps, steps + 1, (told,), interpolated=True)


def _runs(gaps: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Neighbouring gaps that are equal, together."""
    starts = [0]
    for index, gap in enumerate(gaps):
        if abs(gap - gaps[starts[-1]]) > _tolerance_mm(float(gaps[starts[-1]])):
            starts.append(index)
    return np.split(gaps, starts[1:])


def _tolerance_mm(gap: float) -> float:
    return max(_ROUNDING_MM, _RELATIVE_TOLERANCE * gap)


def name_slices(indices: Sequence[int], z_mm: Sequence[float]) -> str:
    """'slice 3 (z 12.50 mm)' for 0-based indices: slices are counted from 1 at the lowest z."""
    named = ", ".join(f"{index + 1} (z {z_mm[index]:.2f} mm)" for index in indices[:_NAMED])
    rest = f" and {len(indices) - _NAMED} more" if len(indices) > _NAMED else ""
    return f"slice {named}" if len(indices) == 1 else f"slices {named}{rest}"


def gap_problems(z_mm: Sequence[float]) -> list[Problem]:
    """What is wrong with the positions of axial slices, given ascending in mm."""
    if len(z_mm) < 2:
        message = f"The CT has {len(z_mm)} slice, so the distance between slices is unknown."
        return [Problem("CT_TOO_FEW_SLICES", message, _COMPLETE)]
    gaps = np.diff(np.asarray(z_mm, np.float64))
    twice = [int(index) for index in np.flatnonzero(gaps < _SAME_PLACE_MM)]
    if twice:
        both = ", ".join(f"{i + 1} and {i + 2} (z {z_mm[i]:.2f} mm)" for i in twice[:_NAMED])
        rest = f", and {len(twice) - _NAMED} more pairs" if len(twice) > _NAMED else ""
        return [Problem("CT_DUPLICATE_SLICES", f"CT slices {both}{rest} lie at the same place.", _COMPLETE)]
    usual = _usual_gap(gaps)
    tolerance = _tolerance_mm(usual)
    odd = [int(index) for index in np.flatnonzero(np.abs(gaps - usual) > tolerance)]
    if not odd:
        return _drift_problems(np.asarray(z_mm), usual)
    multiples = np.rint(gaps[odd] / usual)
    holes = bool(np.all((multiples >= 2) & (np.abs(gaps[odd] - multiples * usual) <= multiples * tolerance)))
    pairs = "; ".join(f"{i + 1} and {i + 2} (z {z_mm[i]:.2f} and {z_mm[i + 1]:.2f} mm)" for i in odd[:_NAMED])
    apart = ", ".join(sorted({f"{gap:.2f}" for gap in gaps[odd]})[:_NAMED])
    rest = f", and {len(odd) - _NAMED} more pairs" if len(odd) > _NAMED else ""
    message = f"CT slices {pairs}{rest} are {apart} mm apart, the others {usual:.2f} mm"
    if holes:
        missing = int(np.sum(multiples - 1))
        return [Problem("CT_GAP", f"{message}: {missing} missing.", _COMPLETE)]
    return [Problem("CT_UNEQUAL_GAPS", f"{message}.", "Export a series with equal distances between slices.")]


def _usual_gap(gaps: NDArray[np.float64]) -> float:
    """The gap that most others agree with; the smaller one of a tie."""
    ordered = np.sort(gaps)
    tolerance = np.maximum(_ROUNDING_MM, _RELATIVE_TOLERANCE * ordered)
    agreeing = np.searchsorted(ordered, ordered + tolerance, "right") - np.searchsorted(ordered, ordered - tolerance)
    best = ordered[int(np.argmax(agreeing))]
    near = ordered[np.abs(ordered - best) <= max(_ROUNDING_MM, _RELATIVE_TOLERANCE * best)]
    return float(np.median(near))


def _drift_problems(z_mm: NDArray[np.float64], usual: float) -> list[Problem]:
    """Gaps that each pass but add up: no slice may lie a tenth of a gap off the regular grid."""
    regular = np.linspace(z_mm[0], z_mm[-1], len(z_mm))
    off = np.abs(z_mm - regular)
    worst = int(np.argmax(off))
    if off[worst] <= 0.1 * usual:
        return []
    message = f"CT {name_slices([worst], z_mm.tolist())} lies {off[worst]:.2f} mm off the regular spacing."
    return [Problem("CT_UNEQUAL_GAPS", message, "Export a series with equal distances between slices.")]
