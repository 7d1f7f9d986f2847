"""The tests mirror the house: each module has its file, files stay small, and each bad input is a test of its own.

The test of `vmat_rt/x/y.py` is `tests/x/test_y.py`, that of `service/vmat_rt_service/x/y.py` is
`tests/service/x/test_y.py`. A module without such a file is named, with its dots, in the docstring of the test file
that covers it, in a paragraph that begins with "Covers".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
PACKAGES = {
    "vmat_rt": (ROOT / "vmat_rt", TESTS),
    "vmat_rt_service": (ROOT / "service/vmat_rt_service", TESTS / "service"),
}
MOST_LINES = 300
TOO_LONG = {"geometry/test_beams.py"}
"""Past MOST_LINES and still to be split. None may be added, and none may stay once it is short."""

WITHOUT_DOCSTRING: set[str] = set()
"""Likewise."""

LOOPS_OVER_BAD_INPUTS = {"geometry/test_beams.py"}
"""Still to be parametrised, likewise."""

STILL_TO_BE_NAMED = {"vmat_rt.geometry.fluence": "geometry/test_beams.py"}
"""Modules that are covered by a file that is still to be split, likewise."""


def module_files() -> list[tuple[str, Path]]:
    """(dotted name, place of its own test file) of every module that holds more than a docstring and constants."""
    found = []
    for package, (folder, tests) in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [part for part in path.relative_to(folder).with_suffix("").parts if part != "__init__"]
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if parts and any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.walk(tree)):
                found.append((".".join([package, *parts]), tests.joinpath(*parts[:-1], f"test_{parts[-1]}.py")))
    return found


def files_of_tests() -> list[Path]:
    return sorted(TESTS.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(TESTS).as_posix()


def covered_by(path: Path) -> set[str]:
    """The modules that the docstring of a test file names in its paragraphs that begin with "Covers"."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraphs = [text for text in docstring.split("\n\n") if text.startswith("Covers ")]
    return {name for text in paragraphs for name in re.findall(r"\bvmat_rt(?:_service)?(?:\.\w+)+", text)}


@cache
def named() -> dict[str, str]:
    """Module -> a test file that names it."""
    tests = [path for path in files_of_tests() if path.name.startswith("test_")]
    return {module: name_of(path) for path in tests for module in covered_by(path)} | STILL_TO_BE_NAMED


@pytest.mark.parametrize(("module", "own"), module_files(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_module_has_its_test_file_or_is_named_in_the_one_that_covers_it(module: str, own: Path) -> None:
    place = own.relative_to(ROOT)
    assert own.is_file() or module in named(), f'write {place}, or name {module} under "Covers" where it is tested'
    assert not (own.is_file() and module in named()), f"{module} has {place}; {named().get(module)} need not name it"


def test_what_is_named_exists() -> None:
    modules = {module for module, _ in module_files()}
    absent = {module: where for module, where in named().items() if module not in modules}
    assert not absent, f"named as covered, but there is no such module: {absent}"
    for where in named().values():
        assert (TESTS / where).is_file(), where


@pytest.mark.parametrize("path", files_of_tests(), ids=name_of)
def test_files_of_tests_are_small_and_say_what_they_are_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    fits = len(text.splitlines()) <= MOST_LINES
    assert fits or name_of(path) in TOO_LONG, f"past {MOST_LINES} lines: split it along its headings or by module"
    assert not (fits and name_of(path) in TOO_LONG), "it is short by now: take it off the list"
    says = not text or ast.get_docstring(ast.parse(text)) is not None
    assert says != (name_of(path) in WITHOUT_DOCSTRING), "a file says what it is for; one that does is on no list"
    assert not re.search(r"(?i)\b(utils|helpers|manager)\b", path.stem)


def loops_over_bad_inputs(path: Path) -> Iterator[int]:
    """Lines of `for` statements whose body expects exceptions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.For):
            items = [item for inner in ast.walk(node) if isinstance(inner, ast.With) for item in inner.items]
            if any("pytest.raises" in ast.unparse(item.context_expr) for item in items):
                yield node.lineno


@pytest.mark.parametrize("path", files_of_tests(), ids=name_of)
def test_each_bad_input_is_a_test_of_its_own(path: Path) -> None:
    lines = list(loops_over_bad_inputs(path))
    expected = name_of(path) in LOOPS_OVER_BAD_INPUTS
    assert bool(lines) == expected, f"parametrise the loop in line {lines}" if lines else "take it off the list"


def test_a_loop_over_bad_inputs_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("for a in b:\n    with c, pytest.raises(E):\n        f(a)\nfor a in b:\n    f(a)\n")
    assert list(loops_over_bad_inputs(tmp_path / "a.py")) == [1]
