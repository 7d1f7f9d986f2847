"""RTPLAN -> prescription by ROI, fractions and gantry angles. Photon and electron plans only; others are named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from vmat_rt.dicom.attributes import Attributes, readable_header
from vmat_rt.dicom.files import Kind, kind_of, read_whole
from vmat_rt.dicom.gantry import COARSE_STEP_DEG, FEWEST_IN_ARC
from vmat_rt.dicom.prescription.planned import PlannedDoses, read_planned_doses
from vmat_rt.errors import InputError, Problem, listed, warning

_ION_PLAN = "1.2.840.10008.5.1.4.1.1.481.8"
_ARC_STEP_DEG = 10.0
_TURNING = {"CW", "CC"}
_ROUNDING_DEG = 0.05  # machines give angles to a tenth of a degree
_IMAGING = {"SETUP", "TREATMENT_BEAM_DRR", "OPEN_PORTFILM", "TRMT_PORTFILM", "MACHINE_QA"}
_NOT_TREATING = {"VERIFICATION", "MACHINE_QA", "SERVICE"}


@dataclass(frozen=True)
class Plan:
    """What an RTPLAN says that a prediction needs.

    doses: what it prescribes, as far as that can be read in one way. gantry_angles_deg: IEC 61217 directions of the
    treatment beams as written, ascending; an arc stands as its control points where these are 3 to 10 degrees apart,
    else as the multiples of 10 degrees that it passes. patient_position: of the patient setup, or "". isocentres_mm:
    (x, y, z) of the treatment beams. frame_uid: the frame of reference that these lie in, or "".
    """

    sop_uid: str
    header: Dataset
    doses: PlannedDoses
    gantry_angles_deg: tuple[float, ...]
    structure_set_uid: str
    patient_position: str = ""
    problems: tuple[Problem, ...] = ()
    isocentres_mm: tuple[tuple[float, float, float], ...] = ()
    frame_uid: str = ""

    @property
    def fractions(self) -> int | None:
        """Fractions of the whole course, None where the plan does not say them in one way."""
        return self.doses.fractions

    @property
    def prescription_gy(self) -> Mapping[int, float]:
        """Total Gy by ROINumber, for dose references that name an ROI."""
        return {r.roi_number: r.dose_gy for r in self.doses.references if r.roi_number is not None}

    @property
    def prescription_by_label_gy(self) -> Mapping[str, float]:
        """Total Gy by description, for dose references that name no ROI."""
        return {r.description: r.dose_gy for r in self.doses.references if r.roi_number is None and r.description}


def read_plan(path: Path) -> Plan:
    """Read an RTPLAN file. Raises InputError when it is none, is damaged, or is a brachytherapy or ion plan."""
    a = read_whole(path, "RTPLAN")
    if kind_of(a.dataset, a.what) is not Kind.PLAN:
        raise InputError(Problem("PLAN_NOT_RTPLAN", f"{path.name!r} is no RTPLAN.", "Give an RTPLAN file."))
    _refuse_other_treatments(a)
    doses = read_planned_doses(a)
    problems = list(doses.problems)
    beams = [beam for beam in a.items("BeamSequence") if beam.text("TreatmentDeliveryType").upper() not in _IMAGING]
    if any(_couch_turned(beam) for beam in beams):
        message = "The plan turns the couch; its beams are taken as coplanar."
        problems.append(warning("PLAN_NONCOPLANAR", message, "Expect a less certain prediction."))
    positions = _positions(a, beams)
    problems += _use_problems(a, positions)
    return Plan(
        sop_uid=a.need_text("SOPInstanceUID"),
        header=readable_header(a.dataset),
        doses=doses,
        gantry_angles_deg=tuple(
            sorted({angle for beam in beams for angle in _directions(beam) or _first_direction(beam)})
        ),
        structure_set_uid=structure_set_of(a),
        patient_position=positions[0] if positions else "",
        problems=tuple(problems),
        isocentres_mm=_isocentres(beams),
        frame_uid=a.text("FrameOfReferenceUID"),
    )


def _positions(a: Attributes, beams: list[Attributes]) -> list[str]:
    """Patient positions of the setups that the beams refer to; of all setups where they refer to none."""
    setups = a.items("PatientSetupSequence")
    meant = {beam.whole("ReferencedPatientSetupNumber") for beam in beams} - {None}
    own = [setup for setup in setups if setup.whole("PatientSetupNumber") in meant] or setups
    return list(dict.fromkeys(position for setup in own if (position := setup.text("PatientPosition").upper())))


def _isocentres(beams: list[Attributes]) -> tuple[tuple[float, float, float], ...]:
    """Different isocentres of the beams, mm, in their order."""
    found: dict[tuple[float, float, float], None] = {}
    for point in (point for beam in beams for point in beam.items("ControlPointSequence")[:1]):
        xyz = point.numbers("IsocenterPosition")
        if xyz is not None and xyz.size == 3:
            found[(float(xyz[0]), float(xyz[1]), float(xyz[2]))] = None
    return tuple(found)


def _use_problems(a: Attributes, positions: list[str]) -> Iterator[Problem]:
    """What says that a plan is not the one that the patient is treated by, or not in one position."""
    intent, status = a.text("PlanIntent").upper(), a.text("ApprovalStatus").upper()
    said = [f"PlanIntent {intent}"] if intent in _NOT_TREATING else []
    said += [f"ApprovalStatus {status}"] if status == "REJECTED" else []
    if said:
        message = f"The plan is not one to treat by: {' and '.join(said)}. Its doses and gantry angles are used."
        yield warning("PLAN_NOT_TREATING", message, "Put the treatment plan in its place, or leave the plan out.")
    if len(positions) > 1:
        message = f"The plan treats in several positions ({listed(positions, 4, 16)}); {positions[0][:16]} is taken."
        yield warning("PLAN_POSITION", message, "Give a plan of one position, or leave it out.")


def structure_set_of(plan: Attributes) -> str:
    """SOPInstanceUID of the RTSTRUCT that a plan was made on, or ""."""
    references = plan.items("ReferencedStructureSetSequence")
    return references[0].text("ReferencedSOPInstanceUID") if references else ""


def _refuse_other_treatments(a: Attributes) -> None:
    kind = None
    radiation = {beam.text("RadiationType").upper() for beam in a.items("BeamSequence")} - {""}
    if a.text("SOPClassUID") == _ION_PLAN or radiation & {"PROTON", "ION"} or a.items("IonBeamSequence"):
        kind = "an ion (or proton) plan"
    elif a.text("BrachyTreatmentType") or a.items("ApplicationSetupSequence"):
        kind = "a brachytherapy plan"
    elif radiation and "PHOTON" not in radiation:
        kind = f"a plan of {', '.join(sorted(radiation)).lower()} beams"
    if kind is not None:
        raise InputError(Problem("PLAN_NOT_PHOTON", f"The RTPLAN is {kind}.", "Give a photon plan, or none."))


def _couch_turned(beam: Attributes) -> bool:
    points = beam.items("ControlPointSequence")
    angle = points[0].number("PatientSupportAngle") if points else None
    return angle is not None and abs((angle + 180) % 360 - 180) > 1.0


@dataclass(frozen=True)
class _Pass:
    """The gantry from one control point to the next. turning: CW, towards larger angles, or CC."""

    start_deg: float
    stop_deg: float
    turning: str

    @property
    def swept_deg(self) -> float:
        return (self.stop_deg - self.start_deg if self.turning == "CW" else self.start_deg - self.stop_deg) % 360.0


def _directions(beam: Attributes) -> set[float]:
    """Gantry angles that stand for a beam: its own for each static one, those of `_arc_directions` for an arc.

    A control point without GantryAngle keeps the one before; GantryRotationDirection holds until the next point
    (PS3.3 C.8.8.14).
    """
    angles: set[float] = set()
    passes: list[_Pass] = []
    angle, turning = None, "NONE"
    for point in beam.items("ControlPointSequence"):
        stated, onward = point.number("GantryAngle"), point.text("GantryRotationDirection").upper()
        following = angle if stated is None else stated % 360.0
        if following is None:
            continue
        if turning in _TURNING and angle is not None:
            passes.append(_Pass(angle, following, turning))
        elif onward not in _TURNING:
            angles.add(following)
        angle, turning = following, onward or turning
    return angles | _arc_directions(passes)


def _arc_directions(passes: list[_Pass]) -> set[float]:
    """The control points' own angles where each lies 3 to 10 degrees after the one before, else multiples of 10.

    Coarse control points are what a plan was computed at; finer ones only cost time, coarser ones leave gaps.
    """
    low, high = COARSE_STEP_DEG
    steps = [one.swept_deg for one in passes]
    if len(steps) >= FEWEST_IN_ARC - 1 and low - _ROUNDING_DEG <= min(steps) and max(steps) <= high + _ROUNDING_DEG:
        return {angle for one in passes for angle in (one.start_deg, one.stop_deg)}
    return {angle for one in passes for angle in _passed(one)}


def _first_direction(beam: Attributes) -> set[float]:
    """For an arc so short that it passes no multiple of 10 degrees."""
    stated = [point.number("GantryAngle") for point in beam.items("ControlPointSequence")]
    return {angle % 360.0 for angle in stated[:1] if angle is not None}


def _passed(one: _Pass) -> Iterator[float]:
    """Multiples of 10 degrees passed from start to stop, both included."""
    low, high = (one.start_deg, one.stop_deg) if one.turning == "CW" else (one.stop_deg, one.start_deg)
    high += 360.0 if high < low else 0.0
    for step in np.arange(np.ceil(low / _ARC_STEP_DEG), np.floor(high / _ARC_STEP_DEG) + 1):
        yield float(step * _ARC_STEP_DEG % 360.0)
