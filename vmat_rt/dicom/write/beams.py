"""Gantry angles -> beams of an RTPLAN without monitor units or leaves (PS3.3 C.8.8.12 and C.8.8.14).

They tell a reader from where the patient was irradiated, and no more: jaws wide open, nothing to deliver. Angles that
follow each other like those of an arc become one arc, others a static beam each.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydicom.dataset import Dataset

from vmat_rt.case import Case, Contours, Structure, Volume
from vmat_rt.dicom.gantry import on_machine
from vmat_rt.dicom.write.arc import Arc, arc_control_points, find_arc
from vmat_rt.dicom.write.layout import decimal_string, decimal_strings


def add_beams(plan: Dataset, case: Case, patient_position: str) -> None:
    """Add open photon beams for the case's gantry angles to a beamless plan of `plan_dataset`."""
    isocentre = _isocentre_xyz(case)
    setup = Dataset()
    setup.PatientSetupNumber = 1
    setup.PatientPosition = patient_position
    plan.PatientSetupSequence = [setup]
    angles = tuple(on_machine(angle, patient_position) for angle in case.gantry_angles_deg)
    arc = find_arc(angles)
    if arc is not None:
        plan.BeamSequence = [_arc_beam(arc, isocentre)]
    else:
        plan.BeamSequence = [_static_beam(number, angle, isocentre) for number, angle in enumerate(angles, 1)]
    numbers = [beam.BeamNumber for beam in plan.BeamSequence]
    group = plan.FractionGroupSequence[0]
    group.NumberOfBeams = len(numbers)
    group.ReferencedBeamSequence = [_referenced_beam(number) for number in numbers]


def _isocentre_xyz(case: Case) -> list[str]:
    """Middle of the targets' extent, or of the CT where none is contoured, as IsocenterPosition."""
    corners = [corner for name in case.targets() for corner in _corners_mm(case.structures[name])]
    centre = (np.min(corners, axis=0) + np.max(corners, axis=0)) / 2 if corners else np.array(case.ct.grid.centre_mm)
    return decimal_strings(np.round(centre[::-1], 3))


def _corners_mm(structure: Structure) -> list[tuple[float, float, float]]:
    """Lower and upper corner (z, y, x) of each plane, or of the voxels, that a structure fills."""
    shape = structure.shape
    if isinstance(shape, Contours):
        boxes = [(plane.z_mm, np.vstack(plane.polygons)) for plane in shape.planes]
        return [(z, float(y), float(x)) for z, ends in boxes for y, x in (ends.min(axis=0), ends.max(axis=0))]
    if isinstance(shape, Volume) and shape.array.any():
        indices = np.argwhere(shape.array > 0)
        ends = np.array([indices.min(axis=0), indices.max(axis=0)]) * shape.grid.spacing_mm + shape.grid.origin_mm
        return [(float(z), float(y), float(x)) for z, y, x in ends]
    return []


def _static_beam(number: int, angle_deg: float, isocentre_xyz: list[str]) -> Dataset:
    points = [_first_control_point(angle_deg, isocentre_xyz), _last_control_point()]
    return _beam(number, f"G{angle_deg:.0f}", "STATIC", points)


def _arc_beam(arc: Arc, isocentre_xyz: list[str]) -> Dataset:
    points = arc_control_points(arc, _first_control_point(arc.angles_deg[0], isocentre_xyz))
    beam = _beam(1, f"{arc.turning} {arc.angles_deg[0]:.0f}-{arc.angles_deg[-1]:.0f}", "DYNAMIC", points)
    beam.BeamDescription = f"Ideal fluence at {len(points)} gantry angles, no MLC"
    return beam


def _beam(number: int, name: str, kind: Literal["STATIC", "DYNAMIC"], points: list[Dataset]) -> Dataset:
    beam = Dataset()
    beam.BeamNumber = number
    beam.BeamName = name
    beam.BeamType = kind
    beam.RadiationType = "PHOTON"
    beam.TreatmentDeliveryType = "TREATMENT"
    beam.TreatmentMachineName = ""
    beam.PrimaryDosimeterUnit = "MU"
    beam.SourceAxisDistance = 1000
    beam.NumberOfWedges = beam.NumberOfCompensators = beam.NumberOfBoli = beam.NumberOfBlocks = 0
    beam.FinalCumulativeMetersetWeight = 1
    beam.ReferencedPatientSetupNumber = 1
    beam.BeamLimitingDeviceSequence = [_open_jaw(axis) for axis in ("X", "Y")]
    beam.NumberOfControlPoints = len(points)
    beam.ControlPointSequence = points
    return beam


def _open_jaw(axis: str) -> Dataset:
    jaw = Dataset()
    jaw.RTBeamLimitingDeviceType = axis
    jaw.NumberOfLeafJawPairs = 1
    return jaw


def _first_control_point(angle_deg: float, isocentre_xyz: list[str]) -> Dataset:
    point = Dataset()
    point.ControlPointIndex = 0
    point.CumulativeMetersetWeight = 0
    point.GantryAngle = decimal_string(angle_deg)
    point.BeamLimitingDeviceAngle = point.PatientSupportAngle = point.TableTopEccentricAngle = 0
    point.GantryRotationDirection = point.BeamLimitingDeviceRotationDirection = "NONE"
    point.PatientSupportRotationDirection = point.TableTopEccentricRotationDirection = "NONE"
    point.TableTopVerticalPosition = point.TableTopLongitudinalPosition = point.TableTopLateralPosition = None
    point.IsocenterPosition = isocentre_xyz
    point.BeamLimitingDevicePositionSequence = [_jaw_position(axis) for axis in ("X", "Y")]
    return point


def _last_control_point() -> Dataset:
    point = Dataset()
    point.ControlPointIndex = 1
    point.CumulativeMetersetWeight = 1
    return point


def _jaw_position(axis: str) -> Dataset:
    position = Dataset()
    position.RTBeamLimitingDeviceType = f"{axis}"
    position.LeafJawPositions = [-200, 200]
    return position


def _referenced_beam(number: int) -> Dataset:
    beam = Dataset()
    beam.ReferencedBeamNumber = number
    return beam
