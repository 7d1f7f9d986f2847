"""Counts what the tests check, so that moving them can be shown to lose nothing.

    python tools/count_assertions.py [--root CHECKOUT] [--collect]

Read from the source: `assert` statements, `pytest.raises` and `pytest.warns`, and calls of functions named assert_...
(numpy's, torch's and our own). With --collect also the tests that pytest finds, which takes its time to import them.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

RULES = ("tests/test_architecture.py", "tests/test_tree.py")
"""Rules on every file: their tests grow with the files, not with what is checked."""


def find_called(node: ast.Call) -> str:
    """The dotted name of the function that is called; empty for any other expression."""
    text = ast.unparse(node.func)
    return text if re.fullmatch(r"[\w.]+", text) else ""


def list_checks(path: Path) -> Iterator[str]:
    """One word per check in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assert):
            yield "assert"
        elif isinstance(node, ast.Call):
            name = find_called(node)
            if name in {"pytest.raises", "pytest.warns"}:
                yield name
            elif name.split(".")[-1].startswith("assert_"):
                yield "assert_...()"
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            yield "test functions"


def count_collected(root: Path) -> Counter[str]:
    """How many tests pytest finds in each file of the checkout, with the checkout's own modules."""
    path = os.pathsep.join([str(root), str(root / "service"), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-o", "addopts=", "-p", "no:cacheprovider", "tests"],
        cwd=root, env={**os.environ, "PYTHONPATH": path}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    found = Counter({name: int(number) for name, number in re.findall(r"^(\S+\.py): (\d+)$", run.stdout, re.M)})
    if run.returncode or not found:
        raise SystemExit(f"pytest could not collect the tests:\n{run.stdout[-2000:]}{run.stderr[-2000:]}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--collect", action="store_true", help="also count the tests that pytest finds")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    files = sorted((root / "tests").rglob("*.py"))
    counts = Counter(word for path in files for word in list_checks(path))
    counts["files of tests"] = sum(path.name.startswith("test_") for path in files)
    for word, number in sorted(counts.items()):
        print(f"{number:6d}  {word}")
    if arguments.collect:
        found = count_collected(root)
        rules = sum(found[name] for name in RULES)
        print(f"{found.total():6d}  tests collected, {rules} of them a rule of {' or '.join(RULES)} on one file")


if __name__ == "__main__":
    main()
