"""`vmat-rt demo` copies the sample and predicts it; what lies there already is used."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from vmat_rt.cli import main
from vmat_rt.system.samples import STUDY, sample


def test_the_study_is_copied_and_predicted(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    result = CliRunner().invoke(main, ["demo", str(folder), "--device", "cpu", "--json"])
    assert result.exit_code == 0, result.output
    copied = {path.relative_to(folder / "study"): path.read_bytes() for path in (folder / "study").rglob("*.dcm")}
    assert copied == {path.relative_to(sample(STUDY)): path.read_bytes() for path in sample(STUDY).rglob("*.dcm")}
    report = Path(json.loads(result.stdout)["paths"]["report_html"])
    assert report.parent.parent == folder / "out"
    assert report.is_file()


def test_a_folder_that_holds_another_study_is_predicted_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "note.txt").write_text("no DICOM here")
    result = CliRunner().invoke(main, ["demo", str(tmp_path)])
    assert result.exit_code == 3
    assert "NOT_DICOM" in result.stderr
    assert [path.name for path in (tmp_path / "study").iterdir()] == ["note.txt"]


def test_the_help_says_what_it_does() -> None:
    result = CliRunner().invoke(main, ["demo", "--help"])
    assert "Nothing is fetched" in " ".join(result.output.split())
    assert "Example: vmat-rt demo" in result.output
