"""What deploys the service, checked by the programs that will read it and against the code it starts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
import yaml
from click.testing import CliRunner

from tests.dicom_phantom import write_study
from tests.external import REPOSITORY, program
from tests.patience import PATIENCE_SECONDS, answered, wait_for
from tests.ports import free_port
from vmat_rt.cli import main
from vmat_rt_service.config import ServiceConfig, load_config
from vmat_rt_service.network.companion import Listener, make_companions
from vmat_rt_service.web.access import TOKEN_VARIABLE

SERVICE = REPOSITORY / "service"
UNIT = SERVICE / "vmat-rt-watch.service"
COMPOSE = yaml.safe_load((SERVICE / "compose.yaml").read_text())
DOCKERFILE = (SERVICE / "Dockerfile").read_text()
DEPLOY = (REPOSITORY / "docs" / "deploy.md").read_text()


# ---- systemd


def unit_values() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def unit_here(tmp_path: Path) -> Path:
    """The unit with a program that exists on this machine, which is all that systemd's checks ask of the path."""
    copied = tmp_path / UNIT.name
    copied.write_text(UNIT.read_text().replace("/opt/vmat-rt/bin/vmat-rt", "/bin/true"))
    return copied


def test_systemd_accepts_the_unit(unit_here: Path) -> None:
    run = subprocess.run([program("systemd-analyze"), "verify", unit_here], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stderr == "", "not a single complaint"


def test_systemd_finds_the_unit_hardened(unit_here: Path) -> None:
    """Its own scale goes from 0 (best) to 10; a plain unit stands at 9.6."""
    command = [program("systemd-analyze"), "security", "--offline=yes", "--threshold=20", unit_here]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout.splitlines()[-1:]


def test_the_unit_gives_a_job_time_and_memory_to_end() -> None:
    values, defaults = unit_values(), ServiceConfig.model_fields
    assert int(values["TimeoutStopSec"][0]) > defaults["job_timeout_seconds"].default
    assert float(values["MemoryMax"][0].removesuffix("G")) > defaults["job_memory_gb"].default * 1e9 / 2**30
    assert values["KillMode"] == ["mixed"], "SIGTERM to the service only: it lets its workers finish"
    assert values["OOMPolicy"] == ["continue"], "a worker that dies does not take the service along"
    assert values["User"] == ["vmat-rt"]
    assert values["Restart"] == ["on-failure"]


def test_the_units_command_is_one_that_exists() -> None:
    _, command, option, _ = unit_values()["ExecStart"][0].split()
    shown = CliRunner().invoke(main, [command, "--help"])
    assert shown.exit_code == 0
    assert option in shown.output


# ---- container


def test_the_image_runs_as_nobody_special_and_reports_its_health() -> None:
    user = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    assert user
    assert all(int(number) > 0 for pair in user for number in pair)
    assert DOCKERFILE.index("USER ") < DOCKERFILE.index("ENTRYPOINT")
    assert "vmat_rt_service.web.probe" in DOCKERFILE
    assert (SERVICE / "vmat_rt_service" / "web" / "probe.py").is_file()


def test_the_image_is_built_from_what_is_here() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (installed,) = re.findall(r"^RUN pip install -c constraints\.txt \"\.\[(.+)\]\"$", DOCKERFILE, re.MULTILINE)
    assert set(installed.split(",")) == {"network", "service"} <= set(extras)
    assert "pip install -c constraints.txt torch " in DOCKERFILE
    assert re.search(r"^torch==", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    ignored = (SERVICE / "Dockerfile.dockerignore").read_text()
    for source in copied:
        assert (REPOSITORY / source).exists()
        assert f"!{source}" in ignored, f"{source} would not reach the build"
    assert re.search(r"FROM python:3\.1[1-9]", DOCKERFILE)


def test_compose_mounts_files_that_exist_on_volumes_that_are_named() -> None:
    for service in COMPOSE["services"].values():
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (SERVICE / source).is_file()
                assert mount.endswith(":ro")
            else:
                assert source in COMPOSE["volumes"]


def test_compose_keeps_the_watcher_in() -> None:
    watch = COMPOSE["services"]["watch"]
    assert watch["read_only"] is True
    assert watch["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in watch["security_opt"]
    assert all(port.startswith("127.0.0.1:") for port in watch["ports"])
    assert watch["environment"][TOKEN_VARIABLE].startswith(f"${{{TOKEN_VARIABLE}:?"), "no start without a token"
    minutes = int(watch["stop_grace_period"].removesuffix("m"))
    assert minutes * 60 > ServiceConfig.model_fields["job_timeout_seconds"].default


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_compose_publishes_to_this_machine_only(service: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in COMPOSE["services"][service]["ports"])


def test_composes_node_is_open_to_named_callers_only() -> None:
    (listener, *_) = make_companions(load_config(SERVICE / "compose" / "service.yaml"))
    assert isinstance(listener, Listener)


def test_composes_configurations_meet() -> None:
    """The watcher's node, its destination and Orthanc's modality are each other's."""
    config = load_config(SERVICE / "compose" / "service.yaml")
    mounted = {mount.split(":")[1] for mount in COMPOSE["services"]["watch"]["volumes"]}
    assert {str(config.inbox), str(config.outbox), str(config.state)} <= mounted
    orthanc = json.loads((SERVICE / "compose" / "orthanc.json").read_text())
    assert config.listen is not None
    title, host, port = orthanc["DicomModalities"]["vmat-rt"]
    assert (title, host, port) == (config.listen.ae_title, "watch", config.listen.port)
    assert config.listen.allowed_callers == (orthanc["DicomAet"],)
    (destination,) = config.destinations
    assert (destination.ae_title, destination.port) == (orthanc["DicomAet"], orthanc["DicomPort"])
    assert destination.host in COMPOSE["services"]
    assert f'"{title}"' in (SERVICE / "compose" / "forward.lua").read_text()


# ---- Orthanc itself, with the files of compose


class Orthanc:
    """A real Orthanc on free ports, forwarding to a real storescp that stands for the watcher."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.received = root / "received"
        self.received.mkdir()
        self.http, self.dicom, watcher = free_port(), free_port(), free_port()
        settings = json.loads((SERVICE / "compose" / "orthanc.json").read_text())
        settings |= {
            "StorageDirectory": str(root / "db"), "IndexDirectory": str(root / "db"), "HttpPort": self.http,
            "DicomPort": self.dicom, "LuaScripts": [str(SERVICE / "compose" / "forward.lua")],
        }  # fmt: skip
        settings["DicomModalities"]["vmat-rt"][1:] = ["127.0.0.1", watcher]
        (root / "orthanc.json").write_text(json.dumps(settings))
        self.processes = [
            subprocess.Popen([program("storescp"), "--aetitle", "VMATRT", "-od", str(self.received), str(watcher)]),
            subprocess.Popen(
                [program("Orthanc"), str(root / "orthanc.json")],
                env={"ORTHANC_PASSWORD": "secret", "PATH": "/usr/bin:/bin"},
                stderr=(root / "orthanc.log").open("wb"),
            ),
        ]

    def get(self, path: str, password: str = "secret") -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}")
        request.add_header("Authorization", "Basic " + b64encode(f"vmat-rt:{password}".encode()).decode())
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)

    def store(self, caller: str, *files: Path) -> None:
        command = [
            program("storescu"),
            "-aet",
            caller,
            "-aec",
            "ORTHANC",
            "127.0.0.1",
            str(self.dicom),
            *map(str, files),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_SECONDS)

    def forwarded(self) -> set[str]:
        return {str(pydicom.dcmread(path).SOPInstanceUID) for path in self.received.iterdir()}

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    running = Orthanc(tmp_path)
    try:
        wait_for(answered(lambda: running.get("/system")["DicomAet"] == "ORTHANC"), every_seconds=0.1)
        yield running
    finally:
        running.stop()


def test_orthanc_forwards_a_study_once_and_never_sends_results_back(orthanc: Orthanc, tmp_path: Path) -> None:
    write_study(tmp_path / "study", seed="orthanc", dose=True)
    files = {path: pydicom.dcmread(path, stop_before_pixels=True) for path in (tmp_path / "study").rglob("*.dcm")}
    wanted = {str(d.SOPInstanceUID) for d in files.values() if d.Modality in {"CT", "RTSTRUCT", "RTPLAN"}}
    orthanc.store("SCANNER", *files)
    wait_for(answered(lambda: orthanc.forwarded() == wanted), every_seconds=0.1)
    assert len(orthanc.get("/instances")) == len(files)
    shutil.rmtree(orthanc.received)
    orthanc.received.mkdir()
    orthanc.store("VMATRT", *(path for path, d in files.items() if d.Modality != "CT"))
    orthanc.store("SCANNER", next(path for path, d in files.items() if d.Modality == "RTSTRUCT"))
    wait_for(answered(lambda: len(orthanc.forwarded()) == 1), every_seconds=0.1)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        orthanc.get("/instances", password="wrong")


# ---- the words


def test_the_guide_names_commands_keys_and_files_that_exist() -> None:
    for name in re.findall(r"vmat-rt ([a-z]+)", DEPLOY):
        if name in {"watcher", "service"}:
            continue
        assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0, f"vmat-rt {name}"
    for path in re.findall(r"\]\(([^)#]+)", DEPLOY):
        assert (REPOSITORY / "docs" / path).exists(), path
    for block in re.findall(r"```yaml\n(.*?)```", DEPLOY, re.DOTALL):
        known = set(ServiceConfig.model_fields)
        assert set(yaml.safe_load(block)) <= known, block
