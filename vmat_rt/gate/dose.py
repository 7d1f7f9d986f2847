"""Whether the dose of a case is the whole plan's, in Gy, on these structures.

A wrong dose (of one beam, of one fraction, in other units, ending within the target) would be learnt, or compared
with, as it is. What is unusual but may be true of a patient (a cold target) is a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from vmat_rt.case import Case, Prescription, Structure, Volume
from vmat_rt.errors import Problem, warning
from vmat_rt.geometry.rasterize import volume_cc, volume_inside_cc
from vmat_rt.metrics.dvh.compute import Dvh, compute_dvhs
from vmat_rt.metrics.dvh.coverage import find_hottest_crossed_face_gy

COVERED: Final = 0.999
"""Part of a target that must lie in the dose grid: the rest is rounding of its edge."""
OF_ONE_FRACTION: Final = 0.15
"""How near a median dose must come to that of one fraction, as a part of it."""
WHOLE_PLAN_RATIO: Final = (0.6, 1.5)
"""Median dose of the highest target over its prescription: below nobody plans, so a beam or a phase is missing."""
USUAL_D95: Final = (0.90, 1.10)
"""D95 of a target over its prescription. A lower-dose target that lies within a higher one may exceed this."""
_HOT_FACE: Final = 0.2
_EXPORT_SUM: Final = "Export the RTDOSE of the whole plan (DoseSummationType PLAN), in Gy over all fractions."


def dose_problems(case: Case) -> Iterator[Problem]:
    """What stands against the case's reference dose: errors for one that is not the plan's, warnings for odd ones."""
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
    wrong = scale_problem(*ordered[0], case.prescription)
    if wrong is not None:
        yield wrong
        return
    yield from d95_problems(ordered, case.prescription)
    yield from _check_edges(case, dose)


def reference_problem(case: Case) -> Problem | None:
    """What makes the case's reference dose another thing than the dose of its whole plan, if anything."""
    name = next(iter(case.targets()), None)
    if case.reference_dose is None or name is None:
        return None
    target = case.structures[name]
    (dvh,) = compute_dvhs([target], case.reference_dose, metrics=("D95%", "D50%")).values()
    return scale_problem(target, dvh, case.prescription)


def _check_coverage(targets: list[Structure], dose: Volume) -> Iterator[Problem]:
    for target in targets:
        whole_cc = volume_cc(target)
        inside_cc = volume_inside_cc(target, dose.grid)
        if inside_cc < COVERED * whole_cc:
            missing = 100 * (1 - inside_cc / whole_cc)
            message = f"{missing:.1f} % of {target.name} ({whole_cc - inside_cc:.2g} cc) lie outside the dose grid."
            yield Problem("TARGET_NOT_COVERED", message, "Compute the dose on a grid that holds all targets.")


def scale_problem(target: Structure, dvh: Dvh, prescription: Prescription) -> Problem | None:
    """Whether a dose is that of one fraction or beam, or in other units, by its median in the highest target.

    That of one beam is spread over the target, so D95 alone would tell less.
    """
    prescribed_gy = prescription.dose_gy[str(target.name)]
    d50, d95 = dvh.value("D50%"), dvh.value("D95%")
    if d50 is None or d95 is None:
        return None
    ratio, fractions = d50 / prescribed_gy, prescription.fractions
    gets = f"{target.name} gets {d50:.4g} Gy (median; D95 {d95:.4g} Gy)"
    if WHOLE_PLAN_RATIO[0] <= ratio <= WHOLE_PLAN_RATIO[1]:
        return None
    if fractions > 1 and abs(ratio * fractions - 1) <= OF_ONE_FRACTION:
        message = f"{gets}: {prescribed_gy:g} Gy in {fractions} fractions are {prescribed_gy / fractions:.3g} Gy each."
        return Problem("DOSE_PER_FRACTION", f"{message} This is the dose of one fraction.", _EXPORT_SUM)
    if ratio < 1:
        message = f"{gets}, {100 * ratio:.0f} % of the {prescribed_gy:g} Gy prescribed: of one beam or phase, not all."
        return Problem("DOSE_SINGLE_BEAM", message, _EXPORT_SUM)
    message = f"{gets}, {ratio:.3g} times the {prescribed_gy:g} Gy prescribed."
    return Problem("DOSE_SCALE", message, _EXPORT_SUM)


def d95_problems(targets: Iterable[tuple[Structure, Dvh]], prescription: Prescription) -> Iterator[Problem]:
    """Warnings for targets whose D95 is far from the prescription: another dose, one in percent, or one beside them."""
    highest_gy = prescription.highest_gy
    for target, dvh in targets:
        prescribed_gy, d95 = prescription.dose_gy[str(target.name)], dvh.value("D95%")
        if d95 is None:
            continue
        most_gy = USUAL_D95[1] * (prescribed_gy if prescribed_gy == highest_gy else highest_gy)
        if not USUAL_D95[0] * prescribed_gy <= d95 <= most_gy:
            percent = 100 * d95 / prescribed_gy
            message = f"D95 of {target.name} is {d95:.4g} Gy, {percent:.1f} % of the {prescribed_gy:g} Gy prescribed."
            yield warning("TARGET_DOSE_UNUSUAL", message, "Check the prescription and whether it is this plan's dose.")


def _check_edges(case: Case, dose: Volume) -> Iterator[Problem]:
    """A dose that ends within the body while it is still high teaches a model that it does."""
    if case.body.shape is None:
        return
    edge_gy, highest_gy = find_hottest_crossed_face_gy(case.body, dose), case.prescription.highest_gy
    if edge_gy > _HOT_FACE * highest_gy:
        message = f"The dose grid ends within the body where the dose is still up to {edge_gy:.3g} Gy."
        yield warning("DOSE_CUT_OFF", message, "Compute the dose on a larger grid; beyond its edge it counts as 0 Gy.")
