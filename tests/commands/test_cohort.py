"""`vmat-rt cohort` as it is typed: documents, sentences, exit codes.

Covers vmat_rt.commands.cohort.adding, vmat_rt.commands.cohort.options, vmat_rt.commands.cohort.simulated and
vmat_rt.commands.cohort.using.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.cohort.cases import pelvis
from tests.curation.intake.clinic import as_beam, study
from vmat_rt.cli import main
from vmat_rt.cohort.record import CaseOrigin, describe
from vmat_rt.cohort.split import Splits
from vmat_rt.cohort.store import Cohort

GRID = "10x24x30@3.5x3.5x3.5"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["cohort", *map(str, arguments)])


def document(result: Result) -> dict[str, Any]:
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    assert found["schema_version"] == 1
    assert found.get("exit_code", result.exit_code) == result.exit_code
    return found


def add(root: Path, cohort: Path, *more: object) -> Result:
    # The phantoms are ten centimetres wide, which the gate has to allow.
    allowed = ("--allow", "BODY_SITE", "--allow", "ANATOMY_IMPLAUSIBLE")
    return run("add", root, "--cohort", cohort, "--workers", 1, "--grid", GRID, *allowed, *more)


def test_one_of_two_studies_is_enough(tmp_path: Path) -> None:
    study(tmp_path / "in" / "good", "P1")
    study(tmp_path / "in" / "bad", "P2", edit_dose=as_beam)
    result = add(tmp_path / "in", tmp_path / "c", "--json")
    assert result.exit_code == 0
    found = document(result)
    assert (found["counts"]["added"], found["counts"]["refused"]) == (1, 1)
    assert found["refused"] == {"DOSE_SINGLE_BEAM": 1}
    assert found["checks"]["DOSE_SINGLE_BEAM"] == 1
    assert {p["code"] for p in found["problems"] if p["state"] == "refused"} == {"DOSE_SINGLE_BEAM"}
    again = add(tmp_path / "in", tmp_path / "c")
    assert again.exit_code == 0
    assert "0 added, 1 there already, 0 duplicates, 1 refused" in again.stdout


def test_nothing_usable_is_refused(tmp_path: Path) -> None:
    study(tmp_path / "in", "P2", edit_dose=as_beam)
    result = add(tmp_path / "in", tmp_path / "c", "--json")
    assert result.exit_code == 3
    assert document(result)["counts"]["refused"] == 1


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    result = add(tmp_path / "in", tmp_path / "c", "--json")
    assert result.exit_code == 3
    assert [p["code"] for p in document(result)["problems"]] == ["NOT_DICOM"]


@pytest.mark.parametrize(
    "more",
    [
        ("--keys", "c/keys.csv"),
        ("--grid", "big"),
        ("--protocol", "knee"),
        ("--protocol", "head_neck_70", "--grid", GRID),
    ],
)
def test_wrong_options_are_no_refusals(tmp_path: Path, more: tuple[str, ...]) -> None:
    study(tmp_path / "in", "P1")
    assert add(tmp_path / "in", tmp_path / "c").exit_code == 0
    keys = ("--keys", tmp_path / "c" / "keys.csv") if more[0] == "--keys" else more
    result = add(tmp_path / "in", tmp_path / "c", *keys, "--json")
    assert (result.exit_code, document(result)["problems"][0]["code"]) == (2, "CONFIGURATION")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Twelve patients, one of whom came twice under two names."""
    from tests.cohort.cases import SETTINGS

    cohort = Cohort.create(tmp_path / "many", SETTINGS)
    case = pelvis()
    for number in range(12):
        image = f"{max(number, 1):064x}"
        cohort.add(
            case, describe(case, CaseOrigin(key=f"k{number}", patient=f"p{number}", source="dicom", image_sha256=image))
        )
    cohort.reindex()
    return tmp_path / "many"


def test_split_never_parts_a_shared_image(many: Path) -> None:
    result = run("split", many, "--seeds", "42,123,456", "--fractions", ".6,.2,.2", "--json")
    assert result.exit_code == 0
    found = document(result)
    assert found["counts"] == {"cases": 12, "patients": 11, "outliers": 0}
    splits = Splits.read(Cohort.open(many))
    assert splits.sha256 == found["sha256"]
    for seed in (42, 123, 456):
        parts = [splits.cases(part, seed) for part in ("train", "validation", "test")]  # type: ignore[arg-type]
        assert sum(map(len, parts)) == 12
        assert [("k0" in part) == ("k1" in part) for part in parts] == [True] * 3
        assert found["seeds"][str(seed)] == dict(zip(("train", "validation", "test"), map(len, parts), strict=True))


def test_split_with_one_locked_test_set(many: Path) -> None:
    assert run("split", many, "--seeds", "1,2", "--fractions", ".6,.2,.2", "--locked").exit_code == 0
    splits = Splits.read(Cohort.open(many))
    assert splits.cases("test", 1) == splits.cases("test", 2)
    assert splits.cases("train", 1) != splits.cases("train", 2)


@pytest.mark.parametrize("more", [("--seeds", "one"), ("--fractions", ".5,.5"), ("--fractions", ".5,.1,.1")])
def test_split_says_what_is_wrong(many: Path, more: tuple[str, str]) -> None:
    assert run("split", many, *more).exit_code == 2


def test_a_case_is_exported_as_a_study_that_can_be_added_again(tmp_path: Path) -> None:
    study(tmp_path / "in", "P1")
    add(tmp_path / "in", tmp_path / "c")
    (key,) = Cohort.open(tmp_path / "c").keys()
    result = run("export", key, "--cohort", tmp_path / "c", "--dicom", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    assert {"RTSTRUCT.dcm", "RTPLAN.dcm", "RTDOSE.dcm"} < set(document(result)["files"])
    assert document(add(tmp_path / "out", tmp_path / "again", "--json"))["counts"]["added"] == 1
    assert run("export", key, "--cohort", tmp_path / "c", "--dicom", tmp_path / "out").exit_code == 2
    assert run("export", "nobody", "--cohort", tmp_path / "c", "--dicom", tmp_path / "new").exit_code == 2


def test_info_counts_and_draws_but_overwrites_nothing_else(tmp_path: Path) -> None:
    study(tmp_path / "in" / "good", "P1")
    study(tmp_path / "in" / "bad", "P2", edit_dose=as_beam)
    add(tmp_path / "in", tmp_path / "c")
    result = run("info", tmp_path / "c", "--out", tmp_path / "out", "--workers", 1, "--json")
    assert result.exit_code == 0, result.output
    found = document(result)
    assert (found["counts"]["cases"], found["counts"]["refused"]) == (1, 1)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"contact_sheet_1.png", "dvh_fan.png"}
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert run("info", tmp_path / "c", "--out", tmp_path / "out", "--workers", 1).exit_code == 2
    assert (tmp_path / "out" / "mine.txt").is_file()


def test_restore_names_a_folder_that_is_no_shipped_cohort(tmp_path: Path) -> None:
    (tmp_path / "shipped").mkdir()
    result = run("restore", tmp_path / "shipped", "--cohort", tmp_path / "c", "--json")
    assert result.exit_code == 2
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("name", ["add", "openkbp", "simulate", "restore", "export", "info", "split"])
def test_every_command_has_help(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert "Example: vmat-rt cohort " + name in " ".join(result.stdout.split())
