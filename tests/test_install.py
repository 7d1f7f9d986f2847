"""What a user gets from `pip install vmat-rt`: the wheel in a clean environment, used in an empty folder."""

from __future__ import annotations

import email
import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest

from vmat_rt.system.extras import EXTRAS

ROOT = Path(__file__).resolve().parent.parent
COHORT = ROOT / "sample_data" / "prostate_cohort"
EXTRA_PACKAGES = sorted({package for packages in EXTRAS.values() for package in packages})

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Installation:
    """The environment's programs and the empty folder to use them in; no checkout is on its path."""

    bin: Path
    folder: Path

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment["PATH"] = f"{self.bin}{os.pathsep}{environment['PATH']}"
        program = [self.bin / command[0], *command[1:]]
        return subprocess.run(
            program,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def python(self, program: str) -> str:
        run = self.run("python", "-c", program)
        assert run.returncode == 0, run.stderr
        return run.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, ROOT], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (found,) = distributions.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """`pip install vmat-rt`, with the tested versions and nothing else."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=True)
    installation = Installation(home / "bin", tmp_path_factory.mktemp("empty"))
    run = installation.run("python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel)
    assert run.returncode == 0, run.stderr
    return installation


@pytest.fixture(scope="module")
def demo(base: Installation) -> Path:
    """The folder of the results of `vmat-rt demo`."""
    run = base.run("vmat-rt", "demo")
    assert run.returncode == 0, run.stderr
    (folder,) = (base.folder / "demo" / "out").iterdir()
    assert f"Open demo/out/{folder.name}/report.html in a browser." in run.stdout
    return folder


# ---- the files to publish


def test_both_distributions_pass_the_index_s_check(distributions: Path) -> None:
    files = sorted(distributions.iterdir())
    assert len(files) == 2
    run = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_the_metadata_say_who_and_where(metadata: Message) -> None:
    assert metadata["Author"] == "vmat-rt contributors"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "RTDOSE" in metadata["Keywords"]
    assert any("Medical Science" in value for value in metadata.get_all("Classifier", []))
    urls = [value.split(", ")[1] for value in metadata.get_all("Project-URL", [])]
    assert len(urls) >= 4
    assert all(url.startswith("https://") for url in urls)


def test_links_of_the_readme_are_whole(metadata: Message) -> None:
    text = str(metadata.get_payload())
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert targets
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert all(target.startswith("https://raw.githubusercontent.com/") for target in pictures)
    here = [target.partition("/main/")[2].partition("#")[0] for target in targets if "/vmat-rt/main/" in target]
    here += [target.partition("/blob/main/")[2].partition("#")[0] for target in targets if "/blob/main/" in target]
    assert all((ROOT / path).exists() for path in here)


def test_torch_has_a_range_and_the_tested_version_is_pinned_apart(metadata: Message) -> None:
    needs = [need for need in metadata.get_all("Requires-Dist", []) if need.startswith("torch")]
    assert {need.partition(";")[0] for need in needs} == {"torch<3,>=2.6"}
    assert all("; extra == " in need for need in needs), "the base does without"
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert re.search(r"^torch==2\.\d+\.\d+$", pinned, re.MULTILINE)
    assert "--constraint constraints.txt" in (ROOT / "Makefile").read_text(encoding="utf-8")


# ---- the base


def test_nothing_of_an_extra_is_installed(base: Installation) -> None:
    program = f"import importlib.util as u; print([p for p in {EXTRA_PACKAGES!r} if u.find_spec(p)])"
    assert base.python(program).strip() == "[]"
    assert base.python("import vmat_rt; print(vmat_rt.__file__)").startswith(str(base.bin.parent))


def test_help_lists_the_commands(base: Installation) -> None:
    run = base.run("vmat-rt", "--help")
    assert run.returncode == 0
    assert all(f"\n  {name} " in run.stdout for name in ("demo", "predict", "dvh", "gamma", "watch", "train"))


def test_the_demo_predicts_with_the_geometric_model_and_the_report_says_so(demo: Path) -> None:
    report = json.loads((demo / "report.json").read_text(encoding="utf-8"))
    assert report["model"]["kind"] == "geometric"
    (problem,) = (p for p in report["problems"] if p["code"] == "NETWORK_NOT_INSTALLED")
    assert problem["severity"] == "warning"
    assert "needs torch and safetensors" in problem["message"]
    page = (demo / "report.html").read_text(encoding="utf-8")
    assert "the network head_neck needs torch and safetensors" in page
    assert "vmat-rt[network]" in page


@pytest.mark.parametrize("command", ["predict", "inspect", "dvh", "gamma", "models"])
@pytest.mark.usefixtures("demo")
def test_the_example_in_the_help_works_after_the_demo(base: Installation, command: str) -> None:
    text = " ".join(base.run("vmat-rt", command, "--help").stdout.split("Example: ")[1].split("\n\n")[0].split())
    assert text.startswith(f"vmat-rt {command}")
    run = base.run("python", "-c", f"import os, sys; sys.exit(os.waitstatus_to_exitcode(os.system({text!r})))")
    assert run.returncode == 0, run.stderr


def test_a_doctor_finds_the_machine_fit_and_names_what_is_not_there(base: Installation) -> None:
    run = base.run("vmat-rt", "doctor", "--json")
    assert run.returncode == 0, run.stdout
    checks = json.loads(run.stdout)["checks"]
    remedies = [check["remedy"] for check in checks if check["status"] == "warn" and check["name"] == "device"]
    assert remedies == ["Run pip install 'vmat-rt[network]' for networks."]


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("train", ("train", "baseline_mse_cpu", "--cohort", "c", "--out", "o")),
        ("cohort", ("cohort", "restore", "--cohort", "c")),
        ("cohort", ("evaluate", "prostate_geometric", "--cohort", "c", "--out", "o")),
        ("service", ("watch", "demo", "--out", "o")),
        ("network", ("predict", "demo/study", "--out", "o", "--model", "head_neck")),
        ("network", ("gamma", "demo/study/RTDOSE.dcm", "demo/study/RTDOSE.dcm", "--device", "cuda")),
    ],
)
@pytest.mark.usefixtures("demo")
def test_what_is_not_there_is_a_sentence(base: Installation, extra: str, arguments: tuple[str, ...]) -> None:
    run = base.run("vmat-rt", *arguments)
    assert run.returncode == 2
    assert f"pip install 'vmat-rt[{extra}]'" in run.stderr
    assert "Traceback" not in run.stderr
    assert not (base.folder / "o").exists()


# ---- what the wheel carries


def test_the_shipped_cohort_is_in_the_wheel_whole(base: Installation) -> None:
    found = Path(base.python("from vmat_rt.system.samples import *; print(sample(COHORT))").strip())
    assert base.bin.parent in found.parents
    names = [str(path.relative_to(COHORT)) for path in COHORT.rglob("*") if path.is_file()]
    same, _, _ = filecmp.cmpfiles(COHORT, found, names, shallow=False)
    assert sorted(same) == sorted(names)
    assert len(names) == 121


def test_the_service_comes_along_with_its_pages(base: Installation) -> None:
    program = (
        "import vmat_rt_service.supervisor, vmat_rt_service.web.page\n"
        "from importlib.resources import files\n"
        "print(*sorted(path.name for path in (files('vmat_rt_service') / 'templates').iterdir()))"
    )
    expected = sorted(path.name for path in (ROOT / "service" / "vmat_rt_service" / "templates").iterdir())
    assert base.python(program).split() == expected


# ---- one extra more; last, as it adds to the environment


@pytest.mark.usefixtures("demo")
def test_the_watcher_works_with_its_extra_alone(base: Installation, wheel: Path) -> None:
    wanted = f"{wheel}[service]"
    run = base.run("python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wanted)
    assert run.returncode == 0, run.stderr
    shutil.copytree(base.folder / "demo" / "study", base.folder / "inbox" / "study")
    run = base.run("vmat-rt", "watch", "inbox", "--out", "outbox", "--once")
    assert run.returncode == 0, run.stderr
    (report,) = (base.folder / "outbox").glob("case-*/report.json")
    problems = json.loads(report.read_text(encoding="utf-8"))["problems"]
    assert "NETWORK_NOT_INSTALLED" in {problem["code"] for problem in problems}
