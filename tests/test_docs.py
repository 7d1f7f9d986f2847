"""The documentation agrees with the code: problem codes, commands, files that pages point to."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmat_rt.cli import _COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = re.compile(r"[A-Z]+(_[A-Z]+)+")


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
    page = (ROOT / "docs" / "problems.md").read_text(encoding="utf-8")
    codes = {code for path in sources() for code in problem_codes(path)}
    assert len(codes) > 40
    absent = sorted(code for code in codes if f"`{code}`" not in page)
    assert not absent, f"docs/problems.md lacks {absent}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_pages_point_to_what_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)\)", text)
    missing = [t for t in targets if not t.startswith("http") and not (page.parent / t).exists()]
    assert not missing


def test_pages_name_only_commands_that_exist() -> None:
    spelt = re.compile(r"(?:^    |`)vmat-rt ([a-z]+)\b", re.MULTILINE)
    named = {name for page in PAGES for name in spelt.findall(page.read_text(encoding="utf-8"))}
    assert named <= set(_COMMANDS), named - set(_COMMANDS)
    assert set(_COMMANDS) - named == set(), "a command stands on no page"
