"""How the code is built, in numbers, commits side by side: `python tools/measure_structure.py 329c757 main`.

Each argument is a commit, or a folder that holds a checkout; without one the working tree is measured. Printed as
Markdown. `--runs` lists the duplicate runs of the last one, too.

    floor      a folder with modules of vmat_rt or of the service; __init__.py does not count
    room       what stands directly in vmat_rt or in the service: a folder or a module
    arrow      one module imports another of the project, at the top or inside a function, however many names it takes
    upward     an arrow to a room of a higher level, by the LEVELS of that commit's tests/test_architecture.py
    circle     modules that import each other, directly or by way of others
    run        6 lines or more that stand in two places, without blank lines, comments and imports, spaces folded
"""

from __future__ import annotations

import argparse
import ast
import io
import subprocess
import tarfile
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"vmat_rt": Path("vmat_rt"), "vmat_rt_service": Path("service/vmat_rt_service")}
LEVELS = {"vmat_rt": "LEVELS", "vmat_rt_service": "SERVICE_LEVELS"}
LEAST_LINES = 6
LONGEST = 5


@dataclass(frozen=True)
class Module:
    """A source file: its path within the checkout, its dotted name, its text."""

    path: Path
    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]

    @property
    def room(self) -> str:
        """PACKAGE.ROOM; the package's own __init__ is a room, too."""
        return ".".join(self.name.split(".")[:2])

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())


Numbered = tuple[Path, list[tuple[int, str]]]
"""A file as the numbers and texts of its lines."""


@dataclass(frozen=True)
class DuplicateRun:
    """Lines that stand in several places. places: (path, first line, last line) of each, in the files as they are."""

    lines: tuple[str, ...]
    places: tuple[tuple[Path, int, int], ...]


def read_modules(root: Path) -> list[Module]:
    """The modules of both packages."""
    found = []
    for package, folder in PACKAGES.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            name = ".".join((package, *(part for part in parts if part != "__init__")))
            found.append(Module(path.relative_to(root), name, path.read_text(encoding="utf-8")))
    return found


def read_files(root: Path, *folders: str) -> list[Module]:
    """Every Python file under these folders of a checkout, as modules that nobody imports."""
    paths = [path for folder in folders for path in sorted((root / folder).rglob("*.py"))]
    return [Module(p.relative_to(root), p.relative_to(root).as_posix(), p.read_text(encoding="utf-8")) for p in paths]


def find_arrows(modules: Iterable[Module]) -> set[tuple[str, str]]:
    """(importing, imported) by dotted names, within the project."""
    modules = list(modules)
    names = {module.name for module in modules}
    found = {(module.name, name) for module in modules for name in _find_imported(module.tree, names)}
    return {(one, other) for one, other in found if one != other}


def _find_imported(tree: ast.Module, names: set[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom) and node.module in names:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in names else str(node.module)


def find_circles(pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Groups of names that reach each other along the arrows."""
    pairs = list(pairs)
    names = sorted({name for pair in pairs for name in pair})
    place = {name: number for number, name in enumerate(names)}
    ends = np.array([[place[one], place[other]] for one, other in pairs], np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(pairs)), tuple(ends)), shape=(len(names), len(names)))
    groups: dict[int, list[str]] = defaultdict(list)
    for name, group in zip(names, connected_components(graph, connection="strong")[1], strict=True):
        groups[int(group)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def read_levels(root: Path) -> dict[str, dict[str, int]]:
    """package -> room -> level, from the test of the architecture. A package without levels there is absent."""
    path = root / "tests" / "test_architecture.py"
    named = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else []:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            named[node.target.id] = node.value
    return {package: ast.literal_eval(named[name]) for package, name in LEVELS.items() if name in named}


def find_upward(pairs: Iterable[tuple[str, str]], levels: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str]]:
    """Arrows within one package to a room of a higher level. A room without a level is judged in neither direction."""
    found = []
    for one, other in pairs:
        (package, *below), (package_of_other, *below_other) = one.split("."), other.split(".")
        if package == package_of_other and below and below_other:
            known = levels.get(package, {})
            if known.get(below_other[0], -1) > known.get(below[0], len(known)):
                found.append((one, other))
    return found


def measure_functions(modules: Iterable[Module]) -> list[tuple[int, str]]:
    """(lines, where) of every function, longest first."""
    found = [
        ((node.end_lineno or node.lineno) - node.lineno + 1, f"{module.path}:{node.name}")
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return sorted(found, key=lambda each: (-each[0], each[1]))


def normalise(module: Module) -> list[tuple[int, str]]:
    """(line number, text) of what counts for duplicates."""
    skipped: set[int] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            skipped |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = ((number, " ".join(line.split())) for number, line in enumerate(module.text.splitlines(), 1))
    return [(number, line) for number, line in lines if line and not line.startswith("#") and number not in skipped]


def find_duplicate_runs(modules: Iterable[Module], least: int = LEAST_LINES) -> list[DuplicateRun]:
    """Runs of at least so many equal lines in two places or more, none of them part of a longer one; longest first."""
    files = [(module.path, normalise(module)) for module in modules]
    windows: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
    for number, (_, lines) in enumerate(files):
        for start in range(len(lines) - least + 1):
            windows[tuple(line for _, line in lines[start : start + least])].append((number, start))
    found: dict[tuple[str, ...], set[tuple[int, int]]] = defaultdict(set)
    for places in windows.values():
        for index, one in enumerate(places):
            for other in places[index + 1 :]:
                text = _find_longest(files, one, other)
                if len(text) >= least:
                    found[text] |= {one, other}
    runs = [
        DuplicateRun(text, tuple(_place(files[n], start, len(text)) for n, start in sorted(places)))
        for text, places in found.items()
    ]
    return sorted(runs, key=lambda run: (-len(run.lines) * (len(run.places) - 1), run.places))


def _find_longest(files: list[Numbered], one: tuple[int, int], other: tuple[int, int]) -> tuple[str, ...]:
    """The equal lines from two places on, which do not overlap; none where the lines before are equal, too."""
    (first, i), (second, j) = one, other
    here, there = files[first][1], files[second][1]
    if i and j and here[i - 1][1] == there[j - 1][1]:
        return ()
    most = min(len(here) - i, len(there) - j, j - i if first == second else len(here))
    count = 0
    while count < most and here[i + count][1] == there[j + count][1]:
        count += 1
    return tuple(line for _, line in here[i : i + count])


def _place(file: Numbered, start: int, count: int) -> tuple[Path, int, int]:
    path, lines = file
    return path, lines[start][0], lines[start + count - 1][0]


def count_tests(files: Iterable[Module]) -> tuple[int, int]:
    """Test functions, and what they and their helpers assert: assert statements and expected errors or warnings."""
    tests = asserted = 0
    for module in files:
        for node in ast.walk(module.tree):
            tests += isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
            asserted += isinstance(node, ast.Assert) or (
                isinstance(node, ast.Attribute) and ast.unparse(node) in {"pytest.raises", "pytest.warns"}
            )
    return tests, asserted


@dataclass(frozen=True)
class HouseMeasures:
    """rows: measure -> its words. floors: folder -> modules in it. runs: outside the tests."""

    rows: dict[str, str]
    floors: dict[str, int]
    runs: list[DuplicateRun]


def measure(root: Path) -> HouseMeasures:
    """The numbers of one checkout."""
    modules, tests = read_modules(root), read_files(root, "tests")
    pairs, levels, names = find_arrows(modules), read_levels(root), {module.name: module for module in modules}
    rooms = {(names[a].room, names[b].room) for a, b in pairs if names[a].room != names[b].room}
    floors = Counter(module.path.parent.as_posix() for module in modules if module.path.stem != "__init__")
    runs = find_duplicate_runs([*modules, *read_files(root, "benchmarks", "tools")])
    functions, (test_count, asserted) = measure_functions(modules), count_tests(tests)
    rows = {
        "modules": str(sum(floors.values())),
        "floors": str(len(floors)),
        "most modules on one floor": "<br>".join(f"{count} {floor}" for floor, count in floors.most_common(3)),
    }
    for package in PACKAGES:
        inside = {pair for pair in pairs if all(name.partition(".")[0] == package for name in pair)}
        rows[f"arrows between modules, {package}"] = str(len(inside))
        of_rooms = {pair for pair in rooms if all(name.partition(".")[0] == package for name in pair)}
        rows[f"arrows between rooms, {package}"] = str(len(of_rooms))
        rows[f"upward arrows, {package}"] = str(len(find_upward(inside, levels))) if package in levels else "no levels"
    rows["import circles"] = str(len(find_circles(pairs)))
    longest = sorted(modules, key=lambda module: -module.lines)[:LONGEST]
    rows["longest modules, lines"] = "<br>".join(f"{m.lines} {m.path}" for m in longest)
    rows["longest functions, lines"] = "<br>".join(f"{count} {where}" for count, where in functions[:LONGEST])
    rows["duplicate runs (lines in copies)"] = _count_runs(runs)
    rows["duplicate runs in tests (lines in copies)"] = _count_runs(find_duplicate_runs(tests))
    rows["test functions"], rows["assertions in tests"] = str(test_count), str(asserted)
    return HouseMeasures(rows, dict(floors), runs)


def _count_runs(runs: list[DuplicateRun]) -> str:
    """How many, and the lines of files in them, each counted once, the first occurrence of every run left out."""
    copies = {(path, line) for run in runs for path, first, last in run.places[1:] for line in range(first, last + 1)}
    return f"{len(runs)} ({len(copies)})"


def check_out(commit: str, folder: Path) -> Path:
    """The files of a commit, in a folder of their own."""
    packed = subprocess.run(
        ["git", "archive", "--format=tar", commit], cwd=ROOT, check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def write_table(heading: str, columns: list[str], rows: Mapping[str, list[str]]) -> str:
    lines = [f"| {heading} | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    return "\n".join(lines + [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs="*", default=[str(ROOT)], metavar="COMMIT_OR_FOLDER")
    parser.add_argument("--runs", action="store_true", help="list the duplicate runs of the last one")
    options = parser.parse_args()
    measured = []
    for tree in options.trees:
        with tempfile.TemporaryDirectory() as name:
            measured.append(measure(Path(tree) if Path(tree).is_dir() else check_out(tree, Path(name))))
    columns = ["working tree" if tree == str(ROOT) else tree for tree in options.trees]
    print(write_table("measure", columns, {name: [each.rows[name] for each in measured] for name in measured[0].rows}))
    floors = sorted({floor for each in measured for floor in each.floors})
    print(
        "\n"
        + write_table(
            "modules on floor", columns, {f: [str(each.floors.get(f, 0)) for each in measured] for f in floors}
        )
    )
    for run in measured[-1].runs if options.runs else []:
        print(f"\n{len(run.lines)} lines: " + " ~ ".join(f"{path}:{first}-{last}" for path, first, last in run.places))


if __name__ == "__main__":
    main()
