"""Extras: what they bring agrees with pyproject.toml, and one that is missing is a sentence with a pip line."""

from __future__ import annotations

import ast
import json
import pickle
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest

from vmat_rt.cli import _COMMANDS
from vmat_rt.errors import ConfigError
from vmat_rt.system import extras
from vmat_rt.system.extras import EXTRAS, MissingExtraError

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
STUDY = ROOT / "sample_data" / "head_neck_openkbp"
DOSE = STUDY / "RTDOSE.dcm"
PACKAGES = {package for packages in EXTRAS.values() for package in packages}
IMPORTED_AS = {"fpdf": "fpdf2", "yaml": "pyyaml", "gdcm": "python-gdcm"}
UNIMPORTED = {"pylibjpeg", "pylibjpeg-openjpeg", "python-gdcm", "tensorboard", "dask"}
"""Decoders that pydicom finds by itself; torch and distributed import the others."""
ROOMS_OF_EXTRAS = {"nn", "train", "cohort", "curation", "evaluate"}


def names(requirements: Sequence[str]) -> set[str]:
    """Distributions by name; an extra of vmat-rt itself is opened."""
    found: set[str] = set()
    for requirement in requirements:
        name, inner = re.match(r"([\w.-]+)(?:\[([\w,-]+)\])?", requirement).groups()  # type: ignore[union-attr]
        if name == "vmat-rt":
            for extra in inner.split(","):
                found |= names(PROJECT["optional-dependencies"][extra])
        else:
            found.add(name.lower().replace("_", "-"))
    return found


def distribution(module: str) -> str:
    return IMPORTED_AS.get(module, module.lower().replace("_", "-"))


def imports() -> Iterator[str]:
    """Top-level names of what the package and the service import from others."""
    own = {"vmat_rt", "vmat_rt_service", *sys.stdlib_module_names}
    for path in [*(ROOT / "vmat_rt").rglob("*.py"), *(ROOT / "service").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                dotted = [str(node.module)]
            else:
                dotted = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            yield from (name.split(".")[0] for name in dotted if name.split(".")[0] not in own)


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_brings_what_pyproject_says(extra: str) -> None:
    assert {distribution(package) for package in EXTRAS[extra]} == names([f"vmat-rt[{extra}]"])


def test_everything_imported_is_a_dependency_and_every_dependency_is_imported() -> None:
    imported = {distribution(name) for name in imports()} - {"pydantic-core"}
    base, optional = names(PROJECT["dependencies"]), {distribution(package) for package in PACKAGES}
    assert imported <= base | optional
    assert base | optional <= imported | UNIMPORTED
    assert not base & optional


def test_all_brings_every_extra_and_the_referees() -> None:
    every = {name for extra in PROJECT["optional-dependencies"] for name in names([f"vmat-rt[{extra}]"])}
    apart = names(PROJECT["optional-dependencies"]["dev"]) | names(PROJECT["optional-dependencies"].get("docs", []))
    assert every - apart == set()
    assert {"pymedphys", "rt-utils", "torch", "lightgbm"} <= names(["vmat-rt[all]"]) <= apart


# ---- the sentence


ABSENT = """
import sys
from importlib.machinery import PathFinder
whole, absent = PathFinder.find_spec, {absent}
def find_spec(cls, name, *more):
    return None if name.split(".")[0] in absent else whole(name, *more)
PathFinder.find_spec = classmethod(find_spec)
"""


def without(packages: Collection[str], *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `vmat-rt` in a process in which these packages cannot be imported."""
    program = ABSENT.format(absent=set(packages)) + "from vmat_rt.cli import main; main(sys.argv[1:], 'vmat-rt')"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


COMMANDS: list[tuple[str, tuple[object, ...]]] = [
    ("train", ("train", "baseline_mse_cpu", "--cohort", "c", "--out", "o")),
    ("cohort", ("evaluate", "head_neck_geometric", "--cohort", "c", "--out", "o")),
    ("cohort", ("cohort", "add", STUDY, "--cohort", "c")),
    ("cohort", ("cohort", "openkbp", STUDY, "--cohort", "c")),
    ("cohort", ("cohort", "simulate", "--cohort", "c")),
    ("cohort", ("cohort", "restore", "--cohort", "c")),
    ("cohort", ("cohort", "export", "case", "--cohort", "c", "--dicom", "o")),
    ("cohort", ("cohort", "info", "c")),
    ("cohort", ("cohort", "split", "c")),
    ("network", ("predict", STUDY, "--out", "o", "--model", "head_neck")),
    ("network", ("predict", STUDY, "--out", "o", "--model", ROOT / "vmat_rt" / "bundles" / "prostate")),
    ("pdf", ("predict", STUDY, "--out", "o", "--model", "head_neck_geometric", "--pdf")),
    ("network", ("gamma", DOSE, DOSE, "--device", "cuda")),
]


@pytest.mark.parametrize(("extra", "arguments"), COMMANDS, ids=lambda value: " ".join(map(str, value))[:30])
def test_a_missing_extra_is_a_sentence_with_its_pip_line(
    extra: str, arguments: tuple[object, ...], tmp_path: Path
) -> None:
    run = without(PACKAGES, *arguments, "--json", cwd=tmp_path)
    assert run.returncode == 2, run.stderr
    assert "Traceback" not in run.stderr
    assert f"pip install 'vmat-rt[{extra}]'" in run.stderr
    (problem,) = json.loads(run.stdout)["problems"]
    assert problem["code"] == "EXTRA_MISSING"
    assert " needs " in problem["message"]
    assert problem["remedy"] == f"Run: pip install 'vmat-rt[{extra}]'"
    assert not list(tmp_path.iterdir())


def test_the_watcher_needs_its_extra(tmp_path: Path) -> None:
    run = without(EXTRAS["service"], "watch", tmp_path, "--out", tmp_path / "out")
    assert run.returncode == 2
    expected = "vmat-rt watch needs watchdog, pynetdicom and prometheus-client. Run: pip install 'vmat-rt[service]'"
    assert expected in run.stderr
    assert "Traceback" not in run.stderr


def test_a_cohort_to_draw_on_needs_its_extra(tmp_path: Path) -> None:
    run = without(PACKAGES, "report", STUDY, "--cohort", "c", "--out", tmp_path / "o")
    assert run.returncode == 2
    assert "--cohort needs zarr, fsspec and tqdm. Run: pip install 'vmat-rt[cohort]'" in run.stderr


def test_a_cluster_needs_its_extra(tmp_path: Path) -> None:
    arguments = ("evaluate", "head_neck_geometric", "--cohort", tmp_path, "--out", tmp_path / "o")
    run = without(["distributed"], *arguments, "--scheduler", "tcp://127.0.0.1:1")
    assert run.returncode == 2
    assert "--scheduler needs distributed. Run: pip install 'vmat-rt[cluster]'" in run.stderr


def test_the_base_imports_nothing_of_an_extra() -> None:
    modules = [path.relative_to(ROOT).with_suffix("").parts for path in (ROOT / "vmat_rt").rglob("*.py")]
    base = [".".join(parts).removesuffix(".__init__") for parts in modules if parts[1] not in ROOMS_OF_EXTRAS]
    of_extras = {name for name in base if name == "vmat_rt.baseline.fit" or name.startswith("vmat_rt.report.pdf.")}
    base = [*sorted(set(base) - of_extras), "vmat_rt.evaluate.report"]
    assert {"vmat_rt.study.predict", "vmat_rt.metrics.gamma.index", "vmat_rt.baseline.boosting"} <= set(base)
    program = ABSENT.format(absent=PACKAGES) + f"import importlib\nfor name in {base!r}: importlib.import_module(name)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]


def test_a_failed_import_is_told_by_the_smallest_extra() -> None:
    told = extras.as_missing_extra(ModuleNotFoundError("No module named 'zarr.abc'", name="zarr.abc"))
    assert told is not None
    assert str(told) == "This needs zarr: pip install 'vmat-rt[cohort]'"
    assert extras.as_missing_extra(ModuleNotFoundError("No module named 'vmat_rt.nonsense'", name="vmat_rt")) is None


def test_require_names_what_is_missing_and_survives_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    extras.require("network", "train")
    monkeypatch.setattr(extras, "_is_installed", lambda package: package != "torch")
    with pytest.raises(ConfigError) as raised:
        extras.require("network")
    assert str(raised.value) == "This needs torch: pip install 'vmat-rt[network]'"
    assert raised.value.exit_code == 2
    copied = pickle.loads(pickle.dumps(raised.value))
    assert isinstance(copied, MissingExtraError)
    assert str(copied) == str(raised.value)


@pytest.mark.parametrize("command", _COMMANDS)
def test_help_needs_no_extra(command: str) -> None:
    run = without(PACKAGES, command, "--help")
    assert run.returncode == 0, run.stderr
    assert f"Usage: vmat-rt {command}" in run.stdout
