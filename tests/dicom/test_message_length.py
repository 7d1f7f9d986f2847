"""Every problem of studies with huge names, lists and counts stays under 600 characters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from tests.dicom_phantom import Phantom, edited, write_study
from vmat_rt.errors import InputError, Problem
from vmat_rt.report.schema import ProblemEntry
from vmat_rt.study.choice import StudyChoice
from vmat_rt.study.inspection import inspect_folder
from vmat_rt.study.predict import predict_study

LONG = "Lymph nodes of the pelvis, drawn again " * 25
ROIS = 400


def _many_rois(phantom: Phantom) -> None:
    """Hundreds of ROIs of long names, none of them a target, each with a single crooked contour."""
    with edited(phantom.structures_file) as ds:
        listed, drawn = ds.StructureSetROISequence[0], ds.ROIContourSequence[0].ContourSequence[0]
        ds.RTROIObservationsSequence = []
        ds.StructureSetROISequence, ds.ROIContourSequence = [], []
        for number in range(ROIS):
            roi, contours = Dataset(), Dataset()
            roi.ROINumber, roi.ROIName = number + 1, f"{LONG}{number}"
            roi.ReferencedFrameOfReferenceUID = listed.ReferencedFrameOfReferenceUID
            contours.ReferencedROINumber, contours.ContourSequence = number + 1, [drawn]
            ds.StructureSetROISequence.append(roi)
            ds.ROIContourSequence.append(contours)


def _one_name(phantom: Phantom) -> None:
    with edited(phantom.structures_file) as ds:
        for k, roi in enumerate(ds.StructureSetROISequence):
            roi.ROIName = f"PTV{' ' * 900}70{' ' * (k + 1)}00"


def _labels(phantom: Phantom) -> None:
    for k in range(12):
        with edited(phantom.structures_file, phantom.folder / f"{'s' * 200}{k}.dcm") as ds:
            ds.SOPInstanceUID, ds.StructureSetLabel = phantom.options.uid(f"set {k}"), LONG


def _one_uid(phantom: Phantom) -> None:
    for k in range(12):
        with edited(phantom.structures_file, phantom.folder / f"{'s' * 200}{k}.dcm") as ds:
            ds.StructureSetLabel = f"{LONG}{k}"


def _series(phantom: Phantom) -> None:
    for k in range(5):
        for j, path in enumerate(phantom.ct_files):
            with edited(path, phantom.folder / f"{k} {j}.dcm") as ds:
                ds.SeriesInstanceUID = f"1.2.{'3' * 400}.{k}"
                ds.SOPInstanceUID = phantom.options.uid(f"{k} {j}")


def _ct_values(phantom: Phantom) -> None:
    for k, path in enumerate(phantom.ct_files):
        with edited(path) as ds:
            ds.RescaleType, ds.FrameOfReferenceUID = f"{LONG}{k}", "1." + "7" * 800
            ds.PixelSpacing = [2.5 + k, 2.0]
        path.rename(path.with_name("c" * 240 + f"{k}.dcm"))


def _patients(phantom: Phantom) -> None:
    _labels(phantom)
    for k, path in enumerate(sorted(phantom.folder.glob("s*.dcm"))):
        with edited(path) as ds:
            ds.PatientID = f"{LONG}{k}"


FAULTS = [_many_rois, _one_name, _labels, _one_uid, _series, _ct_values, _patients]


@pytest.mark.parametrize("fault", FAULTS)
def test_no_message_is_longer_than_a_screen(tmp_path: Path, fault: Callable[[Phantom], None]) -> None:
    phantom = write_study(tmp_path, plan=True, dose=True)
    fault(phantom)
    problems: list[Problem | ProblemEntry] = []
    try:
        problems += [problem for study in inspect_folder(tmp_path, StudyChoice()).studies for problem in study.problems]
        predict_study(tmp_path, None)
    except InputError as refusal:
        problems += refusal.problems
    assert problems
    assert max(len(problem.message) for problem in problems) < 600
    assert max(len(problem.remedy) for problem in problems) < 600
