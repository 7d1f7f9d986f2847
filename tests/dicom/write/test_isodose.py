"""Isodose structures: closed form for a sphere, then dciodvfy and rt-utils.

Covers vmat_rt.dicom.write.trace.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from rt_utils.rtstruct import RTStruct

from tests.dicom import judges, written
from vmat_rt.case import Volume
from vmat_rt.dicom.write.header import CtReference, OutputHeader
from vmat_rt.dicom.write.isodose import isodose_contours, write_isodoses
from vmat_rt.dicom.write.trace import enclosed_mm2, trace_fractions, trace_level
from vmat_rt.errors import ConfigError, GeometryError
from vmat_rt.geometry.rasterize import even_odd_mask
from vmat_rt.grid import Grid

CENTRE = (-29.0, -97.0, 88.0)
GRID = Grid((33, 40, 50), (1.5, 1.7, 1.3), (-54.0, -131.0, 55.0), written.FRAME)
GRADIENT_GY_PER_MM = 2.0


def cone(grid: Grid = GRID) -> Volume:
    """Dose that falls linearly from 80 Gy at CENTRE: its isodoses are spheres."""
    z, y, x = np.meshgrid(*(grid.axis_mm(a) - c for a, c in enumerate(CENTRE)), indexing="ij")
    dose = np.clip(80.0 - GRADIENT_GY_PER_MM * np.sqrt(z**2 + y**2 + x**2), 0, None)
    return Volume(grid, dose.astype(np.float32))


def write(path: Path, levels: list[float], header: OutputHeader | None = None) -> Dataset:
    write_isodoses(path, cone(), levels, 70.0, header or written.header(), written.MODEL)
    return pydicom.dcmread(path)


@pytest.mark.parametrize("level_gy", [66.5, 56.0, 35.0])
def test_isodoses_of_a_cone_are_circles_of_the_right_size(level_gy: float) -> None:
    ct = written.header().ct
    assert ct is not None
    contours = isodose_contours(cone(), level_gy, ct)
    assert contours.slab_mm == written.CT_GRID.spacing_mm[0]
    reach = (80.0 - level_gy) / GRADIENT_GY_PER_MM
    planes = {plane.z_mm: plane for plane in contours.planes}
    # Next to the pole a circle smaller than two pixels is not resolved.
    inside = [z for z in ct.z_mm if abs(z - CENTRE[0]) < reach - 1.0]
    assert set(inside) <= set(planes)
    for z in inside:
        radius = np.sqrt(reach**2 - (z - CENTRE[0]) ** 2)
        # A tenth of a pixel: the dose is linear along rays, not between voxels.
        assert np.sqrt(enclosed_mm2(planes[z].polygons) / np.pi) == pytest.approx(radius, abs=0.15)
    assert all(abs(z - CENTRE[0]) <= reach for z in planes)


def test_contours_of_a_hot_rim_have_a_hole() -> None:
    grid = Grid((1, 60, 70), (3.0, 1.1, 0.9), (0.0, -30.0, -30.0), "f")
    y, x = np.meshgrid(grid.axis_mm(1), grid.axis_mm(2), indexing="ij")
    rim = 20.0 - np.abs(np.hypot(y, x) - 18.0)
    polygons = trace_level(rim.astype(np.float32), grid, 14.0)
    assert len(polygons) == 2
    assert enclosed_mm2(polygons) == pytest.approx(np.pi * (24.0**2 - 12.0**2), rel=0.01)


def test_a_region_that_leaves_the_grid_ends_at_its_outer_faces() -> None:
    grid = Grid((1, 4, 5), (3.0, 2.0, 1.5), (0.0, 10.0, 20.0), "f")
    (polygon,) = trace_level(np.full((4, 5), 50.0, np.float32), grid, 1.0)
    assert polygon.min(axis=0) == pytest.approx([9.0, 19.25])
    assert polygon.max(axis=0) == pytest.approx([17.0, 26.75])


@pytest.mark.parametrize("radius_mm", [2.0, 4.0, 9.0])
def test_traced_voxels_keep_their_volume_and_their_pixels(radius_mm: float) -> None:
    grid = Grid((5, 30, 36), (3.0, 1.1, 0.9), (0.0, -16.0, -15.7), "f")
    _, y, x = np.meshgrid(*(grid.axis_mm(a) for a in range(3)), indexing="ij")
    mask = (np.hypot(y, x) < radius_mm) & (np.hypot(y, x) > radius_mm / 3)
    contours = trace_fractions(Volume(grid, mask.astype(np.float32)))
    assert len(contours.planes) == 5
    for plane in contours.planes:
        assert enclosed_mm2(plane.polygons) == pytest.approx(mask[0].sum() * 1.1 * 0.9, rel=1e-4)
    assert np.array_equal(even_odd_mask(contours, grid), mask)


def test_names_say_percent_and_dose_and_the_file_says_predicted(tmp_path: Path) -> None:
    file = write(tmp_path / "s.dcm", [50.0, 95.0])
    names = [roi.ROIName for roi in file.StructureSetROISequence]
    assert names == ["Isodose_95pct_66.5Gy", "Isodose_50pct_35.0Gy"]
    assert file.SeriesDescription == file.StructureSetName == "PREDICTED - NOT FOR TREATMENT"
    assert file.ApprovalStatus == "UNAPPROVED"
    assert file.Manufacturer == "vmat-rt"
    assert (file.PatientID, file.StudyInstanceUID) == ("4711", written.ct_header().StudyInstanceUID)
    assert file.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID == written.FRAME


def test_contours_refer_to_the_slice_that_they_lie_in(tmp_path: Path) -> None:
    file = write(tmp_path / "s.dcm", [50.0])
    ct = written.header().ct
    assert ct is not None
    for contour in file.ROIContourSequence[0].ContourSequence:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        index = ct.z_mm.index(points[0, 2])
        assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID == ct.sop_uids[index]
        assert contour.NumberOfContourPoints == len(points) >= 3


def test_dciodvfy_has_no_error(tmp_path: Path) -> None:
    write(tmp_path / "s.dcm", [95.0, 50.0])
    assert judges.dciodvfy_errors(tmp_path / "s.dcm") == []


def test_rt_utils_reads_the_volume_back(tmp_path: Path) -> None:
    # rt-utils wants rows == columns, and fills boundary pixels: on fine pixels that is a few per cent.
    grid = Grid((9, 200, 200), (3.0, 0.4, 0.4), (-41.0, -137.0, 48.0), written.FRAME)
    slices, sop_uids = [], tuple(f"1.2.3.{i}" for i in range(9))
    for z, uid in zip(grid.axis_mm(0), sop_uids, strict=True):
        item = Dataset()
        item.SOPInstanceUID, item.Rows, item.Columns = uid, 200, 200
        item.ImagePositionPatient, item.PixelSpacing = [48.0, -137.0, z], [0.4, 0.4]
        item.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        slices.append(item)
    ct = CtReference("1.2.4", "1.2.840.10008.5.1.4.1.1.2", tuple(grid.axis_mm(0).tolist()), sop_uids)
    file = write(tmp_path / "s.dcm", [95.0, 50.0], replace(written.header(), ct=ct))
    mask = RTStruct(slices, file).get_roi_mask_by_name("Isodose_50pct_35.0Gy")
    y, x = np.meshgrid(grid.axis_mm(1) - CENTRE[1], grid.axis_mm(2) - CENTRE[2], indexing="ij")
    for index, z in enumerate(grid.axis_mm(0)):
        truth = y**2 + x**2 + (z - CENTRE[0]) ** 2 < 22.5**2
        both = np.count_nonzero(mask[:, :, index] & truth)
        assert 2 * both >= 0.96 * (mask[:, :, index].sum() + truth.sum())


def test_a_level_that_is_not_reached_is_left_out_with_a_warning(tmp_path: Path) -> None:
    problems = write_isodoses(tmp_path / "s.dcm", cone(), [120.0, 95.0], 70.0, written.header(), written.MODEL)
    assert [problem.code for problem in problems] == ["ISODOSE_NOT_REACHED"]
    assert problems[0].severity == "warning"
    assert "84.0 Gy" in problems[0].message
    assert len(pydicom.dcmread(tmp_path / "s.dcm").StructureSetROISequence) == 1


def test_without_any_level_no_file_is_written(tmp_path: Path) -> None:
    assert write_isodoses(tmp_path / "s.dcm", cone(), [120.0], 70.0, written.header(), written.MODEL)
    assert not (tmp_path / "s.dcm").exists()


@pytest.mark.parametrize("levels", [[], [0.0], [-5.0], [float("nan")], [95.0, 95.0]])
def test_levels_that_make_no_sense_are_refused(tmp_path: Path, levels: list[float]) -> None:
    with pytest.raises(ConfigError, match="isodose"):
        write(tmp_path / "s.dcm", levels)


def test_another_frame_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryError):
        write(tmp_path / "s.dcm", [95.0], replace(written.header(), frame_uid="1.2.3"))


def test_a_rerun_is_the_same_instance(tmp_path: Path) -> None:
    write(tmp_path / "a.dcm", [95.0, 50.0])
    write(tmp_path / "b.dcm", [95.0, 50.0])
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
