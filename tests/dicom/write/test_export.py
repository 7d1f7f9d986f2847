"""A case written as a study comes back through our reader and the tools of others.

Covers vmat_rt.dicom.write.ct.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from tests.dicom import judges, written
from tests.dicom.write.exports import ARCS_DEG, STATIC_DEG, contours_of, exported, options, same_files, simulated
from tests.external import program
from vmat_rt.case import Contours
from vmat_rt.dicom.gantry import seen_supine
from vmat_rt.dicom.study import read_study
from vmat_rt.dicom.write.export import ExportOptions, export_case
from vmat_rt.dicom.write.header import header_from


@pytest.mark.parametrize("position", sorted(written.ORIENTATIONS))
def test_everything_comes_back_in_its_place(tmp_path: Path, position: str) -> None:
    study = exported(tmp_path, position)
    case = written.case()
    assert study.ct is not None
    assert study.dose is not None
    assert study.plan is not None
    grid = replace(written.CT_GRID, frame_uid=study.ct.volume.grid.frame_uid)
    assert study.ct.volume.grid.same_as(grid)
    assert np.array_equal(study.ct.volume.array, np.rint(case.ct.array))
    assert study.ct.patient_position == position
    target = case.structures["PTV_7000"].shape
    assert isinstance(target, Contours)
    seen = contours_of(study, "ptv 70")
    for before, after in zip(target.planes, seen.planes, strict=True):
        assert before.z_mm == pytest.approx(after.z_mm, abs=1e-6)
        assert before.polygons[0] == pytest.approx(after.polygons[0], abs=1e-3)
    assert study.dose.volume.grid.same_as(replace(written.DOSE_GRID, frame_uid=grid.frame_uid))
    assert np.abs(study.dose.volume.array - written.dose().array).max() < 71.3 / 65535
    assert study.dose.plan_uid == study.plan.sop_uid
    assert study.plan.structure_set_uid == study.structure_set.sop_uid
    assert study.plan.fractions == 28
    assert sorted(seen_supine(angle, position) for angle in study.plan.gantry_angles_deg) == list(STATIC_DEG)
    (number,) = (roi.number for roi in study.structure_set.rois if roi.name == "ptv 70")
    assert study.plan.prescription_gy[number] == 70.0


@pytest.mark.parametrize("position", sorted(written.ORIENTATIONS))
def test_dciodvfy_has_no_error(tmp_path: Path, position: str) -> None:
    export_case(replace(written.case(), gantry_angles_deg=(0.0, 40.0)), tmp_path, options(position))
    for name in ("CT/CT_0001.dcm", "RTSTRUCT.dcm", "RTPLAN.dcm", "RTDOSE.dcm"):
        assert judges.dciodvfy_errors(tmp_path / name) == [], name


@pytest.mark.parametrize("position", sorted(written.ORIENTATIONS))
def test_simpleitk_sees_the_same_ct(tmp_path: Path, position: str) -> None:
    case = written.case()
    export_case(case, tmp_path, options(position))
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "CT"))
    image = sitk.DICOMOrient(sitk.ReadImage(files), "LPS")
    assert image.GetOrigin()[::-1] == pytest.approx(case.ct.grid.origin_mm, abs=1e-4)
    assert image.GetSpacing()[::-1] == pytest.approx(case.ct.grid.spacing_mm, abs=1e-4)
    assert np.array_equal(sitk.GetArrayFromImage(image), np.rint(case.ct.array))


def test_a_simulated_study_says_so_wherever_a_person_looks(tmp_path: Path) -> None:
    files = {path.stem: pydicom.dcmread(path) for path in simulated(tmp_path).rglob("*.dcm")}
    for name, file in files.items():
        assert file.PatientName == "vmat-rt^simulated", name
        assert file.StudyDescription == file.SeriesDescription == "SIMULATED - prostate", name
    plan, dose, structures = (files[name] for name in ("RTPLAN", "RTDOSE", "RTSTRUCT"))
    assert plan.RTPlanLabel == "SIMULATED NO TX"
    assert plan.RTPlanName.startswith("SIMULATED")
    assert "no MLC" in plan.RTPlanDescription
    assert "not deliverable" in plan.RTPlanDescription
    assert "no MLC" in plan.BeamSequence[0].BeamDescription
    assert plan.PlanIntent == "RESEARCH"
    assert dose.DoseComment.startswith("SIMULATED")
    assert structures.StructureSetLabel == "SIMULATED"
    assert plan.ApprovalStatus == structures.ApprovalStatus == "UNAPPROVED"
    assert {file.ContentQualification for file in (plan, dose, structures)} == {"RESEARCH"}


def test_others_accept_a_simulated_arc(tmp_path: Path) -> None:
    simulated(tmp_path)
    for name in ("CT/CT_0001.dcm", "RTSTRUCT.dcm", "RTPLAN.dcm", "RTDOSE.dcm"):
        assert judges.dciodvfy_errors(tmp_path / name) == [], name
    subprocess.run([program("dcmdump"), "+E", str(tmp_path / "RTPLAN.dcm")], check=True, capture_output=True)
    dose = judges.seen_by_plastimatch(tmp_path / "RTDOSE.dcm", tmp_path)
    assert np.abs(dose.dose_gy - written.dose().array).max() < 71.3 / 65535


def test_pymedphys_reads_arc_and_dose_of_a_simulated_study(tmp_path: Path) -> None:
    from pymedphys._dicom.rtplan.core import get_cp_attribute_leaning_on_prior
    from pymedphys.dicom import zyx_and_dose_from_dataset

    simulated(tmp_path)
    (beam,) = pydicom.dcmread(tmp_path / "RTPLAN.dcm").BeamSequence
    seen = get_cp_attribute_leaning_on_prior(beam.ControlPointSequence, "GantryAngle")
    assert sorted(map(float, seen)) == pytest.approx(sorted(ARCS_DEG["72 from a random start"]))
    _, dose_gy = zyx_and_dose_from_dataset(pydicom.dcmread(tmp_path / "RTDOSE.dcm"))
    assert np.abs(dose_gy - written.dose().array).max() < 71.3 / 65535


def test_the_identity_is_made_up_and_the_frame_is_new(tmp_path: Path) -> None:
    made_up = ExportOptions(patient_name="A^B", patient_id="X1", deidentified="by hand", body_part="PELVIS")
    export_case(written.case(), tmp_path, made_up)
    for path in tmp_path.rglob("*.dcm"):
        file = pydicom.dcmread(path)
        assert (file.PatientName, file.PatientID, file.PatientIdentityRemoved) == ("A^B", "X1", "YES")
        assert written.FRAME.encode() not in path.read_bytes()


def test_the_header_of_the_written_study_is_the_one_returned(tmp_path: Path) -> None:
    returned = export_case(written.case(), tmp_path, options("FFS"))
    seen = header_from(read_study(tmp_path))
    assert seen.ct is not None
    assert returned.ct is not None
    assert seen.ct.sop_uids == returned.ct.sop_uids
    assert seen.ct.z_mm == pytest.approx(returned.ct.z_mm)
    assert seen.input_uids == returned.input_uids
    assert seen.orientation == returned.orientation


def test_exporting_again_gives_the_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        export_case(written.case(), tmp_path / name)
    assert same_files(tmp_path / "a", tmp_path / "b")
