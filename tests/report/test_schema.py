"""The published schemas of documents, and documents that follow them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from vmat_rt.report.schema import DOCUMENTS, DvhDocument, InspectDocument, StructureMetrics, read_json_schema

PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "schema"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_published_schema_is_current(name: str) -> None:
    path = PUBLISHED / f"{name}.schema.json"
    assert path.read_text(encoding="utf-8") == read_json_schema(name), (
        "run: python -m vmat_rt.report.schema docs/schema"
    )


@pytest.mark.parametrize("name", DOCUMENTS)
def test_published_schema_is_a_json_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(read_json_schema(name)))


def test_command_publishes_the_schemas(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "vmat_rt.report.schema", str(tmp_path / "new")], check=True)
    assert {path.name for path in (tmp_path / "new").iterdir()} == {f"{name}.schema.json" for name in DOCUMENTS}


def test_what_is_no_number_becomes_null() -> None:
    entry = StructureMetrics(
        roi_name="R",
        name=None,
        volume_cc=float("nan"),
        covered_percent=float("inf"),
        metrics={"D95%": float("nan")},
        reason="",
    )
    text = entry.model_dump_json()
    assert json.loads(text)["metrics"] == {"D95%": None}
    assert json.loads(text)["volume_cc"] is None
    assert "NaN" not in text
    assert "Infinity" not in text


def test_inspect_document_has_the_keys_of_the_issue() -> None:
    study = {
        "case": "k1",
        "ct": {"shape": [120, 512, 400], "spacing_mm": [3.0, 0.9, 0.8], "patient_position": "HFS"},
        "structures": [{"roi_name": "PTV", "name": None, "contours": 12, "volume_cc": 80.5}],
        "prescription": None,
        "problems": [{"code": "NO_PLAN", "message": "m", "remedy": "r", "severity": "warning"}],
        "complete": True,
    }
    document = InspectDocument.model_validate({"studies": [study]}).model_dump(mode="json")
    assert document["schema_version"] == 1
    assert {key: document["studies"][0][key] for key in study} == study
    jsonschema.validate(document, json.loads(read_json_schema("inspect")))


def test_dvh_document_has_the_keys_of_the_issue() -> None:
    structure = {
        "roi_name": "PTV",
        "name": "PTV_7000",
        "volume_cc": 80.5,
        "covered_percent": 100.0,
        "metrics": {"D95%": 69.2, "D0.03cc": 72.0, "Dmean": None},
        "reason": "",
    }
    document = DvhDocument.model_validate({"structures": [structure], "goals": []}).model_dump(mode="json")
    assert document["structures"] == [structure]
    assert document["goals"] == []
    jsonschema.validate(document, json.loads(read_json_schema("dvh")))


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="colour"):
        DvhDocument.model_validate({"structures": [], "goals": [], "colour": "red"})
    document = {"schema_version": 1, "structures": [], "goals": [], "problems": [], "colour": "red"}
    with pytest.raises(jsonschema.ValidationError, match="colour"):
        jsonschema.validate(document, json.loads(read_json_schema("dvh")))
