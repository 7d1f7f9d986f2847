"""Mistakes in files that people write, and damage to those that programs wrote: a sentence, never a dump."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cohort.cases import small_cohort
from vmat_rt.cli import main
from vmat_rt.commands.common import say

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "sample_data" / "prostate_cohort"
STUDY = ROOT / "sample_data" / "prostate_simulated"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def is_a_sentence(result: Result) -> None:
    assert result.stdout == ""
    assert len(result.stderr) < 600
    assert result.stderr.count("\n") <= 2
    assert not any(word in result.stderr for word in ("pydantic", "validation error", "Traceback", "Usage"))


def test_a_cohort_as_it_ships_is_told_how_to_unpack() -> None:
    for command in (("cohort", "info", SHIPPED), ("cohort", "split", SHIPPED)):
        result = run(*command)
        assert result.exit_code == 2
        is_a_sentence(result)
        assert f"`vmat-rt cohort restore {SHIPPED} --cohort DIR`" in result.stderr
    document = json.loads(run("cohort", "info", SHIPPED, "--json").stdout)
    assert document["problems"][0]["code"] == "CONFIGURATION"


def test_only_a_wrong_use_is_called_usage(tmp_path: Path) -> None:
    result = run("predict")
    assert (result.exit_code, result.stderr.partition(" ")[0]) == (2, "Usage:")
    wrong = run("predict", STUDY, "--protocol", "nowhere", "--out", tmp_path)
    assert (wrong.exit_code, wrong.stderr.partition(" ")[0]) == (2, "Error:")


PROTOCOLS = {
    "name: a\nname: b\n": "the key name stands twice, again in line 2",
    "extends: prostate_70_28\nfractionz: 3\n": "there is no key fractionz (did you mean fractions?)",
    "extends: prostate_70_28\nfractions: -1\n": "fractions: input should be greater than 0, not -1",
    "extends: prostate_70_28\naliases: 3\n": "aliases are a list of ROI names per structure",
    "extends: [a]\n": "extends names one protocol",
    "extends: prostate_70_28\nstructures: 3\n": "structures: input should be a valid tuple, not 3",
    "extends: prostate_70_28\nstructures: [3]\n": "structures.0: input should be a valid dictionary",
    "- a\n": "must be a mapping of keys to values",
    "a: [\n": "cannot be read as YAML",
}


@pytest.mark.parametrize("text", PROTOCOLS)
def test_a_mistake_in_a_protocol_is_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text, encoding="utf-8")
    result = run("predict", STUDY, "--protocol", path, "--out", tmp_path / "out")
    assert result.exit_code == 2
    is_a_sentence(result)
    assert "site.yaml" in result.stderr
    assert PROTOCOLS[text].casefold() in result.stderr.casefold()


def test_a_protocol_that_extends_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(f"extends: {path}\n", encoding="utf-8")
    result = run("predict", STUDY, "--protocol", path, "--out", tmp_path / "out")
    assert result.exit_code == 2
    is_a_sentence(result)
    assert "leads back" in result.stderr


SERVICES = {
    "inbox: a\noutbox: b\noutbox: c\n": "the key outbox stands twice, again in line 3",
    "inbox: a\noutbox: b\nwokers: 3\n": "there is no key wokers (did you mean workers?)",
    "inbox: a\noutbox: b\nweb: {port: 99999}\n": "web.port: input should be less than or equal to 65535, not 99999",
    "inbox: 3\noutbox: b\n": "inbox: input is not a valid path",
    "outbox: b\n": "the key inbox is missing",
    "inbox: a\noutbox: b\ndestinations: 3\n": "destinations: input should be a valid tuple, not 3",
    "inbox: a\noutbox: b\nlisten: [1]\n": "listen: input should be",
    "just words\n": "must be a mapping of keys to values",
}


@pytest.mark.parametrize("text", SERVICES)
def test_a_mistake_in_a_service_configuration_is_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "service.yaml"
    path.write_text(text, encoding="utf-8")
    result = run("watch", "--config", path, "--once")
    assert result.exit_code == 2
    is_a_sentence(result)
    assert "service.yaml" in result.stderr
    assert SERVICES[text].casefold() in result.stderr.casefold()


def test_a_damaged_state_of_a_service_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "service.json").write_text('{"inbox": 3}', encoding="utf-8")
    result = run("jobs", "--state", tmp_path)
    assert result.exit_code == 2
    is_a_sentence(result)
    assert "service.json is damaged" in result.stderr


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


DAMAGE: dict[str, tuple[Callable[[Path], None], tuple[str, ...], str]] = {
    "a key of cohort.yaml": (
        lambda c: replaced(c / "cohort.yaml", "licence:", "license:"),
        ("info",),
        "there is no key provenance.license",
    ),
    "cohort.yaml twice": (
        lambda c: replaced(c / "cohort.yaml", "name: pelvis", "name: a\nname: b"),
        ("info",),
        "the key name stands twice, again in line",
    ),
    "a cohort that is not one": (lambda c: (c / "cohort.yaml").unlink(), ("info",), "is not a cohort"),
    "a record": (
        lambda c: replaced(c / "cases" / "c0001.zarr" / "record.json", '"fractions": 28', '"fractions": -3'),
        ("info",),
        "fractions: input should be greater than 0, not -3",
    ),
    "a record that is not JSON": (
        lambda c: replaced(c / "cases" / "c0001.zarr" / "record.json", "{", "["),
        ("info",),
        "Invalid JSON",
    ),
}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort") / "pelvis"
    small_cohort(folder)
    return folder


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_to_a_cohort_is_a_sentence(cohort: Path, tmp_path: Path, what: str) -> None:
    damage, command, said = DAMAGE[what]
    shutil.copytree(cohort, tmp_path / "c")
    damage(tmp_path / "c")
    result = run("cohort", *command, tmp_path / "c", "--workers", "1")
    assert result.exit_code in {2, 3}
    is_a_sentence(result)
    assert said.casefold() in result.stderr.casefold()


def test_damage_to_splits_is_a_sentence(cohort: Path, tmp_path: Path) -> None:
    shutil.copytree(cohort, tmp_path / "c")
    (tmp_path / "c" / "splits.yaml").write_text("sha256: a\nschema: 1\n", encoding="utf-8")
    result = run("evaluate", "prostate_simulated", "--cohort", tmp_path / "c", "--out", tmp_path / "o")
    assert result.exit_code == 2
    is_a_sentence(result)
    assert "splits.yaml is damaged" in result.stderr
    assert "vmat-rt cohort split" in result.stderr


@pytest.mark.parametrize(
    ("content", "said"), [('{"name": 3}', "the key schema_version is missing"), ("no JSON", "Invalid JSON")]
)
def test_a_damaged_bundle_is_a_sentence(tmp_path: Path, content: str, said: str) -> None:
    bundle = tmp_path / "mine"
    bundle.mkdir()
    (bundle / "bundle.json").write_text(content, encoding="utf-8")
    result = run("predict", STUDY, "--model", bundle, "--out", tmp_path / "out")
    assert result.exit_code == 4
    is_a_sentence(result)
    assert "bundle mine: bundle.json is damaged" in result.stderr
    assert said in result.stderr


def test_a_terminal_is_shown_no_character_that_steers_it(capsys: pytest.CaptureFixture[str]) -> None:
    say("PTV\x1b[2J\x07 \u202eabc\x9b1m\nM\u00e4nnlich")
    assert capsys.readouterr().out == "PTV?[2J? ?abc?1m\nM\u00e4nnlich\n"
