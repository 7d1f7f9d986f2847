"""DICOM -> store -> DICOM: what a clinic would see of a case that went through a cohort.

Covers vmat_rt.curation.export.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.dicom import judges
from vmat_rt.bundle import GridRule
from vmat_rt.case import Case, Contours, Structure, Volume
from vmat_rt.cohort.record import CaseOrigin, describe
from vmat_rt.cohort.settings import CohortSettings, Provenance
from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.export import export_stored
from vmat_rt.dicom.load import load_case
from vmat_rt.dicom.study import read_study
from vmat_rt.dicom.write.export import ExportOptions, export_case
from vmat_rt.errors import ConfigError
from vmat_rt.geometry.distance import signed_distance_mm
from vmat_rt.geometry.rasterize import bounds_mm, even_odd_mask, structure_fraction
from vmat_rt.grid import Grid, centred_grid
from vmat_rt.metrics.dvh.compute import compute_dvh
from vmat_rt.phantom.anatomy.patient import simulate_patient
from vmat_rt.protocol import load_protocol

SETTINGS = CohortSettings(
    name="pelvis",
    protocol="prostate_sib_70_56",
    grid=GridRule(kind="fixed", shape=(96, 160, 192), spacing_mm=(2.5, 2.5, 2.5)),
    provenance=Provenance(data="procedural", licence="Apache-2.0", simulated=True, command="tests"),
)
ANGLES_DEG = tuple((203.7 + 5.0 * k) % 360 for k in range(72))


def conformal_dose(case: Case) -> Volume:
    """As plans are: 95 % of each level at the target's surface, half of it 10 mm further out; on a grid of its own.

    Of 3 mm, as clinics compute: read linearly, voxels of 4 mm give 0.3 Gy less than the curve through them, and the
    store, which follows the curve, gives that back.
    """
    z, y, x = case.ct.grid.centre_mm
    grid = centred_grid((78, 84, 84), (2.9, 2.7, 3.1), (z + 0.7, y - 1.1, x + 0.4), case.ct.grid.frame_uid)
    dose_gy = np.zeros(grid.shape, np.float32)
    for name, level_gy in (("PTV_7000", 71.5), ("PTV_5600", 58.0)):
        distance = signed_distance_mm(structure_fraction(case.structures[name], grid), grid, clip_mm=60.0)
        np.maximum(dose_gy, level_gy / (1 + np.exp((distance - 10.0) / 3.3)), out=dose_gy)
    return Volume(grid, dose_gy)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A study of a simulated patient (slices of 3 mm), and the study that a cohort makes of it."""
    root = tmp_path_factory.mktemp("round")
    patient = simulate_patient(1, 0)
    case = replace(patient.case, reference_dose=conformal_dose(patient.case), gantry_angles_deg=ANGLES_DEG)
    export_case(case, root / "before", ExportOptions(simulated=True))
    cohort = Cohort.create(root / "cohort", SETTINGS)
    added = loaded(root / "before")
    cohort.add(added, describe(added, CaseOrigin(key="k1", patient="p1", source="simulated")))
    export_stored(cohort, "k1", root / "after")
    return root / "before", root / "after"


def loaded(folder: Path) -> Case:
    return load_case(read_study(folder), load_protocol("prostate_sib_70_56"))


@pytest.fixture(scope="module")
def cases(folders: tuple[Path, Path]) -> tuple[Case, Case]:
    before, after = (loaded(folder) for folder in folders)
    # The export has a frame of its own, at the same coordinates.
    return before, _in_frame(after, before.ct.grid.frame_uid)


def _in_frame(case: Case, frame_uid: str) -> Case:
    def moved(structure: Structure) -> Structure:
        assert isinstance(structure.shape, Contours)
        return replace(structure, shape=replace(structure.shape, frame_uid=frame_uid))

    assert case.reference_dose is not None
    dose = Volume(replace(case.reference_dose.grid, frame_uid=frame_uid), case.reference_dose.array)
    return replace(case, structures={n: moved(s) for n, s in case.structures.items()}, reference_dose=dose)


def dice(one: Structure, other: Structure, within: Grid) -> float:
    """Of both contour sets on voxels of 0.6 mm (1.5 mm for what is large), as far as the stored grid reaches."""
    boxes = [bounds_mm(structure) for structure in (one, other)]
    low = np.maximum(np.min([box[0] for box in boxes], axis=0), within.bounds_mm[0])
    high = np.minimum(np.max([box[1] for box in boxes], axis=0), within.bounds_mm[1])
    step = 0.6 if np.prod(high - low) < 3e5 else 1.5
    count = np.ceil((high - low) / step).astype(int).tolist()
    grid = centred_grid(
        (count[0], count[1], count[2]), (step, step, step), tuple(((low + high) / 2).tolist()), within.frame_uid
    )
    a, b = (even_odd_mask(s.shape, grid) for s in (one, other))  # type: ignore[arg-type]
    return float(2 * np.count_nonzero(a & b) / (a.sum() + b.sum()))


def test_every_structure_overlaps_itself_by_0975(cases: tuple[Case, Case]) -> None:
    """The least is the seminal vesicles: voxels end squarely, contours where their last planes point to."""
    before, after = cases
    within = replace(after.ct.grid, frame_uid=before.ct.grid.frame_uid)
    assert set(after.structures) == set(before.structures)
    found = {name: dice(before.structures[name], after.structures[name], within) for name in before.structures}
    assert min(found.values()) >= 0.975, found


@pytest.mark.parametrize("target", ["PTV_7000", "PTV_5600"])
def test_d95_stays_within_02_gy(cases: tuple[Case, Case], target: str) -> None:
    values = []
    for case in cases:
        assert case.reference_dose is not None
        values.append(compute_dvh(case.structures[target], case.reference_dose).value("D95%"))
    assert values[0] is not None
    assert values[1] == pytest.approx(values[0], abs=0.2)


def test_prescription_angles_and_slices_stay(cases: tuple[Case, Case]) -> None:
    before, after = cases
    assert after.prescription.dose_gy == before.prescription.dose_gy
    assert after.prescription.fractions == before.prescription.fractions
    assert after.gantry_angles_deg == pytest.approx(sorted(ANGLES_DEG), abs=1e-6)
    slices = before.ct.grid.axis_mm(0)
    held = after.ct.grid.axis_mm(0)
    assert np.abs(slices[:, None] - held).min(axis=0).max() < 1e-3
    assert after.ct.grid.spacing_mm == pytest.approx((before.ct.grid.spacing_mm[0], 2.5, 2.5))


def test_the_study_says_that_it_is_simulated_and_others_accept_it(folders: tuple[Path, Path]) -> None:
    after = folders[1]
    for name in ("CT/CT_0001.dcm", "RTSTRUCT.dcm", "RTPLAN.dcm", "RTDOSE.dcm"):
        file = pydicom.dcmread(after / name)
        assert file.StudyDescription == "SIMULATED - cohort pelvis"
        assert (file.PatientName, file.PatientID) == ("vmat-rt^simulated", "p1")
        assert judges.dciodvfy_errors(after / name) == [], name


def test_a_folder_that_holds_something_is_left_alone(folders: tuple[Path, Path]) -> None:
    before, after = folders
    cohort = Cohort.open(before.parent / "cohort")
    with pytest.raises(ConfigError, match="not empty"):
        export_stored(cohort, "k1", after)
    with pytest.raises(ConfigError, match="no case"):
        export_stored(cohort, "k2", before.parent / "new")
    assert not (before.parent / "new").exists()
