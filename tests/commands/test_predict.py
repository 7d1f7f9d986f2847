"""Several studies in one command: each its own result, and a refused one stops none of the others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from vmat_rt.cli import main

HEAD_NECK = Path(__file__).resolve().parents[2] / "sample_data" / "head_neck_openkbp"
FAST = ("--model", "head_neck_geometric")


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose structure set is missing."""
    folder = tmp_path_factory.mktemp("broken")
    shutil.copytree(HEAD_NECK / "CT", folder / "CT")
    return folder


def test_a_refused_study_does_not_stop_the_next(broken: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["predict", str(broken), str(HEAD_NECK), "--out", str(tmp_path), *FAST])
    assert result.exit_code == 3
    assert f"Refused {broken}: " in result.stderr
    assert result.stdout.strip().endswith("1 predicted, 1 refused")
    assert len(list(tmp_path.glob("*/rtdose.dcm"))) == 1


def test_json_of_several_is_one_document(broken: Path, tmp_path: Path) -> None:
    arguments = ["predict", str(HEAD_NECK), str(broken), "--out", str(tmp_path), "--json", *FAST]
    result = CliRunner().invoke(main, arguments)
    predicted, refused = json.loads(result.stdout)["studies"]
    assert predicted["folder"] == str(HEAD_NECK)
    assert Path(predicted["paths"]["rtdose"]).is_file()
    assert refused["folder"] == str(broken)
    assert [problem["code"] for problem in refused["problems"]] == ["NO_STRUCTURES"]


def test_what_belongs_to_one_study_is_not_taken_for_several(tmp_path: Path) -> None:
    arguments = ["predict", str(HEAD_NECK), str(HEAD_NECK), "--out", str(tmp_path), "--series", "1.2.3"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "--series belongs to one study" in result.stderr
