"""`vmat-rt dvh --goals`: the sets that are asked for, on the sample study, with shells in JSON and in text."""

from __future__ import annotations

import json

import jsonschema
import pytest
from click.testing import CliRunner

from tests.external import REPOSITORY
from vmat_rt.cli import main
from vmat_rt.report.schema import read_json_schema

STUDY = REPOSITORY / "sample_data" / "prostate_simulated"
COMMAND = ["dvh", str(STUDY), "--dose", str(STUDY / "RTDOSE.dcm"), "--metrics", "D2%,D98%,HI"]
SHELL = "PTV_5600 outside PTV_7000 + 5 mm"


@pytest.fixture(scope="module")
def document() -> dict:
    done = CliRunner().invoke(main, [*COMMAND, "--goals", "chhip, coverage", "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_only_the_sets_that_are_asked_for_are_judged(document: dict) -> None:
    assert list(dict.fromkeys(goal["goal_set"] for goal in document["goals"])) == ["chhip", "coverage"]
    jsonschema.validate(document, json.loads(read_json_schema("dvh")))


def test_the_shell_of_the_lower_target_is_colder_and_more_even(document: dict) -> None:
    """PTV_5600 of the sample holds PTV_7000."""
    (shell,) = document["shells"]
    whole = next(entry for entry in document["structures"] if entry["name"] == "PTV_5600")
    assert shell["roi_name"] == SHELL
    assert shell["volume_cc"] < 0.5 * whole["volume_cc"]
    assert shell["metrics"]["D2%"] < whole["metrics"]["D2%"] - 5
    assert shell["metrics"]["HI"] < whole["metrics"]["HI"]
    d2 = next(g for g in document["goals"] if g["structure"] == "PTV_5600" and g["metric_evaluated"] == "D2%")
    assert d2["judged_on"] == SHELL
    assert d2["value"] == pytest.approx(shell["metrics"]["D2%"])
    assert d2["whole_value"] == pytest.approx(whole["metrics"]["D2%"])


def test_levels_of_chhip_are_converted_to_28_fractions(document: dict) -> None:
    """40 Gy in 3 Gy fractions, alpha/beta 3: BED 80; in 28 fractions D (1 + D / 84) = 80, D = 50.1 Gy."""
    levels = [goal["metric_evaluated"] for goal in document["goals"] if goal["goal_set"] == "chhip"]
    assert levels[2] == "V50.11Gy"


def test_the_text_names_the_shell_and_the_whole() -> None:
    done = CliRunner().invoke(main, [*COMMAND, "--goals", "coverage"])
    assert done.exit_code == 0
    line = next(line for line in done.output.splitlines() if SHELL in line and "D2%" in line and "coverage" in line)
    assert "(whole " in line


def test_a_set_that_is_not_there_ends_with_the_names_of_those_that_are() -> None:
    done = CliRunner().invoke(main, [*COMMAND, "--goals", "rtog"])
    assert done.exit_code == 2
    assert "there are quantec, reference_code, coverage, chhip" in done.output
