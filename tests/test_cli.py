"""The commands as a user runs them, on the sample studies and on faults; the input is never touched.

Covers vmat_rt.commands.gamma, vmat_rt.commands.inspect and vmat_rt.commands.models.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pydicom
import pytest
from click.testing import CliRunner, Result

from vmat_rt.cli import main

ROOT = Path(__file__).resolve().parent.parent
HEAD_NECK = ROOT / "sample_data" / "head_neck_openkbp"
PROSTATE = ROOT / "sample_data" / "prostate_simulated"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def document(result: Result) -> dict[str, Any]:
    """The one JSON document on stdout."""
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def fits_schema(found: dict[str, Any], name: str) -> None:
    jsonschema.validate(found, json.loads((ROOT / "docs" / "schema" / f"{name}.schema.json").read_text()))


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The sample head-and-neck study, predicted once: the case's folder and what --json printed."""
    out = tmp_path_factory.mktemp("out")
    before = digest(HEAD_NECK)
    result = run("predict", HEAD_NECK, "--out", out, "--isodose", "95,50", "--json")
    assert result.exit_code == 0, result.output
    assert digest(HEAD_NECK) == before
    found = document(result)
    return out / found["case"]["key"], found


def test_predict_writes_what_it_says(predicted: tuple[Path, dict[str, Any]]) -> None:
    folder, found = predicted
    names = {"rtdose.dcm", "rtplan.dcm", "isodoses.dcm", "report.html", "report.json", "dvh.csv"}
    assert {path.name for path in folder.iterdir()} == names
    assert {Path(path).name for path in found["paths"].values()} == names
    assert all(Path(path).is_file() for path in found["paths"].values())
    fits_schema(found, "predict")
    fits_schema(json.loads((folder / "report.json").read_text()), "report")


def test_predicted_dose_covers_the_target_and_is_labelled(predicted: tuple[Path, dict[str, Any]]) -> None:
    folder, found = predicted
    target = next(s for s in found["predicted"]["structures"] if s["name"] == "PTV_7000")
    assert 63 < target["metrics"]["D95%"] < 75
    dose = pydicom.dcmread(folder / "rtdose.dcm")
    plan = pydicom.dcmread(folder / "rtplan.dcm")
    assert dose.SeriesDescription == "PREDICTED - NOT FOR TREATMENT"
    assert dose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == plan.SOPInstanceUID
    assert plan.ApprovalStatus == "UNAPPROVED"
    assert "PREDICTED, NOT FOR TREATMENT" in (folder / "report.html").read_text()


def test_report_stands_beside_the_clinical_dose(predicted: tuple[Path, dict[str, Any]]) -> None:
    _, found = predicted
    assert found["clinical"] is not None
    assert found["comparison_with_clinical"]["mae_body_gy"] < 5


def test_no_identity_in_the_report_by_default(predicted: tuple[Path, dict[str, Any]]) -> None:
    folder, found = predicted
    patient = pydicom.dcmread(HEAD_NECK / "RTSTRUCT.dcm")
    for name in ("report.html", "report.json", "dvh.csv"):
        text = (folder / name).read_text()
        assert str(patient.PatientName) not in text
        assert str(patient.PatientID) not in text
    assert found["patient"] is None


def test_a_rerun_gives_the_same_instance(predicted: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = predicted
    assert run("predict", HEAD_NECK, "--out", tmp_path).exit_code == 0
    for name in ("rtdose.dcm", "rtplan.dcm"):
        assert (tmp_path / folder.name / name).read_bytes() == (folder / name).read_bytes()


def test_dose_attached_to_an_existing_plan(tmp_path: Path) -> None:
    result = run(
        "predict", HEAD_NECK, "--out", tmp_path, "--plan-uid", "1.2.3.4", "--bits", "32", "--identify", "--json"
    )
    assert result.exit_code == 0, result.output
    found = document(result)
    dose = pydicom.dcmread(found["paths"]["rtdose"])
    assert dose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"
    assert dose.BitsAllocated == 32
    assert "rtplan" not in found["paths"]
    assert found["patient"]["id"]


def test_gamma_of_a_file_with_itself_and_with_the_prediction(
    predicted: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, _ = predicted
    same = document(run("gamma", HEAD_NECK / "RTDOSE.dcm", HEAD_NECK / "RTDOSE.dcm", "--json"))
    assert same["pass_rate_percent"] == 100
    assert same["mean"] == 0
    png = tmp_path / "gamma.png"
    result = run("gamma", HEAD_NECK / "RTDOSE.dcm", folder / "rtdose.dcm", "--study", HEAD_NECK, "--png", png, "--json")
    found = document(result)
    assert 20 < found["pass_rate_percent"] < 100
    assert {"PTV_7000", "PTV_7000 + 5 mm", "Brainstem"} <= set(found["regions"])
    assert png.stat().st_size > 10_000


def test_inspect_lists_every_roi_without_a_model() -> None:
    result = run("inspect", PROSTATE, "--json")
    assert result.exit_code == 0, result.output
    found = document(result)
    fits_schema(found, "inspect")
    (study,) = found["studies"]
    assert study["complete"]
    rois = pydicom.dcmread(next(PROSTATE.rglob("RTSTRUCT.dcm"))).StructureSetROISequence
    assert {entry["roi_name"] for entry in study["structures"]} == {str(roi.ROIName) for roi in rois}
    assert study["prescription"]["dose_gy"] == {"PTV_7000": 70.0, "PTV_5600": 56.0}
    ct = study["ct"]
    assert len({*ct["shape"]}) == 3
    assert len({*ct["spacing_mm"]}) == 2


def test_dvh_needs_no_ct(tmp_path: Path) -> None:
    shutil.copy(HEAD_NECK / "RTSTRUCT.dcm", tmp_path)
    metrics = "D99%,D95%,D5%,D1%,D0.03cc,Dmin,Dmean,Dmax,V70Gy"
    result = run("dvh", tmp_path, "--dose", HEAD_NECK / "RTDOSE.dcm", "--metrics", metrics, "--all-rois", "--json")
    assert result.exit_code == 0, result.output
    found = document(result)
    fits_schema(found, "dvh")
    target = next(s for s in found["structures"] if s["name"] == "PTV_7000")
    assert list(target["metrics"]) == metrics.split(",")
    assert (
        target["metrics"]["Dmin"] < target["metrics"]["D95%"] < target["metrics"]["Dmean"] < target["metrics"]["Dmax"]
    )
    assert any(goal["structure"] == "SpinalCord" for goal in found["goals"])
    assert not [problem for problem in found["problems"] if problem["severity"] == "error"]


def test_dvh_of_names_that_no_protocol_knows_takes_the_dose_given(tmp_path: Path) -> None:
    shutil.copy(HEAD_NECK / "RTSTRUCT.dcm", tmp_path)
    structures = pydicom.dcmread(tmp_path / "RTSTRUCT.dcm")
    for roi in structures.StructureSetROISequence:
        roi.ROIName = f"zz {roi.ROIName[::-1]}"
    structures.save_as(tmp_path / "RTSTRUCT.dcm")
    arguments = ("dvh", tmp_path, "--dose", HEAD_NECK / "RTDOSE.dcm", "--metrics", "V95%,Dmean", "--json")
    result = run(*arguments, "--prescription", "zz 07VTP=70")
    found = document(result)
    target = next(s for s in found["structures"] if s["roi_name"] == "zz 07VTP")
    assert target["name"] is None
    assert 50 < target["metrics"]["V95%"] <= 100
    assert run(*arguments, "--prescription", "PTV=70").exit_code == 2


@pytest.mark.parametrize(("typed", "said"), [("predit", "Did you mean predict?"), ("xyz", "See vmat-rt --help.")])
def test_a_mistyped_command_is_told_the_nearest(typed: str, said: str) -> None:
    result = run(typed)
    assert result.exit_code == 2
    assert said in result.stderr


def test_models_say_what_they_were_trained_on() -> None:
    found = document(run("models", "--json"))
    model = next(model for model in found["models"] if model["protocol"] == "head_neck_70" and model["default"])
    assert model["training"]["cases"] >= 100
    assert model["limits"]


@pytest.mark.parametrize("command", ["predict", "inspect", "dvh", "gamma", "compare", "models"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Example: vmat-rt {command}" in " ".join(result.output.split())
    assert "--json" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "no/such/folder", "--out", "out"),
        ("predict", HEAD_NECK),
        ("predict", HEAD_NECK, "--out", "out", "--prescription", "PTV_7000"),
        ("predict", HEAD_NECK, "--out", "out", "--protocol", "no_such_protocol"),
        ("dvh", HEAD_NECK, "--dose", HEAD_NECK / "RTDOSE.dcm", "--metrics", "X95"),
        ("predict", HEAD_NECK, "--out", "out", "--plan-uid", "1.02.3"),
        ("predict", HEAD_NECK, "--out", "out", "--plan-uid", "plan"),
        ("predict", HEAD_NECK, "--out", "out", "--device", "gpu"),
        ("predict", HEAD_NECK, "--out", "out", "--plan", HEAD_NECK / "RTPLAN.dcm", "--plan-uid", "1.2"),
        ("no-such-command",),
    ],
    ids=lambda arguments: " ".join(str(a) for a in arguments)[-40:],
)
def test_usage_errors_end_with_2(
    arguments: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments).exit_code == 2
    found = document(run(*arguments, "--json"))
    assert found["exit_code"] == 2
    assert all(problem["code"] and problem["message"] for problem in found["problems"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "code"), [("RTDOSE.dcm", "PLAN_NOT_RTPLAN"), ("note.txt", "NOT_DICOM")])
def test_a_plan_that_is_none_is_refused_before_anything_is_written(tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / "note.txt").write_text("no DICOM here" * 20)
    shutil.copy(HEAD_NECK / "RTDOSE.dcm", tmp_path)
    result = run("predict", HEAD_NECK, "--out", tmp_path / "out", "--plan", tmp_path / name, "--json")
    assert result.exit_code == 3
    assert document(result)["problems"][0]["code"] == code
    assert not (tmp_path / "out").exists()


def test_a_refusal_is_a_sentence_on_stderr_and_a_document_on_stdout(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no DICOM here")
    done = subprocess.run(
        [sys.executable, "-m", "vmat_rt.cli", "predict", str(tmp_path), "--out", str(tmp_path / "out"), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    problem = json.loads(done.stdout)["problems"][0]
    assert problem["code"] == "NOT_DICOM"
    assert problem["message"] in done.stderr
    assert problem["remedy"] in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_site_protocol_adds_names(tmp_path: Path) -> None:
    study = tmp_path / "study"
    shutil.copytree(HEAD_NECK, study)
    structures = pydicom.dcmread(study / "RTSTRUCT.dcm")
    roi = next(roi for roi in structures.StructureSetROISequence if "Parotid" in roi.ROIName and "L" in roi.ROIName)
    roi.ROIName = "Glandula parotis sin"
    structures.save_as(study / "RTSTRUCT.dcm")
    (tmp_path / "my.yaml").write_text(
        'extends: head_neck_70\naliases:\n  Parotid_L: ["Glandula parotis sin"]\n', encoding="utf-8"
    )

    def name_of(*more: object) -> str | None:
        found = document(run("inspect", study, "--json", *more))
        entries = found["studies"][0]["structures"]
        name: str | None = next(e["name"] for e in entries if e["roi_name"] == "Glandula parotis sin")
        return name

    assert name_of() is None
    assert name_of("--protocol", tmp_path / "my.yaml") == "Parotid_L"
