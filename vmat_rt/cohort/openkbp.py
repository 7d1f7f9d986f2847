"""OpenKBP patients (Babier et al., Med. Phys. 48(9), 5549-5561, 2021) as cases, and doses back on their axes.

OpenKBP arrays are 128 x 128 x 128 with axis 0 from front to back, axis 1 from the patient's right to left and axis 2
from head to feet; a Case has (z, y, x) in LPS, so z is axis 2 turned round, y axis 0 and x axis 1. Positions in the
room are not published: the origin is zero. CT values are HU + 1000, with 0 also where the surroundings were blanked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Case, FloatArray, Prescription, Structure, Volume
from vmat_rt.errors import InputError, Problem
from vmat_rt.geometry.body import find_body
from vmat_rt.grid import Grid

SHAPE = (128, 128, 128)
PROTOCOL = "head_neck_70"
FRACTIONS = 35
HIGHEST_CT = 4095  # a few patients carry 16-bit values of metal
NAMES = {
    "Brainstem": "Brainstem",
    "SpinalCord": "SpinalCord",
    "RightParotid": "Parotid_R",
    "LeftParotid": "Parotid_L",
    "Esophagus": "Esophagus",
    "Larynx": "Larynx",
    "Mandible": "Bone_Mandible",
    "PTV56": "PTV_5600",
    "PTV63": "PTV_6300",
    "PTV70": "PTV_7000",
}
DOSE_GY = {"PTV_7000": 70.0, "PTV_6300": 63.0, "PTV_5600": 56.0}


@dataclass(frozen=True)
class OpenKbpPatient:
    """The arrays of one patient in OpenKBP's axes and units; masks by OpenKBP name, only of contoured structures."""

    ct: NDArray[np.generic]
    possible_dose_mask: NDArray[np.bool_]
    masks: Mapping[str, NDArray[np.bool_]]
    spacing_mm: tuple[float, float, float]
    dose: NDArray[np.float32] | None = None

    @staticmethod
    def from_arrays(arrays: Mapping[str, Any]) -> OpenKbpPatient:
        """Make a patient from a mapping with the fields' names, as the reader of the compact files returns it."""
        return OpenKbpPatient(
            arrays["ct"],
            arrays["possible_dose_mask"],
            arrays["masks"],
            arrays["spacing_mm"],
            arrays.get("dose"),
        )


def to_patient_axes(array: NDArray[Any]) -> NDArray[Any]:
    """OpenKBP (front-back, right-left, head-feet) -> (z, y, x) in LPS."""
    return np.ascontiguousarray(array.transpose(2, 0, 1)[::-1])


def to_openkbp_axes(array: NDArray[Any]) -> NDArray[Any]:
    """(z, y, x) in LPS -> OpenKBP (front-back, right-left, head-feet), for its scorers and CSV files."""
    return np.ascontiguousarray(array[::-1].transpose(1, 2, 0))


def make_openkbp_case(patient: OpenKbpPatient, key: str) -> Case:
    """The patient as a Case of protocol head_neck_70; the angles are the protocol's.

    body holds the voxels that can carry dose, OpenKBP's possible_dose_mask: for some patients about the outline, for
    some a cloud round the beams, for some couch and air too. structures["External"] is the outline found in CT.
    Raises InputError when no target is contoured (NO_TARGET) or no patient is found in the CT (NO_BODY).
    """
    spacing = (float(patient.spacing_mm[2]), float(patient.spacing_mm[0]), float(patient.spacing_mm[1]))
    grid = Grid((SHAPE[2], SHAPE[0], SHAPE[1]), spacing, (0.0, 0.0, 0.0), "openkbp")
    ct = np.clip(to_patient_axes(patient.ct), 0, HIGHEST_CT).astype(np.float32) - np.float32(1000)
    possible = to_patient_axes(patient.possible_dose_mask).astype(bool)
    structures = {}
    for theirs, ours in NAMES.items():
        mask = patient.masks.get(theirs)
        if mask is not None and mask.any():
            structures[ours] = _make_structure(grid, theirs, ours, to_patient_axes(mask))
    prescribed = {name: dose for name, dose in DOSE_GY.items() if name in structures}
    if not prescribed:
        raise InputError(Problem("NO_TARGET", "None of PTV56, PTV63 and PTV70 has a voxel.", "Leave the patient out."))
    structures["External"] = Structure("outline", "External", find_body(Volume(grid, ct)))
    dose = None if patient.dose is None else Volume(grid, to_patient_axes(patient.dose).astype(np.float32))
    return Case(
        key=key,
        ct=Volume(grid, ct),
        structures=structures,
        body=_make_structure(grid, "possible_dose_mask", "External", possible),
        prescription=Prescription(prescribed, FRACTIONS, "OpenKBP"),
        protocol_name=PROTOCOL,
        reference_dose=dose,
    )


def _make_structure(grid: Grid, roi_name: str, name: str, mask: NDArray[np.bool_]) -> Structure:
    fraction: FloatArray = mask.astype(np.float32)
    return Structure(roi_name, name, Volume(grid, fraction))


def read_csv_patient(folder: Path) -> OpenKbpPatient:
    """Read a patient folder in OpenKBP's published layout: one CSV file per volume, of flat C-order indices; masks have
    no values.

    ct.csv, possible_dose_mask.csv and voxel_dimensions.csv must be there; dose.csv is read when it is. Raises
    InputError that names the files that are missing, or the one with indices outside the grid.
    """
    needed = ("ct.csv", "possible_dose_mask.csv", "voxel_dimensions.csv")
    absent = [name for name in needed if not (folder / name).is_file()]
    if absent:
        message = f"The patient folder lacks {', '.join(absent)}."
        raise InputError(Problem("OPENKBP_FILE", message, "Give the folder pt_N with all CSV files of the patient."))
    masks = {name: _read_mask(folder / f"{name}.csv") for name in NAMES if (folder / f"{name}.csv").is_file()}
    spacing = np.loadtxt(folder / "voxel_dimensions.csv", ndmin=1)
    if spacing.shape != (3,) or not np.all(np.isfinite(spacing) & (spacing > 0)):
        message = f"voxel_dimensions.csv holds {spacing.size} values, not three positive lengths in mm."
        raise InputError(Problem("OPENKBP_FILE", message, "Copy the file again from the published data."))
    dose = _read_values(folder / "dose.csv") if (folder / "dose.csv").is_file() else None
    return OpenKbpPatient(
        ct=_read_values(folder / "ct.csv"),
        possible_dose_mask=_read_mask(folder / "possible_dose_mask.csv"),
        masks=masks,
        spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        dose=None if dose is None else dose.astype(np.float32),
    )


def _read_values(path: Path) -> NDArray[np.float64]:
    table = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    out = np.zeros(SHAPE)
    out.ravel()[_check_indices(path, table[:, 0])] = table[:, 1]
    return out


def _read_mask(path: Path) -> NDArray[np.bool_]:
    # A structure without voxels is a file with the heading alone; values after the comma are empty.
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    indices = np.array([float(line.partition(",")[0]) for line in lines if line.strip()])
    out = np.zeros(SHAPE, bool)
    out.ravel()[_check_indices(path, indices)] = True
    return out


def _check_indices(path: Path, indices: NDArray[np.float64]) -> NDArray[np.intp]:
    whole = indices.astype(np.intp)
    if np.any(whole != indices) or np.any(whole < 0) or np.any(whole >= np.prod(SHAPE)):
        message = f"{path.name} holds indices that are not voxels of a grid of {SHAPE[0]} x {SHAPE[1]} x {SHAPE[2]}."
        raise InputError(Problem("OPENKBP_FILE", message, "Copy the file again from the published data."))
    return whole
