"""The documentation agrees with the code: problem codes, commands, words, files that pages point to, the site."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.external import module
from vmat_rt.cli import _COMMANDS, main
from vmat_rt.evaluate.measures import METRICS
from vmat_rt.metrics.grammar import ALLOWED
from vmat_rt.nn.channels import CHANNELS
from vmat_rt.protocol import packaged_protocols
from vmat_rt.train.recipe import packaged_recipes

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *sorted(DOCS.rglob("*.md"))]
CODE = re.compile(r"[A-Z]+(_[A-Z]+)+")
LINK = re.compile(r"\]\(([^)\s]+)\)")
README_WORDS = 700
"""What is read in a minute or two, tables and commands included."""


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def sources() -> Iterator[Path]:
    for folder in ("vmat_rt", "service"):
        yield from (ROOT / folder).rglob("*.py")


def problem_codes(path: Path) -> set[str]:
    """Codes in calls of Problem, warning or a local function that passes its first argument on as a code."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            value = node.args[0].value
            takes_code = name in {"Problem", "warning"} or name.lstrip("_") in {"refuse", "problem", "fault", "refusal"}
            if takes_code and isinstance(value, str) and CODE.fullmatch(value):
                found.add(value)
    return found


def test_every_problem_code_is_documented() -> None:
    page = text_of("problems.md")
    codes = {code for path in sources() for code in problem_codes(path)}
    assert len(codes) > 40
    absent = sorted(code for code in codes if f"`{code}`" not in page)
    assert not absent, f"docs/problems.md lacks {absent}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them from plain headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_pages_point_to_what_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [target for target in LINK.findall(text) if not target.startswith("http")]
    for target in targets:
        path, _, anchor = target.partition("#")
        place = (page.parent / path) if path else page
        assert place.exists(), f"{page.name} points to {target}"
        if anchor:
            assert anchor in anchors(place), f"{page.name} points to {target}, a heading that is not there"


def code_of(text: str) -> str:
    """What a page shows as code: fenced, indented or between backticks."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    return "\n".join([*fenced, *indented, *re.findall(r"`([^`\n]+)`", text)])


def commands_named(text: str) -> set[str]:
    return set(re.findall(r"(?:^|&& |/bin/)vmat-rt ([a-z]+)\b", code_of(text), re.MULTILINE))


def test_pages_name_only_commands_that_exist() -> None:
    named = {name for page in PAGES for name in commands_named(page.read_text(encoding="utf-8"))}
    assert named <= set(_COMMANDS), named - set(_COMMANDS)


@pytest.mark.parametrize("command", _COMMANDS)
def test_every_command_is_documented_and_has_an_example(command: str) -> None:
    guides = [page for page in PAGES if page.name not in {"CHANGELOG.md", "index.md"}]
    assert any(command in commands_named(page.read_text(encoding="utf-8")) for page in guides), "on no page"
    assert importlib.import_module(f"vmat_rt.commands.{command}").command
    shown = CliRunner().invoke(main, [command, "--help"])
    assert shown.exit_code == 0
    assert f"Example: vmat-rt {command}" in " ".join(shown.output.split())


def test_every_subcommand_of_cohort_is_documented() -> None:
    group = importlib.import_module("vmat_rt.commands.cohort").command
    absent = [name for name in group.commands if f"vmat-rt cohort {name}" not in text_of("cohort.md")]
    assert not absent


@pytest.mark.parametrize(
    "spelling", [word for word in re.findall(r"[A-Za-z][\w.%=\[\]]+", ALLOWED) if word[0] in "DVgHC"]
)
def test_every_dvh_metric_is_documented(spelling: str) -> None:
    assert f"`{spelling}`" in text_of("names.md")
    assert f"`{spelling}`" in text_of("json.md")


def test_every_number_of_an_evaluation_is_documented() -> None:
    page = text_of("evaluate.md")
    assert not [name for name in METRICS if f"`{name}`" not in page]


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("names.md", list(packaged_protocols())),
        ("train.md", list(packaged_recipes())),
        ("train.md", list(CHANNELS)),
    ],
    ids=["protocols", "recipes", "channels"],
)
def test_what_is_packaged_is_listed(page: str, names: list[str]) -> None:
    text = text_of(page)
    assert len(names) >= 3
    assert not [name for name in names if not re.search(rf"`{name}(:\w+)?`", text)]


def glossary() -> list[str]:
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", text_of("glossary.md"), re.MULTILINE)
    return [word for row in rows for word in re.split(r", ", row) if word != "word"]


def test_the_glossary_holds_the_words_that_are_ours() -> None:
    ours = {"prior", "bundle", "trees", "channel", "cohort", "share", "recipe", "run", "seed", "split", "gridded",
            "protocol", "goal", "companion plan", "journal", "outbox", "staging", "quarantined", "fold", "intake",
            "D95%", "V70Gy"}  # fmt: skip
    assert ours <= set(glossary()), ours - set(glossary())
    assert len(glossary()) == len(set(glossary()))


def test_every_word_of_the_glossary_is_used() -> None:
    read = [page.read_text(encoding="utf-8") for page in PAGES if page.name not in {"glossary.md", "CHANGELOG.md"}]
    used = "\n".join([*read, *(path.read_text(encoding="utf-8") for path in sources())]).lower()
    unused = [word for word in glossary() if not re.search(rf"(?<!\w){re.escape(word.lower())}", used)]
    assert not unused, f"words that nobody uses: {unused}"


def navigation(entries: object) -> Iterator[str]:
    """Pages that the site's navigation names."""
    if isinstance(entries, str):
        yield entries
    for entry in entries if isinstance(entries, list) else entries.values() if isinstance(entries, dict) else ():
        yield from navigation(entry)


def site_settings() -> dict[str, object]:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    settings: dict[str, object] = yaml.safe_load(text)
    return settings


def test_the_navigation_names_every_page() -> None:
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert set(navigation(site_settings()["nav"])) == pages | {"contributing.md", "changelog.md"}


def test_decisions_are_listed_and_dated() -> None:
    index = text_of("decisions/index.md")
    for page in sorted((DOCS / "decisions").glob("*.md")):
        if page.name != "index.md":
            text = page.read_text(encoding="utf-8")
            title, date = text.splitlines()[0].removeprefix("# "), re.search(r"20\d\d-\d\d-\d\d", text)
            assert f"| [{title}]({page.name}) |" in index
            assert date, f"{page.name} has no date"


@pytest.mark.slow
def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    for name in ("mkdocs", "material", "mkdocstrings"):
        module(name)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = {
        **os.environ,
        "NO_MKDOCS_2_WARNING": "1",
        "http_proxy": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert built.returncode == 0, built.stderr[-2000:]
    assert (tmp_path / "contributing.html").is_file()
    assert "compute_dvhs" in (tmp_path / "api.html").read_text(encoding="utf-8")
    assert (tmp_path / "files" / "service" / "config.example.yaml").is_file()
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=\"?([^\" >]+)", page.read_text(encoding="utf-8"))
        loaded += re.findall(
            r"<link[^>]*\srel=\"?(?:stylesheet|preconnect|icon)[^>]*href=\"?([^\" >]+)", page.read_text("utf-8")
        )
        assert loaded
        assert not [target for target in loaded if "//" in target], f"{page.name} loads from elsewhere"


def test_the_citation_is_valid_and_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    module("check_jsonschema")
    command = ["check_jsonschema", "--builtin-schema", "vendor.citation-file-format", str(ROOT / "CITATION.cff")]
    checked = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_changelog_tells_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings[1] == f"{citation['version']} - {citation['date-released']}"


def test_hooks_before_a_commit_use_what_is_installed() -> None:
    settings = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in settings["repos"]] == ["local"]
    hooks = settings["repos"][0]["hooks"]
    assert {"ruff", "ruff-format", "mypy"} <= {hook["id"] for hook in hooks}
    assert {hook["language"] for hook in hooks} == {"system"}


def test_the_readme_is_read_in_a_minute_and_opens_with_a_picture() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= README_WORDS
    assert "docs/report.png" in text.split("##")[0]
    assert (DOCS / "report.png").stat().st_size < 300_000


def python_in(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if python_in(page)], ids=page_id)
def test_python_in_pages_runs(page: Path) -> None:
    for code in python_in(page):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]


PER = r"\b(case|clause|core|epoch|event|fraction|Gy|mistake|patient|plan|plane|process|step|study|voxel|worker)"
OF_WHAT = r"(case|core|day|fraction|gray|mistake|patient|plane|process|run|step|study|voxel|worker|year)\b"
IDIOMS = {
    r"(?<![Tt]here )\bis no (?!longer|better|worse|more|less|lower|higher)": "is not a",
    rf"{PER}s? an? {OF_WHAT}": "per",
    r"\basked for: ": "aim:",
}
"""What a reader from elsewhere stumbles over, and what to write instead."""


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=page_id)
def test_pages_are_in_plain_words(page: Path) -> None:
    text = re.sub(r"`[^`]*`", "", page.read_text(encoding="utf-8"))
    if page.name == "problems.md":  # its rows repeat the program's own sentences
        text = re.sub(r"^\|.*$", "", text, flags=re.MULTILINE)
    found = {match[0]: better for idiom, better in IDIOMS.items() for match in [re.search(idiom, text)] if match}
    assert not found
