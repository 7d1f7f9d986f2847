"""What is checked before a case with its clinical dose may teach a model. Errors refuse it, warnings are noted.

A wrong dose (of one beam, of one fraction, in other units, ending within the target) would be learnt as it is, so it is
refused. What is unusual but may be true of a patient (a cold target, a large bladder) is kept and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from vmat_rt.case import Case, Contours, Structure, Volume
from vmat_rt.cohort.usual_volumes import USUAL_VOLUMES
from vmat_rt.errors import Problem, warning
from vmat_rt.geometry.rasterize import bounds_mm, volume_cc, volume_inside_cc
from vmat_rt.metrics.dvh.compute import Dvh, compute_dvhs
from vmat_rt.metrics.dvh.coverage import hottest_crossed_face_gy

CHECKS: Final = (
    "TARGET_NOT_COVERED",
    "DOSE_SINGLE_BEAM",
    "DOSE_PER_FRACTION",
    "DOSE_SCALE",
    "TARGET_DOSE_UNUSUAL",
    "DOSE_CUT_OFF",
    "VOLUME_UNUSUAL",
    "SIDES_SWAPPED",
    "SIDES_SAME",
    "DUPLICATE_IMAGE",
    "DUPLICATE_STUDY",
    "PATIENT_UNKNOWN",
)
"""The codes of every check at entry, in the order in which a summary counts them."""

COVERED: Final = 0.999
"""Part of a target that must lie in the dose grid: the rest is rounding of its edge."""
OF_ONE_FRACTION: Final = 0.15
"""How near a median dose must come to that of one fraction, as a part of it."""
WHOLE_PLAN: Final = (0.6, 1.5)
"""Median dose of the highest target over its prescription: below nobody plans, so a beam or a phase is missing."""
USUAL_D95: Final = (0.90, 1.10)
"""D95 of a target over its prescription. A lower-dose target that lies within a higher one may exceed this."""
_HOT_FACE: Final = 0.2
_SIDE_MM: Final = 5.0
_EXPORT_SUM: Final = "Export the RTDOSE of the whole plan (DoseSummationType PLAN), in Gy over all fractions."


def check_entry(case: Case, site: str) -> tuple[Problem, ...]:
    """Everything that the checks find, errors first. site: of the case's protocol, for the usual volumes."""
    problems = [*_check_dose(case), *_check_volumes(case, site), *_check_sides(case)]
    return tuple(sorted(problems, key=lambda problem: problem.severity != "error"))


def _check_dose(case: Case) -> Iterator[Problem]:
    dose = case.reference_dose
    if dose is None:
        remedy = "Add the RTDOSE of the plan made on this structure set."
        yield Problem("NO_DOSE", "There is no dose of a plan on these structures.", remedy)
        return
    targets = [case.structures[name] for name in case.targets()]
    uncovered = list(_check_coverage(targets, dose))
    yield from uncovered
    if uncovered or not targets:
        return
    dvhs = compute_dvhs(targets, dose, metrics=("D95%", "D50%"))
    ordered = list(zip(targets, dvhs.values(), strict=True))
    wrong = _scale_problem(*ordered[0], case)
    if wrong is not None:
        yield wrong
        return
    yield from _check_d95(ordered, case)
    yield from _cut_off_dose(case, dose)


def _check_coverage(targets: list[Structure], dose: Volume) -> Iterator[Problem]:
    for target in targets:
        whole_cc = volume_cc(target)
        inside_cc = volume_inside_cc(target, dose.grid)
        if inside_cc < COVERED * whole_cc:
            missing = 100 * (1 - inside_cc / whole_cc)
            message = f"{missing:.1f} % of {target.name} ({whole_cc - inside_cc:.2g} cc) lie outside the dose grid."
            yield Problem("TARGET_NOT_COVERED", message, "Compute the dose on a grid that holds all targets.")


def _scale_problem(target: Structure, dvh: Dvh, case: Case) -> Problem | None:
    """Judge by the median: that of one beam is spread over the target, so D95 alone would tell less."""
    prescribed_gy = case.targets()[str(target.name)]
    d50, d95 = dvh.value("D50%"), dvh.value("D95%")
    if d50 is None or d95 is None:
        return None
    ratio, fractions = d50 / prescribed_gy, case.prescription.fractions
    gets = f"{target.name} gets {d50:.4g} Gy (median; D95 {d95:.4g} Gy)"
    if WHOLE_PLAN[0] <= ratio <= WHOLE_PLAN[1]:
        return None
    if fractions > 1 and abs(ratio * fractions - 1) <= OF_ONE_FRACTION:
        message = f"{gets}: {prescribed_gy:g} Gy in {fractions} fractions are {prescribed_gy / fractions:.3g} Gy each."
        return Problem("DOSE_PER_FRACTION", f"{message} This is the dose of one fraction.", _EXPORT_SUM)
    if ratio < 1:
        message = f"{gets}, {100 * ratio:.0f} % of the {prescribed_gy:g} Gy prescribed: of one beam or phase, not all."
        return Problem("DOSE_SINGLE_BEAM", message, _EXPORT_SUM)
    message = f"{gets}, {ratio:.3g} times the {prescribed_gy:g} Gy prescribed."
    return Problem("DOSE_SCALE", message, _EXPORT_SUM)


def _check_d95(targets: list[tuple[Structure, Dvh]], case: Case) -> Iterator[Problem]:
    highest_gy = max(case.targets().values())
    for target, dvh in targets:
        prescribed_gy, d95 = case.targets()[str(target.name)], dvh.value("D95%")
        if d95 is None:
            continue
        most_gy = USUAL_D95[1] * (prescribed_gy if prescribed_gy == highest_gy else highest_gy)
        if not USUAL_D95[0] * prescribed_gy <= d95 <= most_gy:
            percent = 100 * d95 / prescribed_gy
            message = f"D95 of {target.name} is {d95:.4g} Gy, {percent:.1f} % of the {prescribed_gy:g} Gy prescribed."
            yield warning("TARGET_DOSE_UNUSUAL", message, "Check the prescription and whether it is this plan's dose.")


def _cut_off_dose(case: Case, dose: Volume) -> Iterator[Problem]:
    """A dose that ends within the body while it is still high teaches a model that it does."""
    if case.body.shape is None:
        return
    edge_gy, highest_gy = hottest_crossed_face_gy(case.body, dose), case.prescription.highest_gy
    if edge_gy > _HOT_FACE * highest_gy:
        message = f"The dose grid ends within the body where the dose is still up to {edge_gy:.3g} Gy."
        yield warning("DOSE_CUT_OFF", message, "Compute the dose on a larger grid; beyond its edge it counts as 0 Gy.")


def _check_volumes(case: Case, site: str) -> Iterator[Problem]:
    usual = USUAL_VOLUMES.get(site, {})
    for name, structure in case.structures.items():
        if name not in usual or structure.shape is None:
            continue
        cc, low, high = volume_cc(structure), usual[name].low_cc, usual[name].high_cc
        if not low <= cc <= high:
            message = f"{name} measures {cc:.3g} cc; usual are {low:g} to {high:g} cc."
            yield warning("VOLUME_UNUSUAL", message, "Check that this is the structure its name says, and all of it.")


def _check_sides(case: Case) -> Iterator[Problem]:
    """Pairs called NAME_L and NAME_R: x grows to the patient's left, so the left one has the larger x."""
    for left in case.structures:
        right = left.removesuffix("_L") + "_R"
        if not left.endswith("_L") or right not in case.structures:
            continue
        x_left, x_right = (_find_middle_x_mm(case.structures[name]) for name in (left, right))
        if x_left is None or x_right is None:
            continue
        if x_left < x_right - _SIDE_MM:
            message = f"{left} lies {x_right - x_left:.0f} mm to the patient's right of {right}."
            yield warning("SIDES_SWAPPED", message, "Exchange their names, or check the image's orientation.")
        elif _on_one_side(case, x_left, x_right):
            message = f"{left} and {right} lie on one side of the patient, {x_left - x_right:.0f} mm apart."
            yield warning("SIDES_SAME", message, "Check which of the two was contoured twice.")


def _on_one_side(case: Case, x_left: float, x_right: float) -> bool:
    """Whether both lie on one side of the body's middle and of the targets' middle.

    Either middle alone may be off, by an arm or a lateral target.
    """
    middles = [
        _find_box_middle_x_mm([case.body]),
        _find_box_middle_x_mm([case.structures[name] for name in case.targets()]),
    ]
    known = [middle for middle in middles if middle is not None]
    to_the_left = all(min(x_left, x_right) > middle + _SIDE_MM for middle in known)
    to_the_right = all(max(x_left, x_right) < middle - _SIDE_MM for middle in known)
    return bool(known) and (to_the_left or to_the_right)


def _find_box_middle_x_mm(structures: list[Structure]) -> float | None:
    boxes = [bounds_mm(s) for s in structures if s.shape is not None and volume_cc(s) > 0]
    if not boxes:
        return None
    return (min(low[2] for low, _ in boxes) + max(high[2] for _, high in boxes)) / 2


def _find_middle_x_mm(structure: Structure) -> float | None:
    """Return x of the centroid; holes of contours count as filled, which moves it by less than is asked here."""
    shape = structure.shape
    if isinstance(shape, Volume):
        along_x = shape.array.sum(axis=(0, 1), dtype=np.float64)
        return float(along_x @ shape.grid.axis_mm(2) / along_x.sum()) if along_x.any() else None
    if not isinstance(shape, Contours):
        return None
    weighted = total = 0.0
    for plane in shape.planes:
        for polygon in plane.polygons:
            y, x = (polygon - polygon[0]).T
            crossed = x * np.roll(y, -1) - np.roll(x, -1) * y
            area = float(crossed.sum()) / 2
            moment = float(((x + np.roll(x, -1)) * crossed).sum()) / 6
            weighted += abs(area) * float(polygon[0, 1]) + (moment if area > 0 else -moment)
            total += abs(area)
    return weighted / total if total > 0 else None
