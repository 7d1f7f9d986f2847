"""Distances between neighbouring CT slices: which are missing, twice there, or unevenly apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vmat_rt.errors import Problem

_SAME_PLACE_MM = 0.01
_RELATIVE_TOLERANCE = 0.01
_ROUNDING_MM = 0.02  # positions written with two decimals
_NAMED = 6
_COMPLETE = "Export the complete series, once."


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
    tolerance = max(_ROUNDING_MM, _RELATIVE_TOLERANCE * usual)
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


def _usual_gap(gaps: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """The gap that most others agree with; the smaller one of a tie."""
    ordered = np.sort(gaps)
    tolerance = np.maximum(_ROUNDING_MM, _RELATIVE_TOLERANCE * ordered)
    agreeing = np.searchsorted(ordered, ordered + tolerance, "right") - np.searchsorted(ordered, ordered - tolerance)
    best = ordered[int(np.argmax(agreeing))]
    near = ordered[np.abs(ordered - best) <= max(_ROUNDING_MM, _RELATIVE_TOLERANCE * best)]
    return float(np.median(near))


def _drift_problems(z_mm: np.ndarray[tuple[int], np.dtype[np.float64]], usual: float) -> list[Problem]:
    """Gaps that each pass but add up: no slice may lie a tenth of a gap off the regular grid."""
    regular = np.linspace(z_mm[0], z_mm[-1], len(z_mm))
    off = np.abs(z_mm - regular)
    worst = int(np.argmax(off))
    if off[worst] <= 0.1 * usual:
        return []
    message = f"CT {name_slices([worst], z_mm.tolist())} lies {off[worst]:.2f} mm off the regular spacing."
    return [Problem("CT_UNEQUAL_GAPS", message, "Export a series with equal distances between slices.")]
