"""A case written as a study comes back through our reader and the tools of others; the samples stay as built."""

from __future__ import annotations

import filecmp
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from sample_data import build
from tests.dicom import judges, written
from tests.external import REPOSITORY, program, shared_folder
from vmat_rt.case import Case, Contours, Structure, Volume
from vmat_rt.dicom.gantry import seen_supine
from vmat_rt.dicom.study import Study, read_study
from vmat_rt.dicom.write.export import ExportOptions, export_case
from vmat_rt.dicom.write.header import header_from
from vmat_rt.geometry.rasterize import even_odd_mask, fraction, volume_cc

SAMPLES = REPOSITORY / "sample_data"
STATIC_DEG = (0.0, 130.0, 210.0)
# Equally spaced angles: full turns, turns that end short of or beyond the top and the bottom, both ways.
ARCS_DEG = {
    "72 from a random start": [(203.7182 + 5.0 * k) % 360 for k in range(72)],
    "48 on the tenths": [(0.4 + 7.5 * k) % 360 for k in range(48)],
    "55 of odd width": [(17.123456789 + 360 / 55 * k) % 360 for k in range(55)],
    "partial over the top": [(271.3 + 4.5 * k) % 360 for k in range(40)],
    "partial through the bottom": [(100.0 + 3.75 * k) % 360 for k in range(48)],
    "partial downwards": [(40.0 - 4.0 * k) % 360 for k in range(50)],
    "a clinical arc as it is read": [float(a) for a in range(0, 360, 10) if a != 180],
}


def options(position: str) -> ExportOptions:
    return ExportOptions(patient_position=position, compression="rle" if position[0] == "H" else "none")  # type: ignore[arg-type]


def exported(folder: Path, position: str = "HFS", case: Case | None = None) -> Study:
    """The case written and read again."""
    angled = replace(case or written.case(), gantry_angles_deg=STATIC_DEG)
    export_case(angled, folder, options(position))
    return read_study(folder)


def contours_of(study: Study, roi_name: str) -> Contours:
    (roi,) = (roi for roi in study.structure_set.rois if roi.name == roi_name)
    assert roi.contours is not None
    return roi.contours


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


@pytest.mark.parametrize("name", ARCS_DEG)
@pytest.mark.parametrize("position", ["HFS", "FFP"])
def test_an_arc_comes_back_with_its_angles(tmp_path: Path, name: str, position: str) -> None:
    angles = tuple(ARCS_DEG[name])
    export_case(replace(written.case(), gantry_angles_deg=angles), tmp_path, options(position))
    (beam,) = pydicom.dcmread(tmp_path / "RTPLAN.dcm").BeamSequence
    assert (beam.BeamType, beam.NumberOfControlPoints) == ("DYNAMIC", len(angles))
    plan = read_study(tmp_path).plan
    assert plan is not None
    seen = sorted(seen_supine(angle, position) for angle in plan.gantry_angles_deg)
    assert seen == pytest.approx(sorted(angles), abs=1e-8)


@pytest.mark.parametrize("name", ARCS_DEG)
def test_control_points_follow_each_other_as_a_machine_turns(tmp_path: Path, name: str) -> None:
    """PS3.3 C.8.8.14: meterset from 0 to the final weight, direction at the first and last point, one way round."""
    export_case(replace(written.case(), gantry_angles_deg=tuple(ARCS_DEG[name])), tmp_path, options("HFS"))
    (beam,) = pydicom.dcmread(tmp_path / "RTPLAN.dcm").BeamSequence
    points = beam.ControlPointSequence
    angles = np.array([float(point.GantryAngle) for point in points])
    turning = points[0].GantryRotationDirection
    assert turning == ("CC" if "downwards" in name else "CW")
    steps = np.diff(angles) % 360 if turning == "CW" else -np.diff(angles) % 360
    step = np.median(steps)
    rest = 360 - steps.sum()
    assert rest >= step - 1e-6
    if rest < 2.5 * step:  # a full turn keeps off the stop at 180
        assert angles[0] > 180
        assert angles[-1] <= 180
    weights = [float(point.CumulativeMetersetWeight) for point in points]
    assert weights == pytest.approx(np.linspace(0, float(beam.FinalCumulativeMetersetWeight), len(points)))
    assert [point.ControlPointIndex for point in points] == list(range(len(points)))
    assert points[-1].GantryRotationDirection == "NONE"
    assert not any("GantryRotationDirection" in point for point in points[1:-1])


@pytest.mark.parametrize(
    "angles",
    [
        [40.0 * k for k in range(9)],  # OpenKBP's fields
        [0.0, 5.0, 10.0, 15.0, 20.0],  # too few
        [20.0 * k for k in range(18)],  # too coarse
        [5.0 * k for k in range(20)] + [200.0 + 5.0 * k for k in range(20)],  # two gaps
        [5.0 * k + 0.3 * (k % 2) for k in range(40)],  # unequal
    ],
)
def test_other_directions_stay_static_beams(tmp_path: Path, angles: list[float]) -> None:
    export_case(replace(written.case(), gantry_angles_deg=tuple(angles)), tmp_path, options("HFS"))
    dataset = pydicom.dcmread(tmp_path / "RTPLAN.dcm")
    assert {beam.BeamType for beam in dataset.BeamSequence} == {"STATIC"}
    assert [float(beam.ControlPointSequence[0].GantryAngle) for beam in dataset.BeamSequence] == angles
    plan = read_study(tmp_path).plan
    assert plan is not None
    assert plan.gantry_angles_deg == tuple(sorted(angles))


def simulated(folder: Path) -> Path:
    case = replace(written.case(), gantry_angles_deg=tuple(ARCS_DEG["72 from a random start"]))
    export_case(case, folder, ExportOptions(description="prostate", body_part="PELVIS", simulated=True))
    return folder


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


def test_voxels_keep_their_volume_and_their_place(tmp_path: Path) -> None:
    study = exported(tmp_path)
    rectum = written.case().structures["Rectum"]
    assert isinstance(rectum.shape, Volume)
    seen = contours_of(study, "rectum")
    assert volume_cc(Structure("rectum", None, seen)) == pytest.approx(volume_cc(rectum), rel=0.001)
    assert np.array_equal(even_odd_mask(seen, study.ct.volume.grid), rectum.shape.array > 0.5)  # type: ignore[union-attr]


@pytest.mark.parametrize("voxels", [1, 2, 5])
def test_the_smallest_structures_keep_their_volume(tmp_path: Path, voxels: int) -> None:
    mask = np.zeros(written.CT_GRID.shape, np.float32)
    mask[4, 10, 7 : 7 + voxels] = 1.0
    tiny = Structure("cochlea", None, Volume(written.CT_GRID, mask))
    study = exported(tmp_path, case=replace(written.case(), unmapped=(tiny,)))
    # One plane stands for one slice.
    fractions = fraction(contours_of(study, "cochlea"), study.ct.volume.grid)  # type: ignore[union-attr]
    assert fractions.sum() == pytest.approx(voxels, rel=0.01)


def test_smooth_fractions_keep_their_volume(tmp_path: Path) -> None:
    z, y, x = np.meshgrid(*(written.CT_GRID.axis_mm(a) for a in range(3)), indexing="ij")
    depth = 7.0 - np.sqrt((z + 29.5) ** 2 + (y + 98.0) ** 2 + (x - 88.0) ** 2)
    ball = Volume(written.CT_GRID, np.clip(0.5 + depth / 2.0, 0.0, 1.0).astype(np.float32))
    study = exported(tmp_path, case=replace(written.case(), unmapped=(Structure("ball", None, ball),)))
    seen = volume_cc(Structure("ball", None, contours_of(study, "ball")))
    assert seen == pytest.approx(float(ball.array.sum()) * written.CT_GRID.voxel_cc, rel=0.01)


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


def test_rois_have_the_types_that_planning_systems_know(tmp_path: Path) -> None:
    study = exported(tmp_path)
    types = {roi.name: roi.interpreted_type for roi in study.structure_set.rois}
    assert types == {"ptv 70": "PTV", "rectum": "ORGAN", "BODY": "EXTERNAL"}


def same_files(one: Path, other: Path) -> bool:
    """Whether two folders hold the same DICOM files, byte for byte."""
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*.dcm"))
    assert names == sorted(str(path.relative_to(other)) for path in other.rglob("*.dcm"))
    _, different, failed = filecmp.cmpfiles(one, other, names, shallow=False)
    return bool(names) and not different and not failed


def test_the_simulated_patient_is_rebuilt_byte_for_byte(tmp_path: Path) -> None:
    build.build_prostate(tmp_path)
    assert same_files(tmp_path / "prostate_simulated", SAMPLES / "prostate_simulated")


def test_the_head_and_neck_sample_is_rebuilt_byte_for_byte(tmp_path: Path) -> None:
    build.build_head_neck(tmp_path, shared_folder("openkbp"))
    assert same_files(tmp_path / "head_neck_openkbp", SAMPLES / "head_neck_openkbp")


def test_the_head_and_neck_sample_is_the_openkbp_patient() -> None:
    case = build.head_neck_case(shared_folder("openkbp"))
    study = read_study(SAMPLES / "head_neck_openkbp")
    assert study.dose is not None
    whole = np.sum(case.reference_dose.array, dtype=np.float64)
    assert np.sum(study.dose.volume.array, dtype=np.float64) == pytest.approx(whole, rel=1e-5)
    for structure in case.structures.values():
        seen = volume_cc(Structure("", None, contours_of(study, structure.roi_name)))
        assert seen == pytest.approx(volume_cc(structure), rel=0.01), structure.roi_name


@pytest.mark.parametrize("name", ["prostate_simulated", "head_neck_openkbp"])
def test_plastimatch_fills_the_contours_of_the_samples_alike(tmp_path: Path, name: str) -> None:
    study = read_study(SAMPLES / name)
    assert study.ct is not None
    masks = judges.masks_by_plastimatch(SAMPLES / name, tmp_path)
    for roi in study.structure_set.rois:
        assert roi.contours is not None
        ours, theirs = even_odd_mask(roi.contours, study.ct.volume.grid), masks[roi.name]
        # The rest is pixel centres that lie on a contour.
        assert 2 * np.count_nonzero(ours & theirs) >= 0.995 * (ours.sum() + theirs.sum()), roi.name


def test_samples_are_small_and_valid() -> None:
    files = sorted(SAMPLES.rglob("*.dcm"))
    assert sum(path.stat().st_size for path in files) < 15e6
    for path in [path for path in files if path.parent.name != "CT" or path.name == "CT_0001.dcm"]:
        assert judges.dciodvfy_errors(path) == [], path.name
