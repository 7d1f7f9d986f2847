"""Contours of an RTSTRUCT: what is kept, what is told, what is refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from tests.dicom_phantom import Drawn, Phantom, contour, disc, edited, write_study
from vmat_rt.case import Polygon, Structure
from vmat_rt.dicom.structures import Roi, StructureSet
from vmat_rt.dicom.study import read_study
from vmat_rt.geometry.rasterize import volume_cc

SQUARE = np.array([[0.0, 0.0], [0.0, 10.0], [8.0, 10.0], [8.0, 0.0]])


def one_roi(folder: Path, planes: Mapping[float, Sequence[Polygon]], *, with_ct: bool = True) -> Roi:
    write_study(folder, rois=(Drawn("A", 1, planes),), ct=with_ct)
    (roi,) = read_study(folder, need_ct=False).structure_set.rois
    return roi


def changed_roi(folder: Path, change: Callable[[Dataset], None]) -> Roi:
    """The ROI A, a square on four planes, after `change` of its third ContourSequence item."""
    phantom = write_study(folder, rois=(Drawn("A", 1, {z: [SQUARE] for z in (-24.0, -21.0, -18.0, -15.0)}),))
    with edited(phantom.structures_file) as ds:
        change(ds.ROIContourSequence[0].ContourSequence[2])
    (roi,) = read_study(folder).structure_set.rois
    return roi


def codes(roi: Roi) -> set[str]:
    return {problem.code for problem in roi.problems}


def test_contours_come_ascending_in_lps_under_their_roi(tmp_path: Path) -> None:
    write_study(tmp_path)
    structure_set = read_study(tmp_path).structure_set
    assert [roi.name for roi in structure_set.rois][:2] == ["PTV_7000", "PTV_5600"]
    ptv = structure_set.rois[1]
    assert ptv.contours is not None
    assert ptv.number == 2
    assert ptv.interpreted_type == "PTV"
    assert [plane.z_mm for plane in ptv.contours.planes] == pytest.approx([-22.5 + 3 * k for k in range(6)])
    assert [len(plane.polygons) for plane in ptv.contours.planes] == [2] * 6
    assert ptv.contours.slab_mm == pytest.approx(3.0)
    y, x = -47.3 + 39 * 2.5 / 2, -55.7 + 51 * 2.0 / 2
    np.testing.assert_allclose(ptv.contours.planes[0].polygons[0], disc(y - 3, x + 4, 18), atol=1e-3)


def test_the_header_keeps_all_but_the_contours(tmp_path: Path) -> None:
    write_study(tmp_path)
    header = read_study(tmp_path).structure_set.header
    assert "ROIContourSequence" not in header
    assert header.StructureSetLabel == "PHANTOM"
    assert len(header.StructureSetROISequence) == 8


def test_points_open_contours_and_empty_rois_are_listed(tmp_path: Path) -> None:
    point = Drawn("Marker", 6, {-16.5: [np.zeros((1, 2))]}, "", "POINT")
    line = Drawn("Wire", 7, {-16.5: [SQUARE]}, "", "OPEN_PLANAR")
    write_study(tmp_path, rois=(point, line, Drawn("Empty", 8, {})))
    rois = read_study(tmp_path).structure_set.rois
    assert [roi.contours for roi in rois] == [None] * 3
    assert [codes(roi) for roi in rois] == [{"CONTOUR_NOT_CLOSED"}, {"CONTOUR_NOT_CLOSED"}, set()]
    assert "1 OPEN_PLANAR" in rois[1].problems[0].message


def test_closedplanar_xor_is_closed(tmp_path: Path) -> None:
    write_study(tmp_path, rois=(Drawn("A", 1, {-16.5: [SQUARE]}, "", "CLOSEDPLANAR_XOR"),))
    assert read_study(tmp_path).structure_set.rois[0].contours is not None


def test_contours_between_ct_slices_keep_their_z_and_near_ones_share_a_plane(tmp_path: Path) -> None:
    roi = one_roi(tmp_path, {-20.13: [SQUARE], -20.11: [SQUARE + 20], -17.4: [SQUARE], -14.5: [SQUARE]})
    assert roi.contours is not None
    assert [plane.z_mm for plane in roi.contours.planes] == pytest.approx([-20.12, -17.4, -14.5])
    assert [len(plane.polygons) for plane in roi.contours.planes] == [2, 1, 1]


@pytest.mark.parametrize(
    ("z_mm", "slab_mm", "skipped"),
    [
        ([-16.5], 3.0, False),  # one plane: the CT's
        ([-25.5, -22.5, -19.5], 3.0, False),
        ([-25.5, -19.5, -13.5], 6.0, False),  # drawn on every other slice
        ([-25.5, -22.5, -19.5, -10.5, -7.5], 3.0, True),  # two slices forgotten, or two parts
        ([-25.5, -4.5], 3.0, True),  # two islands, not a slab of 21 mm
        ([-25.5, -22.5], 3.0, False),
    ],
)
def test_slab_is_the_usual_distance_between_planes(
    tmp_path: Path, z_mm: list[float], slab_mm: float, skipped: bool
) -> None:
    roi = one_roi(tmp_path, {z: [SQUARE] for z in z_mm})
    assert roi.contours is not None
    assert roi.contours.slab_mm == pytest.approx(slab_mm)
    assert ("ROI_SKIPPED_SLICES" in codes(roi)) == skipped


def test_without_ct_a_single_plane_is_as_thick_as_the_planes_of_others(tmp_path: Path) -> None:
    many = Drawn("Many", 1, {-25.0 + 2.5 * k: [SQUARE] for k in range(5)})
    write_study(tmp_path, rois=(many, Drawn("One", 2, {-20.0: [SQUARE]})), ct=False)
    one = read_study(tmp_path, need_ct=False).structure_set.rois[1]
    assert one.contours is not None
    assert one.contours.slab_mm == pytest.approx(2.5)


def test_a_single_plane_alone_has_no_thickness(tmp_path: Path) -> None:
    roi = one_roi(tmp_path, {-16.5: [SQUARE]}, with_ct=False)
    assert roi.contours is None
    assert codes(roi) == {"ROI_THICKNESS_UNKNOWN"}


def test_degenerate_contours_are_left_out_with_a_warning(tmp_path: Path) -> None:
    line, point = np.array([[0.0, 0], [5, 5], [10, 10]]), np.array([[3.0, 3], [3, 3], [3, 3]])
    roi = one_roi(tmp_path, {-19.5: [SQUARE, line], -16.5: [SQUARE, point], -13.5: [SQUARE, SQUARE[:2]]})
    assert roi.contours is not None
    assert [len(plane.polygons) for plane in roi.contours.planes] == [1, 1, 1]
    assert codes(roi) == {"CONTOUR_DEGENERATE"}
    assert "3 contours" in roi.problems[0].message


def test_a_repeated_first_vertex_is_dropped(tmp_path: Path) -> None:
    closed = np.vstack([SQUARE, SQUARE[:1]])
    roi = one_roi(tmp_path, {-16.5: [closed]})
    assert roi.contours is not None
    np.testing.assert_allclose(roi.contours.planes[0].polygons[0], SQUARE)


def test_a_contour_written_twice_does_not_cancel_itself(tmp_path: Path) -> None:
    roi = one_roi(tmp_path, {-16.5: [SQUARE, SQUARE]})
    assert roi.contours is not None
    assert len(roi.contours.planes[0].polygons) == 1
    assert codes(roi) == {"CONTOUR_REPEATED"}


@pytest.mark.parametrize(
    ("polygons", "kind", "code", "area_mm2"),
    [
        ([SQUARE, np.roll(SQUARE[::-1], 1, axis=0) + 0.1], "CLOSED_PLANAR", "CONTOUR_REPEATED", 80.0),
        ([np.tile(SQUARE, (2, 1))], "CLOSED_PLANAR", "CONTOUR_WOUND_TWICE", 80.0),
        ([SQUARE, np.add(SQUARE, (4.0, 5.0))], "CLOSED_PLANAR", "CONTOURS_OVERLAP", 140.0),
        ([SQUARE, np.add(SQUARE, (4.0, 5.0))], "CLOSEDPLANAR_XOR", "", 120.0),
        ([SQUARE, np.add(SQUARE, (0.0, 1.0))], "CLOSEDPLANAR_XOR", "CONTOURS_CANCEL", 16.0),
        ([SQUARE, SQUARE / 2 + 1], "CLOSED_PLANAR", "", 60.0),
    ],
    ids=["copy", "twice round", "overlap", "exclusive", "cancelled", "hole"],
)
def test_what_contours_of_one_plane_enclose(
    tmp_path: Path, polygons: list[Polygon], kind: str, code: str, area_mm2: float
) -> None:
    write_study(tmp_path, rois=(Drawn("A", 1, {-16.5: polygons}, "", kind),))
    (roi,) = read_study(tmp_path).structure_set.rois
    assert roi.contours is not None
    assert codes(roi) == ({code} if code else set())
    volume = volume_cc(Structure("A", None, roi.contours))
    assert volume == pytest.approx(area_mm2 * roi.contours.slab_mm / 1000, rel=1e-5)


def _tilt(item: Dataset) -> None:
    item.ContourData = [0, 0, -18, 10, 0, -18, 10, 8, -12, 0, 8, -12]


def _one_number_less(item: Dataset) -> None:
    item.ContourData = list(item.ContourData)[:-1]


def _two_points_less(item: Dataset) -> None:
    item.ContourData = list(item.ContourData)[:-6]


def _far_away(item: Dataset) -> None:
    item.ContourData = [1e9, *list(item.ContourData)[1:]]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_tilt, "CONTOUR_NOT_AXIAL"),
        (_one_number_less, "CONTOUR_INVALID"),
        (_two_points_less, "CONTOUR_INVALID"),
        (_far_away, "CONTOUR_INVALID"),
    ],
)
def test_an_roi_with_a_damaged_contour_is_not_used(
    tmp_path: Path, change: Callable[[Dataset], None], code: str
) -> None:
    roi = changed_roi(tmp_path, change)
    assert roi.contours is None
    assert codes(roi) == {code}
    assert "contour 3" in roi.problems[0].message


@pytest.mark.parametrize("text", [b"nan ", b"inf ", b"zero", b"1e99", b"--12"])
def test_coordinates_that_are_no_numbers_damage_the_roi(tmp_path: Path, text: bytes) -> None:
    planes = {-24.0: [SQUARE], -21.0: [np.vstack([SQUARE, [[7777.0, 3.0]]])]}
    phantom = write_study(tmp_path, rois=(Drawn("A", 1, planes),))
    content = phantom.structures_file.read_bytes()
    assert content.count(b"7777") == 1
    phantom.structures_file.write_bytes(content.replace(b"7777", text))
    (roi,) = read_study(tmp_path).structure_set.rois
    assert roi.contours is None
    assert codes(roi) == {"CONTOUR_INVALID"}


def test_an_roi_of_another_frame_is_not_used(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    with edited(phantom.structures_file) as ds:
        ds.StructureSetROISequence[2].ReferencedFrameOfReferenceUID = "1.2.3.4"
    rectum = read_study(tmp_path).structure_set.rois[2]
    assert rectum.contours is None
    assert codes(rectum) == {"ROI_OTHER_FRAME"}


def structure_set(phantom: Phantom) -> StructureSet:
    return read_study(phantom.folder).structure_set


def test_contours_of_an_unlisted_roi_are_told_of(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    with edited(phantom.structures_file) as ds:
        del ds.StructureSetROISequence[2]
    problems = structure_set(phantom).problems
    assert [problem.code for problem in problems] == ["ROI_NOT_LISTED"]
    assert "ROI number 3" in problems[0].message


def test_two_rois_of_one_number_are_listed_and_not_used(tmp_path: Path) -> None:
    """Nobody can tell whose the contours are; ROIs of other numbers are not concerned."""
    phantom = write_study(tmp_path)
    with edited(phantom.structures_file) as ds:
        ds.StructureSetROISequence[2].ROINumber = 1
    rois = structure_set(phantom).rois
    assert [roi.name for roi in rois] == [roi.name for roi in phantom.rois]
    shared = [roi for roi in rois if roi.number == 1]
    assert [roi.contours for roi in shared] == [None, None]
    assert all([problem.code for problem in roi.problems] == ["ROI_NUMBER_TWICE"] for roi in shared)
    assert rois[1].contours is not None


def test_contours_that_refer_to_no_or_to_foreign_images_are_read(tmp_path: Path) -> None:
    """In exports of MIM, XiO and CERR the instances that contours refer to are not those present."""
    phantom = write_study(tmp_path)
    with edited(phantom.structures_file) as ds:
        image = Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
        for item in ds.ROIContourSequence[0].ContourSequence:
            item.ContourImageSequence = [image]
        del ds.ReferencedFrameOfReferenceSequence
    assert structure_set(phantom).rois[0].contours is not None


@pytest.mark.filterwarnings("ignore:The value for the data element")
def test_a_contour_of_sixty_thousand_points_is_read_quickly(tmp_path: Path) -> None:
    """It is longer than 64 kB, so in explicit VR its VR is UN."""
    phantom = write_study(tmp_path, rois=(Drawn("A", 1, {-16.5: [SQUARE]}),))
    polygon = disc(1.0, -3.0, 30.0, 60_000)
    with edited(phantom.structures_file) as ds:
        ds.ROIContourSequence[0].ContourSequence = [contour(polygon, -16.5)]
    start = time.process_time()
    contours = structure_set(phantom).rois[0].contours
    assert time.process_time() - start < 2.0
    assert contours is not None
    np.testing.assert_allclose(contours.planes[0].polygons[0][::5000], polygon[::5000], atol=1e-3)
