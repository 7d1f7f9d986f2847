"""The numbers of a small made tree, counted by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.measure_structure import (
    ROOT,
    Module,
    check_out,
    count_tests,
    find_arrows,
    find_circles,
    find_duplicate_runs,
    find_upward,
    measure,
    measure_functions,
    read_levels,
    read_modules,
)

SIX = "a = 1\nb = 2\nc = 3\nd = 4\ne = 5\nf = 6\n"
FILES = {
    "vmat_rt/__init__.py": "",
    "vmat_rt/errors.py": "class VmatError(Exception):\n    pass\n",
    "vmat_rt/low/__init__.py": "",
    "vmat_rt/low/one.py": "from vmat_rt.errors import VmatError\nfrom vmat_rt.low import two\n" + SIX,
    "vmat_rt/low/two.py": "import json\n\ndef late():\n    from vmat_rt.low.one import (\n  a,\n  b,\n )\n",
    "vmat_rt/high/top.py": "import vmat_rt.low.one\nimport vmat_rt.low.two\n\n\ndef f(x):\n    return x\n",
    "vmat_rt/low/rises.py": "from vmat_rt.high.top import f\n",
    "service/vmat_rt_service/__init__.py": "",
    "service/vmat_rt_service/loop.py": "from vmat_rt.high.top import f\nimport vmat_rt_service.lock\n",
    "service/vmat_rt_service/lock.py": "# a comment\n\n" + SIX.replace(" = ", "  =  ").replace("\nd", "\n\n# why\nd"),
    "tests/test_architecture.py": 'LEVELS: dict[str, int] = {"errors": 0, "low": 1, "high": 2}\n',
    "tests/test_x.py": (
        "import pytest\n\ndef test_it():\n    assert 1\n    with pytest.raises(ValueError):\n        int('x')\n"
        "\ndef helper():\n    assert 2\n"
    ),
}
"""lock.py holds the six lines of low/one.py with other spaces, a blank line and comments."""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_arrows_are_pairs_of_modules_wherever_the_import_stands(tree: Path) -> None:
    assert find_arrows(read_modules(tree)) == {
        ("vmat_rt.low.one", "vmat_rt.errors"),
        ("vmat_rt.low.one", "vmat_rt.low.two"),
        ("vmat_rt.low.two", "vmat_rt.low.one"),
        ("vmat_rt.high.top", "vmat_rt.low.one"),
        ("vmat_rt.high.top", "vmat_rt.low.two"),
        ("vmat_rt.low.rises", "vmat_rt.high.top"),
        ("vmat_rt_service.loop", "vmat_rt.high.top"),
        ("vmat_rt_service.loop", "vmat_rt_service.lock"),
    }


def test_circles_are_modules_that_reach_each_other(tree: Path) -> None:
    assert find_circles(find_arrows(read_modules(tree))) == [["vmat_rt.low.one", "vmat_rt.low.two"]]
    assert find_circles([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e")]) == [["a", "b", "c"]]
    assert find_circles([("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]) == []
    assert find_circles([]) == []


def test_upward_arrows_follow_the_levels_of_the_tree_itself(tree: Path) -> None:
    levels = read_levels(tree)
    assert levels == {"vmat_rt": {"errors": 0, "low": 1, "high": 2}}
    assert find_upward(find_arrows(read_modules(tree)), levels) == [("vmat_rt.low.rises", "vmat_rt.high.top")]
    assert read_levels(tree / "vmat_rt") == {}


def test_a_run_is_found_whatever_spaces_comments_and_blank_lines_are_in_it(tree: Path) -> None:
    (run,) = find_duplicate_runs(read_modules(tree))
    assert run.lines == tuple(SIX.splitlines())
    assert run.places == (
        (Path("vmat_rt/low/one.py"), 3, 8),
        (Path("service/vmat_rt_service/lock.py"), 3, 10),
    )


def written(**texts: str) -> list[Module]:
    return [Module(Path(f"{name}.py"), name, text) for name, text in texts.items()]


def places(modules: list[Module]) -> list[tuple[int, list[tuple[str, int, int]]]]:
    return [(len(run.lines), [(p.stem, a, b) for p, a, b in run.places]) for run in find_duplicate_runs(modules)]


def test_five_lines_are_no_run_and_seven_are_one() -> None:
    five, seven = SIX.removesuffix("f = 6\n"), SIX + "g = 7\n"
    assert places(written(x=five + "x = 0\n", y=five + "y = 0\n")) == []
    assert places(written(x="x = 0\n" + seven + "x = 0\n", y=seven)) == [(7, [("x", 2, 8), ("y", 1, 7)])]


def test_three_copies_are_one_run_and_a_longer_pair_among_them_another() -> None:
    longer = SIX + "g = 7\nh = 8\n"
    assert places(written(x=longer, y=SIX, z=longer)) == [
        (6, [("x", 1, 6), ("y", 1, 6), ("z", 1, 6)]),
        (8, [("x", 1, 8), ("z", 1, 8)]),
    ]


def test_copies_within_one_file_do_not_overlap() -> None:
    assert places(written(x=SIX + "x = 0\n" + SIX)) == [(6, [("x", 1, 6), ("x", 8, 13)])]
    assert places(written(x="a = 1\n" * 11)) == []


def test_imports_are_not_lines_of_a_run() -> None:
    imports = "from os import (\n    path,\n    sep,\n    name,\n)\nimport sys\nimport re\nimport json\n"
    assert places(written(x=imports, y=imports)) == []


def test_functions_are_as_long_as_their_text(tree: Path) -> None:
    assert measure_functions(read_modules(tree)) == [(5, "vmat_rt/low/two.py:late"), (2, "vmat_rt/high/top.py:f")]


def test_assertions_are_assert_statements_and_expected_errors(tree: Path) -> None:
    assert count_tests(written(x=(tree / "tests" / "test_x.py").read_text())) == (1, 3)


def test_the_whole_tree_is_measured(tree: Path) -> None:
    measured = measure(tree)
    assert measured.floors == {"vmat_rt": 1, "vmat_rt/low": 3, "vmat_rt/high": 1, "service/vmat_rt_service": 2}
    expected = {
        "modules": "7",
        "floors": "4",
        "most modules on one floor": "3 vmat_rt/low<br>2 service/vmat_rt_service<br>1 vmat_rt",
        "arrows between modules, vmat_rt": "6",
        "arrows between rooms, vmat_rt": "3",
        "upward arrows, vmat_rt": "1",
        "arrows between modules, vmat_rt_service": "1",
        "arrows between rooms, vmat_rt_service": "1",
        "upward arrows, vmat_rt_service": "no levels",
        "import circles": "1",
        "duplicate runs (lines in copies)": "1 (8)",
        "duplicate runs in tests (lines in copies)": "0 (0)",
        "test functions": "1",
        "assertions in tests": "3",
    }
    assert {name: measured.rows[name] for name in expected} == expected


def test_the_command_prints_a_column_per_tree(tree: Path) -> None:
    command = [sys.executable, "tools/measure_structure.py", str(tree), str(tree), "--runs"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert f"| measure | {tree} | {tree} |" in printed
    assert "| modules | 7 | 7 |" in printed
    assert "| vmat_rt/low | 3 | 3 |" in printed
    assert "6 lines: " in printed
    assert "vmat_rt/low/one.py:3-8" in printed


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_a_commit_is_taken_from_the_history(tmp_path: Path) -> None:
    assert {module.name for module in read_modules(check_out("HEAD", tmp_path))} > {"vmat_rt", "vmat_rt.errors"}
