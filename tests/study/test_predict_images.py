"""`predict --nifti` against the DICOM line: with identical masks the dose is the same, in the place of the images.

Covers vmat_rt.imagefiles.write.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from tests.imagefiles.exported import export, write
from vmat_rt.bundle import find_bundle
from vmat_rt.case import Case, Volume
from vmat_rt.cli import main
from vmat_rt.dicom.load import load_case
from vmat_rt.dicom.study import read_study
from vmat_rt.dicom.write.dose import as_stored
from vmat_rt.prediction import predict_dose
from vmat_rt.protocol import load_protocol
from vmat_rt.report.schema import ReportDocument
from vmat_rt.study.predict_images import predict_images, read_images
from vmat_rt.study.prediction import Prediction

SAMPLE = Path(__file__).resolve().parents[2] / "sample_data" / "head_neck_openkbp"
MODEL = "head_neck_geometric"


@dataclass(frozen=True)
class Exported:
    """A sample study, its images (in RAS) and masks, and what came of predicting them."""

    case: Case
    folder: Path
    masks: Mapping[str, NDArray[np.float32]]
    published: Prediction


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    case = load_case(read_study(SAMPLE), load_protocol("head_neck_70"))
    folder = tmp_path_factory.mktemp("images")
    masks = export(case, folder, ".nii.gz", "RAS")
    published = predict_images(folder, tmp_path_factory.mktemp("out"), model=MODEL, device="cpu")
    return Exported(case, folder, masks, published)


def dose_of(published: Prediction) -> sitk.Image:
    return sitk.ReadImage(str(published.folder / "dose.nii.gz"))


def masked(exported: Exported) -> Case:
    """The DICOM case with the very masks that were exported in place of its contours."""
    case = exported.case
    structures = {
        name: replace(structure, shape=Volume(case.ct.grid, exported.masks[name]))
        for name, structure in case.structures.items()
    }
    return replace(case, structures=structures, body=structures["External"])


def test_identical_masks_give_the_dose_of_the_dicom_line(exported: Exported) -> None:
    expected = as_stored(predict_dose(masked(exported), find_bundle("head_neck_70", MODEL), "cpu").dose)
    found = dose_of(exported.published)
    assert found.GetSize()[::-1] == expected.grid.shape
    assert found.GetOrigin()[::-1] == pytest.approx(expected.grid.origin_mm, abs=1e-3)
    assert found.GetSpacing()[::-1] == pytest.approx(expected.grid.spacing_mm, abs=1e-5)
    np.testing.assert_allclose(sitk.GetArrayFromImage(found), expected.array, rtol=0, atol=1e-4)


def test_contours_give_nearly_the_same(exported: Exported) -> None:
    """Here CT and model share their slices, so masks lose next to nothing of the contours that they were made of."""
    expected = predict_dose(exported.case, find_bundle("head_neck_70", MODEL), "cpu").dose.array
    apart = np.abs(sitk.GetArrayFromImage(dose_of(exported.published)) - expected)[expected > 1]
    assert float(apart.mean()) < 0.05


def test_what_is_written(exported: Exported) -> None:
    published = exported.published
    assert {path.name for path in published.folder.iterdir()} == {
        "dose.nii.gz",
        "report.html",
        "report.json",
        "dvh.csv",
    }
    assert dose_of(published).GetMetaData("descrip") == "PREDICTED, NOT FOR TREATMENT"
    document = json.loads((published.folder / "report.json").read_text())
    assert ReportDocument.model_validate(document) == published.report
    assert document["files"]["dose"] == "dose.nii.gz"
    assert document["problems"] == []
    assert document["clinical"] is not None
    assert published.folder.name == document["case"]["key"] == read_images(exported.folder).key


def test_the_same_images_in_another_orientation_give_the_same_dose(exported: Exported, tmp_path: Path) -> None:
    export(exported.case, tmp_path / "in", ".nrrd", "SPL")
    again = predict_images(tmp_path / "in", tmp_path / "out", model=MODEL, device="cpu")
    first, second = dose_of(exported.published), dose_of(again)
    assert first.GetOrigin() == pytest.approx(second.GetOrigin(), abs=1e-3)
    np.testing.assert_allclose(sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(second), rtol=0, atol=1e-4)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["predict", *map(str, arguments)])


def test_the_command_takes_a_mapping_file(exported: Exported, tmp_path: Path) -> None:
    folder = tmp_path / "patient"
    folder.mkdir()
    names = {"CT": "image", "PTV_7000": "high", "PTV_6300": "middle", "PTV_5600": "low", "External": "skin"}
    write(exported.case.ct.array, exported.case.ct, folder / "image.nii.gz")
    for name, file in list(names.items())[1:]:
        write(exported.masks[name], exported.case.ct, folder / f"{file}.nii.gz")
    mapping = tmp_path / "map.yaml"
    structures = ", ".join(f"{name}: {file}.nii.gz" for name, file in list(names.items())[1:])
    mapping.write_text(f"ct: image.nii.gz\nstructures: {{{structures}}}\nfractions: 33\nprotocol: head_neck_70\n")
    given = ["--nifti", mapping, "--out", tmp_path / "out", "--model", MODEL, "--json"]
    result = run(folder, *given, "--prescription", "PTV_7000=69.96")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["prescription"]["dose_gy"] == {"PTV_7000": 69.96, "PTV_6300": 63.0, "PTV_5600": 56.0}
    assert document["prescription"]["fractions"] == 33
    assert Path(document["paths"]["dose"]).is_file()


def test_a_refusal_has_every_problem_and_the_lack_of_a_model(exported: Exported, tmp_path: Path) -> None:
    folder = tmp_path / "patient"
    write(exported.case.ct.array + 1024, exported.case.ct, folder / "ct.nii.gz")
    write(exported.masks["PTV_6300"], exported.case.ct, folder / "PTV_6300.nii.gz")
    protocol = tmp_path / "site.yaml"
    protocol.write_text("extends: head_neck_70\nname: no_model_follows_it\n")
    result = run(folder, "--nifti", "--out", tmp_path / "out", "--protocol", protocol, "--json")
    assert result.exit_code == 3, result.output
    problems = [problem["code"] for problem in json.loads(result.stdout)["problems"]]
    assert problems == ["CT_NOT_HU", "TARGET_MISSING", "NO_BUNDLE"]
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "option", [["--isodose", "95"], ["--plan-uid", "1.2.3"], ["--bits", "32"], ["--identify"], ["--series", "1.2"]]
)
def test_options_of_dicom_are_a_usage_error(option: list[str], tmp_path: Path) -> None:
    result = run(tmp_path, "--nifti", "--out", tmp_path / "out", *option)
    assert result.exit_code == 2
    assert "do not go together" in result.output


def test_a_wrong_mapping_file_is_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text("ct: [\n")
    result = run(tmp_path, "--nifti", tmp_path / "map.yaml", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "cannot be read as YAML" in result.output


def test_the_folder_before_the_option_that_may_have_a_value() -> None:
    result = run("--help")
    assert "--nifti [MAP.yaml]" in result.output
    assert "vmat-rt predict patient_7 --nifti mapping.yaml" in " ".join(result.output.split())
