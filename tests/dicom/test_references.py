"""Structure sets that name slices: those of another CT, and those that lie elsewhere than the contours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dicom.studies import warning_codes
from tests.dicom_phantom import Phantom, edited, write_study
from vmat_rt.dicom.study import read_study


def _name_slices(phantom: Phantom, shift: int) -> None:
    """Let each contour name the CT slice that lies so many slices above it."""
    z_mm = [round(float(z), 3) for z in phantom.grid.axis_mm(0)]
    with edited(phantom.structures_file) as ds:
        reference = ds.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
        images = reference.RTReferencedSeriesSequence[0].ContourImageSequence
        for roi in ds.ROIContourSequence:
            for contour in roi.get("ContourSequence", []):
                k = z_mm.index(round(float(contour.ContourData[2]), 3)) + shift
                image = images[0].__class__()
                image.ReferencedSOPClassUID = images[0].ReferencedSOPClassUID
                image.ReferencedSOPInstanceUID = phantom.options.uid(f"ct {k % len(z_mm)}")
                contour.ContourImageSequence = [image]


@pytest.mark.parametrize(("shift", "codes"), [(0, []), (1, ["CONTOUR_OTHER_SLICE"]), (4, ["CONTOUR_OTHER_SLICE"])])
def test_contours_that_name_slices_elsewhere(tmp_path: Path, shift: int, codes: list[str]) -> None:
    phantom = write_study(tmp_path)
    _name_slices(phantom, shift)
    assert warning_codes(read_study(tmp_path)) == codes


def test_a_structure_set_of_other_images_is_said(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    for k, path in enumerate(phantom.ct_files):
        with edited(path) as ds:
            ds.SOPInstanceUID = phantom.options.uid(f"sent again {k}")
    study = read_study(tmp_path)
    assert warning_codes(study) == ["STRUCTURES_OTHER_SLICES"]
    assert "11 images; none of them is among the 11" in study.problems[0].message


def test_doses_of_another_plan_are_said(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, plan=True, dose=True)
    with edited(phantom.dose_file, tmp_path / "other.dcm") as ds:
        ds.SOPInstanceUID = phantom.options.uid("rd of another")
        ds.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID = phantom.options.uid("another plan")
    study = read_study(tmp_path)
    assert warning_codes(study) == ["DOSE_OTHER_PLAN"]
    assert study.dose is not None
    assert study.dose.sop_uid == phantom.options.uid("rd")
