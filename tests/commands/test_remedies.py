"""A remedy that a message gives can be followed: the options it names exist, and following it gives an answer."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.dicom_phantom import Phantom, edited, write_study
from vmat_rt.cli import main

ROOT = Path(__file__).resolve().parents[2]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
OF_OTHERS = {"--porcelain", "--untracked-files", "--nnodes", "--nproc-per-node"}
"""Of git and torchrun."""


def _options(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    if isinstance(command, click.Group):
        with click.Context(command) as context:
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                yield from _options(found)


def _named_in_sentences() -> Iterator[tuple[str, str]]:
    """Options that texts of the program name, and where; docstrings are none of its texts."""
    for path in sorted((ROOT / "vmat_rt").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from ((option, path.name) for option in OPTION.findall(node.value))


def test_every_option_that_a_text_names_is_one() -> None:
    known = {*_options(main), "--help", "--version"}
    assert {(option, place) for option, place in _named_in_sentences() if option not in known | OF_OTHERS} == set()


def _two_structure_sets(phantom: Phantom) -> list[str]:
    with edited(phantom.structures_file, phantom.folder / "second.dcm") as ds:
        ds.SOPInstanceUID = phantom.options.uid("second")
    return ["--structures", phantom.options.uid("second")]


def _two_patients(phantom: Phantom) -> list[str]:
    write_study(phantom.folder / "other", seed="other", patient="OTHER")
    return ["--structures", str(_uid(phantom.structures_file))]


def _lost_patients(phantom: Phantom) -> list[str]:
    with edited(phantom.structures_file) as ds:
        ds.PatientID = ds.PatientName = "ANON"
    return ["--accept-deidentified"]


def _uid(path: Path) -> str:
    with edited(path) as ds:
        return str(ds.SOPInstanceUID)


FOLLOWED: dict[str, tuple[str, Callable[[Phantom], list[str]]]] = {
    "two structure sets": ("SEVERAL_STRUCTURE_SETS", _two_structure_sets),
    "two patients": ("TWO_PATIENTS", _two_patients),
    "PatientIDs lost": ("TWO_PATIENTS", _lost_patients),
}


@pytest.mark.parametrize("fault", FOLLOWED)
def test_following_a_remedy_gives_an_answer(tmp_path: Path, fault: str) -> None:
    code, make = FOLLOWED[fault]
    phantom = write_study(tmp_path / "study", plan=True, dose=True)
    follow = make(phantom)
    command = ["dvh", str(phantom.folder), "--dose", str(phantom.dose_file), "--metrics", "Dmean", "--json"]
    before = CliRunner().invoke(main, command)
    told = {problem["code"]: problem["remedy"] for problem in json.loads(before.stdout)["problems"]}
    assert before.exit_code == 3
    assert follow[0] in told[code]
    after = CliRunner().invoke(main, [*command, *follow])
    assert after.exit_code == 0, after.output
    assert json.loads(after.stdout)["structures"]
