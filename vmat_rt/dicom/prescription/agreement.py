"""Whether a plan and the CT mean one patient in one place: position, frame of reference, isocentre."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vmat_rt.dicom.ct.read import CtSeries
from vmat_rt.dicom.plan import Plan
from vmat_rt.errors import Problem, warning
from vmat_rt.grid import Grid

_LEAVE_OUT = "Check which is right, and export the plan again or leave it out."
_OWN_PLAN = "Add the plan that was made on this CT, or leave the plan out and give doses with --prescription."


def agreement_problems(plan: Plan | None, ct: CtSeries | None) -> tuple[Problem, ...]:
    """A warning for each thing on which plan and CT contradict each other; none where one of them does not say it."""
    if plan is None or ct is None:
        return ()
    return (
        *_position(plan.patient_position, ct.patient_position),
        *_frame(plan.frame_uid, ct.volume.grid.frame_uid),
        *_isocentre(plan, ct.volume.grid),
    )


def _position(planned: str, imaged: str) -> Iterator[Problem]:
    if not planned or not imaged or planned == imaged:
        return
    message = (
        f"The plan's patient setup says {planned[:16]}, the CT says {imaged[:16]}. "
        f"The plan's gantry angles are read as those of a patient in {planned[:16]}."
    )
    yield warning("PLAN_POSITION", message, _LEAVE_OUT)


def _frame(planned: str, imaged: str) -> Iterator[Problem]:
    if planned and imaged and planned != imaged:
        message = "The plan lies in another frame of reference than the CT; its doses and gantry angles are used."
        yield warning("PLAN_OTHER_FRAME", message, _OWN_PLAN)


def _isocentre(plan: Plan, grid: Grid) -> Iterator[Problem]:
    """Beams turn round a point inside the patient; one outside the image belongs to other coordinates."""
    low, high = (np.array(face) for face in grid.bounds_mm)
    outside = [xyz for xyz in plan.isocentres_mm if np.any(xyz[::-1] < low) or np.any(xyz[::-1] > high)]
    if outside:
        place = ", ".join(f"{value:.1f}" for value in outside[0])
        message = f"The plan's isocentre ({place} mm) lies outside the CT; its doses and gantry angles are used."
        yield warning("PLAN_ISOCENTRE", message, _OWN_PLAN)
