"""The arrows of docs/architecture.md, read from the source of every module."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "vmat_rt"
SERVICE = ROOT / "service" / "vmat_rt_service"

LEVELS: dict[str, int] = {
    "errors": 0,
    "grid": 1,
    "scrubbing": 1,
    "strict": 1,
    "system": 1,
    "case": 2,
    "protocol": 3,
    "learned": 3,
    "bundle": 3,
    "predictor": 3,
    "naming": 4,
    "geometry": 4,
    "assembly": 5,
    "metrics": 5,
    "gate": 6,
    "trust": 6,
    "dicom": 6,
    "imagefiles": 6,
    "cohort": 6,
    "phantom": 6,
    "baseline": 6,
    "nn": 6,
    "report": 6,
    "prediction": 7,
    "study": 7,
    "curation": 7,
    "train": 7,
    "evaluate": 8,
    "api": 8,
    "commands": 9,
    "cli": 10,
}
SERVICE_LEVELS: dict[str, int] = {
    "addresses": 0,
    "visitors": 0,
    "logs": 0,
    "lock": 0,
    "files": 0,
    "children": 0,
    "config": 0,
    "disk": 1,
    "places": 1,
    "journal": 2,
    "outbox": 3,
    "intake": 4,
    "work": 4,
    "network": 4,
    "web": 4,
    "folders": 5,
    "doctor": 5,
    "supervisor": 6,
}
SERVICE_SIBLINGS = {"intake", "work", "network", "web"}
SIBLINGS = {"dicom", "imagefiles", "cohort", "phantom", "baseline", "nn", "report"}
HOMES = {
    "pydicom": {"dicom"},
    "SimpleITK": {"geometry", "imagefiles"},
    "torch": {"nn", "train"},
    "lightning_fabric": {"train"},
    "safetensors": {"nn", "train"},
    "lightgbm": {"baseline"},
    "click": {"cli", "commands"},
    "jinja2": {"report"},
    "matplotlib": {"report"},
    "zarr": {"cohort"},
    "fsspec": {"cohort"},
    "distributed": {"evaluate"},
}
# The one arrow upwards: Case.from_arrays is a door for callers, and loads what is behind it when it is opened.
DOORS = {("case", "assembly"), ("case", "protocol")}
# A lazy import of torch inside a function is the GPU path of gamma; dicom traces contours with contourpy.
LAZY_EXCEPTIONS = {("metrics", "torch")}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


def service_modules() -> list[Path]:
    return sorted(SERVICE.rglob("*.py"))


def room_of(path: Path, package: Path = PACKAGE) -> str:
    return path.relative_to(package).with_suffix("").parts[0]


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """(dotted module, at top level) of every import in the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = set(map(id, tree.body))
    found: list[tuple[str, bool]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide arrows"
            names = [
                f"{node.module}.{a.name}" if node.module in {"vmat_rt", "vmat_rt_service"} else str(node.module)
                for a in node.names
            ]
            found += [(name, id(node) in top) for name in names]
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    assert room in LEVELS, f"the room {room} is not in docs/architecture.md"
    for name, at_top in imports_of(path):
        if not name.startswith("vmat_rt."):
            continue
        other = name.split(".")[1]
        if other in {room, "__version__"} or ((room, other) in DOORS and not at_top):
            continue
        assert LEVELS[other] <= LEVELS[room], f"{path.name} imports {name} upwards"
        assert not (room in SIBLINGS and other in SIBLINGS), f"{path.name} imports its sibling room {other}"


@pytest.mark.parametrize("path", service_modules(), ids=lambda p: str(p.relative_to(SERVICE)))
def test_imports_of_the_service_point_down(path: Path) -> None:
    room = room_of(path, SERVICE)
    if room == "__init__":
        return
    assert room in SERVICE_LEVELS, f"the service's room {room} is not in docs/architecture.md"
    for name, _ in imports_of(path):
        package, _, rest = name.partition(".")
        other = rest.split(".")[0]
        if package != "vmat_rt_service" or other in {room, ""}:
            continue
        assert SERVICE_LEVELS[other] <= SERVICE_LEVELS[room], f"{path.name} imports {name} upwards"
        both = room in SERVICE_SIBLINGS and other in SERVICE_SIBLINGS
        assert not both, f"{path.name} imports its sibling room {other}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_outside_packages_stay_in_their_rooms(path: Path) -> None:
    room = room_of(path)
    for name, at_top in imports_of(path):
        package = name.split(".")[0]
        if package in HOMES and room not in HOMES[package]:
            assert not at_top, f"{path.name} imports {package} at the top"
            assert (room, package) in LAZY_EXCEPTIONS, f"{package} does not belong in {room}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_commands_know_the_service_and_only_when_used(path: Path) -> None:
    for name, at_top in imports_of(path):
        if name.split(".")[0] == "vmat_rt_service":
            assert room_of(path) == "commands", f"{path.name} imports the service, which stands above it"
            assert not at_top, f"{path.name} imports the service at the top"


@pytest.mark.parametrize("path", service_modules(), ids=lambda p: str(p.relative_to(SERVICE)))
def test_the_service_stands_above_the_main_line_and_below_the_commands(path: Path) -> None:
    for name, at_top in imports_of(path):
        package, _, rest = name.partition(".")
        assert name.split(".")[:2] not in (["vmat_rt", "commands"], ["vmat_rt", "cli"]), f"{path.name} imports {name}"
        if (package, rest.split(".")[0]) == ("vmat_rt", "study") or package in {"torch", "lightgbm"}:
            assert not at_top, f"{path.name} imports {name} at the top: only a worker at work may load it"


def test_the_supervisor_loads_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "import vmat_rt_service.supervisor\n"
        "heavy = {'torch', 'numpy', 'pydicom', 'SimpleITK', 'scipy', 'lightgbm', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


@pytest.mark.parametrize("path", modules() + service_modules(), ids=lambda p: "/".join(p.parts[-2:]))
def test_modules_are_small_and_documented(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300, "past 300 lines a concept is missing"
    assert ast.get_docstring(ast.parse(text)), "a module says what it is for"
    assert not re.search(r"(?i)\b(utils|helpers|manager)\b", path.stem)


@pytest.mark.parametrize("path", modules() + service_modules(), ids=lambda p: "/".join(p.parts[-2:]))
def test_functions_fit_a_screen(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"


def test_help_does_not_import_heavy_packages() -> None:
    program = (
        "import sys; sys.argv = ['vmat-rt', '--help']\n"
        "from vmat_rt.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "heavy = {'torch', 'numpy', 'pydicom', 'SimpleITK', 'scipy', 'lightgbm', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_every_room_stands_in_the_architecture_page() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {room_of(path) for path in modules()} - {"__init__"}
    absent = {room for room in rooms if f"`{room}" not in page}
    assert not absent, f"docs/architecture.md does not mention {absent}"
    absent = {room for room in SERVICE_LEVELS if not re.search(rf"\b{room}\b", page)}
    assert not absent, f"docs/architecture.md does not mention {absent} of the service"


@pytest.mark.parametrize("folder", sorted({p.parent for p in modules() + service_modules()}), ids=lambda p: p.name)
def test_a_floor_holds_less_than_twenty_modules(folder: Path) -> None:
    assert len(list(folder.glob("*.py"))) <= 20, "a room is missing"
