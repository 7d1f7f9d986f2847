"""What `inspect` says of studies that are not complete: it still lists all that can be known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydicom.dataset import Dataset

from tests.dicom_phantom import Drawn, Phantom, disc, edited, write_study
from vmat_rt.cli import main
from vmat_rt.errors import InputError
from vmat_rt.report.schema import InspectedStudy
from vmat_rt.study.choice import AS_FOUND
from vmat_rt.study.inspection import inspect_folder
from vmat_rt.study.predict import predict_study


def inspected(folder: Path) -> InspectedStudy:
    (study,) = inspect_folder(folder, AS_FOUND).studies
    return study


def codes(study: InspectedStudy, severity: str = "error") -> list[str]:
    return [problem.code for problem in study.problems if problem.severity == severity]


def without_roi(phantom: Phantom, name: str) -> None:
    with edited(phantom.structures_file) as ds:
        (number,) = (roi.ROINumber for roi in ds.StructureSetROISequence if roi.ROIName == name)
        ds.StructureSetROISequence = [roi for roi in ds.StructureSetROISequence if roi.ROINumber != number]
        ds.ROIContourSequence = [item for item in ds.ROIContourSequence if item.ReferencedROINumber != number]


def test_a_ct_alone_is_described(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, structures=False)
    study = inspected(tmp_path)
    assert study.ct is not None
    assert tuple(study.ct.shape) == phantom.grid.shape
    assert study.structures == []
    assert codes(study) == ["NO_STRUCTURES"]


def test_a_target_that_is_missing_is_named_and_the_rest_keep_their_names(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    without_roi(phantom, "PTV_7000")
    study = inspected(tmp_path)
    assert "TARGET_MISSING" in codes(study)
    names = {entry.roi_name: entry.name for entry in study.structures}
    assert (names["PTV_5600"], names["Rectum"], names["BODY"]) == ("PTV_5600", "Rectum", "External")


def test_names_need_no_target(tmp_path: Path) -> None:
    phantom = write_study(tmp_path)
    without_roi(phantom, "PTV_7000")
    without_roi(phantom, "PTV_5600")
    study = inspected(tmp_path)
    names = {entry.roi_name: entry.name for entry in study.structures}
    assert names == {
        "Rectum": "Rectum",
        "Bladder": "Bladder",
        "BODY": "External",
        "Marker": None,
        "zz help": None,
        "Empty": None,
    }
    assert "TARGET_MISSING" in codes(study)
    assert study.complete, "without a target it is no study of our protocols, but a whole one"


def test_problems_of_rois_are_told_where_no_protocol_fits(tmp_path: Path) -> None:
    write_study(tmp_path, rois=(Drawn("GTV", 1, {-22.5 + 3 * k: [disc(0, -80, 30)] for k in range(3)}),))
    study = inspected(tmp_path)
    assert codes(study) == ["TARGET_MISSING"]
    assert codes(study, "warning") == ["STRUCTURE_LEAVES_CT"]


def test_the_prescription_is_told_without_ct(tmp_path: Path) -> None:
    write_study(tmp_path, ct=False, plan=True)
    study = inspected(tmp_path)
    assert codes(study) == ["NO_CT"]
    assert study.prescription is not None
    assert study.prescription.dose_gy == {"PTV_7000": 70.0, "PTV_5600": 56.0}


def _not_a_number(ds: Dataset) -> None:
    ds.ROIContourSequence[0].ContourSequence[0].ContourData[0] = "nan"


def _without_type(ds: Dataset) -> None:
    del ds.ROIContourSequence[0].ContourSequence[0].ContourGeometricType


def _on_one_line(ds: Dataset) -> None:
    for item in ds.ROIContourSequence[0].ContourSequence:
        z = item.ContourData[2]
        item.ContourData, item.NumberOfContourPoints = [0, 0, z, 10, 10, z, 5, 5, z], 3


@pytest.mark.parametrize(
    ("damage", "code"),
    [(_not_a_number, "CONTOUR_INVALID"), (_without_type, "CONTOUR_INVALID"), (_on_one_line, "STRUCTURE_EMPTY")],
)
def test_a_damaged_target_is_called_damaged_and_not_missing(
    tmp_path: Path, damage: Callable[[Dataset], None], code: str
) -> None:
    phantom = write_study(tmp_path)
    with edited(phantom.structures_file) as ds:
        damage(ds)
    assert codes(inspected(tmp_path)) == [code]


def test_the_case_is_examined_before_a_model_is_looked_for(tmp_path: Path) -> None:
    """A prostate study has no bundle yet; what is wrong with the study itself is told all the same, and first."""
    phantom = write_study(tmp_path / "study")
    with edited(phantom.structures_file) as ds:
        _not_a_number(ds)
    with pytest.raises(InputError) as caught:
        predict_study(tmp_path / "study", tmp_path / "out", model=None)
    assert caught.value.problems[0].code == "CONTOUR_INVALID"
    assert not (tmp_path / "out").exists()


def test_the_option_for_deidentified_sets_works_on_the_command_line(tmp_path: Path) -> None:
    phantom = write_study(tmp_path / "study", dose=True)
    for path in phantom.ct_files:
        with edited(path) as ds:
            ds.FrameOfReferenceUID = ""
    run = CliRunner()
    study, dose = str(phantom.folder), str(phantom.dose_file)
    refused = run.invoke(main, ["inspect", study])
    assert "not complete" in refused.output
    assert "--accept-deidentified" in refused.output
    accepted = run.invoke(main, ["inspect", study, "--accept-deidentified"])
    assert ": complete" in accepted.output
    assert "DEIDENTIFIED_FRAME" in accepted.output
    reviewed = run.invoke(main, ["dvh", study, "--dose", dose, "--accept-deidentified"])
    assert reviewed.exit_code == 0
    assert "DEIDENTIFIED_FRAME" in reviewed.output
    nothing = run.invoke(main, ["predict", study, "--out", str(tmp_path / "out"), "--nifti", "--accept-deidentified"])
    assert nothing.exit_code == 2
    assert "--accept-deidentified and --nifti do not go together" in nothing.output
