"""A small study as the writers see it: every axis different, in any of the four supported patient positions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from vmat_rt.case import Case, ContourPlane, Contours, ModelIdentity, Prescription, Structure, Volume
from vmat_rt.dicom.write.header import OutputHeader, header_from
from vmat_rt.grid import Grid

ORIENTATIONS = {
    "HFS": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "HFP": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    "FFS": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "FFP": (1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
}
FRAME = "1.2.826.0.1.3680043.8.498.11"
CT_GRID = Grid((9, 22, 31), (3.0, 2.1, 1.7), (-41.5, -120.25, 63.125), FRAME)
DOSE_GRID = Grid((7, 15, 18), (2.5, 3.0, 2.0), (-35.0, -117.3, 70.4), FRAME)
PLAN_UID = "1.2.826.0.1.3680043.8.498.77"
MODEL = ModelIdentity("geometric_head_neck", "1.2", "geometric", "head_neck_70", "5e" * 32, "169 cases")


def ct_header() -> Dataset:
    """First slice of the CT, as the reader keeps it."""
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 100"
    header.SOPClassUID = CTImageStorage
    header.PatientName = "Müller^Jürg"
    header.PatientID = "4711"
    header.PatientBirthDate = "19500228"
    header.PatientSex = "M"
    header.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    header.StudyDate, header.StudyTime = "20240131", "101112"
    header.StudyID = "7"
    header.AccessionNumber = "A1"
    header.PositionReferenceIndicator = "XY"
    return header


def study(position: str = "HFS", header: Dataset | None = None) -> Any:
    """The parts of a Study that header_from reads."""
    ct = SimpleNamespace(
        volume=Volume(CT_GRID, np.zeros(CT_GRID.shape, np.float32)),
        header=header if header is not None else ct_header(),
        orientation=ORIENTATIONS[position],
        patient_position=position,
        series_uid="1.2.826.0.1.3680043.8.498.2",
        sop_uids=tuple(f"1.2.826.0.1.3680043.8.498.2.{i}" for i in range(CT_GRID.shape[0])),
    )
    set_header = Dataset()
    set_header.StructureSetDate, set_header.StructureSetTime = "20240201", "130000"
    structure_set = SimpleNamespace(header=set_header, sop_uid="1.2.826.0.1.3680043.8.498.3", frame_uid=FRAME)
    return SimpleNamespace(key="k", ct=ct, structure_set=structure_set, plan=None, dose=None, problems=())


def header(position: str = "HFS") -> OutputHeader:
    return header_from(study(position))


def dose(grid: Grid = DOSE_GRID, highest_gy: float = 71.3) -> Volume:
    """A dose without any symmetry: every voxel tells where it lies."""
    z, y, x = np.meshgrid(*(np.linspace(0.0, 1.0, n) for n in grid.shape), indexing="ij")
    array = highest_gy * (0.5 * z**2 + 0.3 * y + 0.2 * x) * (1 + 0.2 * np.sin(9 * x) * np.cos(5 * y)) / 1.2
    array[0, 0, 0] = 0.0
    array[-1, -1, -1] = highest_gy
    return Volume(grid, array.astype(np.float32))


def square(z_mm: float, centre: tuple[float, float], side_mm: float) -> ContourPlane:
    """A square contour round (y, x)."""
    half = side_mm / 2
    corners = np.array([(-half, -half), (-half, half), (half, half), (half, -half)]) + centre
    return ContourPlane(z_mm, (corners,))


def case() -> Case:
    """A case with one contoured target of two, and one organ known as voxels."""
    z_mm = CT_GRID.axis_mm(0)[2:6]
    target = Contours(tuple(square(float(z), (-97.0, 90.0), 12.6) for z in z_mm), 3.0, FRAME)
    organ = np.zeros(CT_GRID.shape, np.float32)
    organ[3:7, 4:9, 5:17] = 1.0
    body = np.ones(CT_GRID.shape, np.float32)
    body[:, :2, :] = 0.0
    structures = {
        "PTV_7000": Structure("ptv 70", "PTV_7000", target, 4),
        "Rectum": Structure("rectum", "Rectum", Volume(CT_GRID, organ), 9),
    }
    hounsfield = np.random.default_rng(7).normal(0.0, 200.0, CT_GRID.shape).astype(np.float32)
    return Case(
        key="case-1",
        ct=Volume(CT_GRID, hounsfield),
        structures=structures,
        body=Structure("BODY", "External", Volume(CT_GRID, body), 1),
        prescription=Prescription({"PTV_5600": 56.0, "PTV_7000": 70.0}, 28, "plan"),
        protocol_name="prostate_sib_70_56",
        reference_dose=dose(),
    )
