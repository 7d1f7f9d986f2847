"""A small pelvis for the store's tests: every axis different, contours and voxels, an identity to be left behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vmat_rt.bundle import GridRule
from vmat_rt.case import Case, ContourPlane, Contours, Prescription, Structure, Volume
from vmat_rt.cohort.record import CaseOrigin, CaseRecord, describe
from vmat_rt.cohort.settings import CohortSettings, Provenance
from vmat_rt.cohort.store import Cohort
from vmat_rt.errors import warning
from vmat_rt.grid import Triple, centred_grid

FRAME = "1.2.826.0.1.3680043.8.498.77777777"
CENTRE: Triple = (-412.5, 31.7, -18.3)
CT_GRID = centred_grid((34, 90, 110), (3.0, 2.1, 1.7), CENTRE, FRAME)
DOSE_GRID = centred_grid((25, 45, 47), (4.0, 4.1, 3.9), (CENTRE[0] + 1.3, CENTRE[1] - 0.7, CENTRE[2] + 0.4), FRAME)
RULE = GridRule(kind="fixed", shape=(24, 40, 44), spacing_mm=(3.5, 3.25, 3.75))
SETTINGS = CohortSettings(
    name="pelvis",
    protocol="prostate_sib_70_56",
    grid=RULE,
    provenance=Provenance(data="procedural", licence="Apache-2.0", simulated=True, command="vmat-rt cohort simulate"),
)
IDENTITY = ("Smith", "19620403", "hospital", "77777777", "Jones", "Brown")

# (centre offset y, x), (half width y, x), (low z, high z), mm from CENTRE
_ELLIPSES = {
    "External": ((0.0, 0.0), (85.0, 88.0), (-51.0, 51.0)),
    "PTV_7000": ((-3.0, 2.0), (21.0, 25.0), (-24.0, 21.0)),
    "PTV_5600": ((0.0, 1.0), (26.0, 31.0), (-27.0, 33.0)),
    "Rectum": ((34.0, -2.0), (14.0, 16.0), (-45.0, 44.0)),
    "Bladder": ((-38.0, 4.0), (19.0, 27.0), (6.0, 48.0)),
}


def ellipse(name: str, slab_mm: float = 3.0) -> Contours:
    (cy, cx), (ry, rx), (low, high) = _ELLIPSES[name]
    turn = np.linspace(0, 2 * np.pi, 70, endpoint=False)
    polygon = np.stack([CENTRE[1] + cy + ry * np.sin(turn), CENTRE[2] + cx + rx * np.cos(turn)], axis=1)
    planes = np.arange(low + slab_mm / 2, high, slab_mm) + CENTRE[0]
    return Contours(tuple(ContourPlane(float(z), (polygon,)) for z in planes), slab_mm, FRAME)


def pelvis(shift_mm: float = 0.0, with_external: bool = True) -> Case:
    """HU with fractions of a unit, contours that no grid fits, a dose on a grid of its own, and names that identify."""
    random = np.random.default_rng(7)
    y, x = (CT_GRID.axis_mm(axis) - CENTRE[axis] for axis in (1, 2))
    radius = np.sqrt((y[:, None] / 85) ** 2 + (x / 88) ** 2)[None]
    noise = random.normal(0, 15, CT_GRID.shape)
    ct = np.where(radius < 1, 40 + noise, -1000.0).astype(np.float32)
    structures = {
        name: Structure(f"{name} of Smith", name, ellipse(name), number)
        for number, name in enumerate(_ELLIPSES)
        if name != "External"
    }
    body = Structure("BODY Smith", "External", ellipse("External"))
    if with_external:
        structures["External"] = body
    dz, dy, dx = (DOSE_GRID.axis_mm(axis) - CENTRE[axis] - shift_mm for axis in range(3))
    far = np.sqrt((dz[:, None, None] / 30) ** 2 + (dy[:, None] / 28) ** 2 + (dx / 33) ** 2)
    dose = (73 / (1 + np.exp(9 * (far - 1.15)))).astype(np.float32)
    return Case(
        key="SMITH_JOHN_19620403",
        ct=Volume(CT_GRID, ct),
        structures=structures,
        body=body,
        prescription=Prescription({"PTV_7000": 70.0, "PTV_5600": 56.0}, 28, "RTPLAN_OF_JONES by Dr Brown"),
        protocol_name="prostate_sib_70_56",
        unmapped=(Structure("Smith_private", None, ellipse("Rectum")),),
        reference_dose=Volume(DOSE_GRID, dose),
        gantry_angles_deg=(0.0, 51.5, 200.25),
        problems=(warning("FOREIGN_FILES", "Plan of Smith in /data/hospital", "Ask Dr Brown"),),
    )


def record_of(case: Case, key: str = "c0001", patient: str = "p0001") -> CaseRecord:
    return describe(case, CaseOrigin(key=key, patient=patient, source="dicom", provenance={"version": "0.1.0"}))


def small_cohort(folder: Path | str, keys: tuple[str, ...] = ("c0001",)) -> Cohort:
    cohort = Cohort.create(folder, SETTINGS)
    for key in keys:
        case = pelvis()
        cohort.add(case, record_of(case, key))
    return cohort
