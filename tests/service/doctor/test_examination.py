"""`vmat-rt doctor` on real folders, ports and DICOM nodes, sound and broken.

Covers vmat_rt.commands.doctor, vmat_rt_service.doctor.findings, vmat_rt_service.doctor.folders,
vmat_rt_service.doctor.machine, vmat_rt_service.doctor.models and vmat_rt_service.doctor.network.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification

from tests.external import program
from tests.ports import free_port
from tests.service.peers import answers
from vmat_rt.bundle import list_installed_bundles
from vmat_rt.commands.doctor import command
from vmat_rt_service.config import ServiceConfig, load_config
from vmat_rt_service.doctor import machine as doctor_machine
from vmat_rt_service.doctor.examination import examine, examine_machine
from vmat_rt_service.doctor.findings import Finding, collect_findings, find_worst
from vmat_rt_service.doctor.folders import check_folders
from vmat_rt_service.doctor.network import check_destinations, check_ports, is_service_running
from vmat_rt_service.lock import Lock
from vmat_rt_service.web.access import TOKEN_VARIABLE


def config_of(root: Path, **values: Any) -> ServiceConfig:
    for name in ("inbox", "outbox"):
        (root / name).mkdir(exist_ok=True)
    values = {"inbox": root / "inbox", "outbox": root / "outbox", "web": {"port": 0}, "min_free_gb": 0.001, **values}
    return load_config(None, **values)


def named(findings: Iterable[Finding], name: str, status: str) -> Finding:
    found = list(findings)
    matching = [finding for finding in found if finding.name == name and finding.status == status]
    assert matching, f"no {name} {status} among {found}"
    return matching[0]


def doctor(path: Path, *options: str) -> Result:
    return CliRunner().invoke(command, ["--config", str(path), *options])


def write_config(root: Path, **values: Any) -> Path:
    for name in ("inbox", "outbox"):
        (root / name).mkdir(exist_ok=True)
    path = root / "service.yaml"
    values = {"inbox": "inbox", "outbox": "outbox", "web": {"port": 0}, "min_free_gb": 0.001, **values}
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def port() -> int:
    return free_port()


def destination(port: int, **values: Any) -> dict[str, Any]:
    return {"name": "TPS", "host": "127.0.0.1", "port": port, "ae_title": "TPS", **values}


# ---- the command


def test_a_sound_site_passes_and_leaves_no_trace(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    result = doctor(path, "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert document["schema_version"] == 1
    assert document["status"] in {"ok", "warn"}
    names = {check["name"] for check in document["checks"]}
    assert names >= {"device", "compiler", "protocols", "models", "clock", "memory"}
    assert names >= {"inbox", "outbox", "state", "rename", "disk", "service", "status page"}
    assert all(check["remedy"] for check in document["checks"] if check["status"] != "ok")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["inbox", "outbox", "service.yaml"]


def test_a_broken_site_exits_3_and_says_what_to_do(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    shutil.rmtree(tmp_path / "inbox")
    result = doctor(path)
    assert result.exit_code == 3
    assert f"fail  inbox: there is no folder {tmp_path / 'inbox'}" in result.stdout
    assert "mount the share" in result.stdout


def test_a_wrong_configuration_is_no_finding_but_exit_2(tmp_path: Path) -> None:
    result = doctor(write_config(tmp_path, inbx="x"))
    assert result.exit_code == 2
    assert "inbx" in result.stderr


def test_without_a_configuration_it_looks_at_the_machine_only() -> None:
    names = {finding.name for finding in examine_machine()}
    assert names == {"extras", "device", "compiler", "protocols", "models", "clock"}


# ---- machine and models


def test_a_device_that_is_not_there_fails() -> None:
    finding = named(examine_machine(device="cuda:97"), "device", "fail")
    assert "cuda:97" in finding.detail


def test_a_changed_model_fails(tmp_path: Path) -> None:
    bundle = list_installed_bundles()[0]
    copied = tmp_path / "model"
    shutil.copytree(bundle.folder, copied)
    sound = list(examine_machine(protocol=bundle.manifest.protocol, model=str(copied)))
    assert find_worst(f for f in sound if f.name == "models") == "ok"
    name = next(iter(bundle.manifest.files))
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    damaged = named(examine_machine(model=str(copied)), "models", "fail")
    assert name in damaged.detail


def test_a_protocol_file_that_cannot_be_read_fails(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("schema_version: 1\nname: [")
    assert "site.yaml" in named(examine_machine(protocol=str(path)), "protocols", "fail").detail


def test_compiled_code_is_kept_where_the_site_says(tmp_path: Path) -> None:
    code = (
        "from vmat_rt_service.doctor.machine import check_compiler\n"
        "print([(finding.status, finding.detail) for finding in check_compiler()])"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert f"('ok', 'compiled code is kept in {tmp_path / 'kept'}" in run.stdout


def test_a_compiler_cache_that_cannot_be_written_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, who runs the tests in a container, every real folder can be written."""
    monkeypatch.setattr(doctor_machine.os, "access", lambda *_: False)
    assert "NUMBA_CACHE_DIR" in named(doctor_machine.check_compiler(), "compiler", "warn").remedy


def test_a_clock_before_the_installation_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine.time, "time", lambda: 86400.0 * 365)
    assert "1971-01-01" in named(doctor_machine.check_clock(), "clock", "fail").detail


def test_limits_beyond_the_memory_are_a_warning(tmp_path: Path) -> None:
    config = config_of(tmp_path, workers=64, job_memory_gb=1000.0)
    assert "64 workers" in named(doctor_machine.check_memory(config), "memory", "warn").detail
    assert 0.1 < doctor_machine.total_memory_bytes() / 1e9 < 1e5


def test_a_look_that_breaks_is_a_finding() -> None:
    def broken() -> Iterator[Finding]:
        raise OSError("the disk is gone")
        yield

    (finding,) = collect_findings("disk", broken)
    assert finding.status == "fail"
    assert "the disk is gone" in finding.detail


# ---- folders


def test_an_outbox_that_takes_no_files_fails(tmp_path: Path) -> None:
    config = config_of(tmp_path).model_copy(update={"outbox": Path("/proc")})
    named(check_folders(config), "outbox", "fail")


def test_folders_that_the_service_will_make_are_said(tmp_path: Path) -> None:
    config = config_of(tmp_path, archive=tmp_path / "archive" / "below", after_success="archive")
    assert "not there yet" in named(check_folders(config), "archive", "warn").detail
    assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize(("least", "status"), [(1e-9, "ok"), (1e9, "fail")])
def test_room_is_judged_by_the_services_own_limit(tmp_path: Path, least: float, status: str) -> None:
    named(check_folders(config_of(tmp_path, min_free_gb=least)), "disk", status)


def test_a_mount_inside_the_outbox_fails(tmp_path: Path) -> None:
    """A link to another file system stands for the mount: stat sees the same."""
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("one file system only")
    config = config_of(tmp_path)
    (config.outbox / ".publishing").symlink_to("/dev/shm")
    assert ".publishing" in named(check_folders(config), "rename", "fail").detail


# ---- network


def test_a_destination_that_answers_the_echo_is_ok(tmp_path: Path, port: int) -> None:
    node = subprocess.Popen([program("storescp"), "--aetitle", "TPS", str(port)], cwd=tmp_path)
    try:
        answers(port)
        config = config_of(tmp_path, destinations=[destination(port)])
        assert "answers a DICOM echo" in named(check_destinations(config), "destination TPS", "ok").detail
    finally:
        node.kill()
        node.wait()


def test_a_destination_that_does_not_know_us_says_what_to_register(tmp_path: Path) -> None:
    entity = AE(ae_title="TPS")
    entity.add_supported_context(Verification)
    entity.require_calling_aet = ["KNOWN"]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_ECHO, lambda event: 0)])
    try:
        port = server.socket.getsockname()[1]
        unknown = config_of(tmp_path, destinations=[destination(port)])
        finding = named(check_destinations(unknown), "destination TPS", "fail")
        assert "rejects" in finding.detail
        assert "Register VMATRT" in finding.remedy
        known = config_of(tmp_path, destinations=[destination(port)], listen={"ae_title": "KNOWN"})
        named(check_destinations(known), "destination TPS", "ok")
    finally:
        server.shutdown()


def test_a_closed_port_and_a_stranger_fail_without_hanging(tmp_path: Path, port: int) -> None:
    config = config_of(tmp_path, destinations=[destination(port)])
    assert "cannot be reached" in named(check_destinations(config), "destination TPS", "fail").detail
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = config_of(tmp_path, destinations=[destination(silent.getsockname()[1])])
        begun = time.monotonic()
        named(check_destinations(config), "destination TPS", "fail")
        assert time.monotonic() - begun < 20


def test_certificate_files_that_are_not_there_fail(tmp_path: Path) -> None:
    missing = {"certificate": tmp_path / "none.crt", "key": tmp_path / "none.key"}
    config = config_of(tmp_path, listen={"port": 0, "tls": missing})
    assert "listen.tls" in named(check_ports(config), "DICOM node", "fail").detail
    with socket.create_server(("127.0.0.1", 0)) as peer:
        config = config_of(tmp_path, destinations=[destination(peer.getsockname()[1], tls=missing)])
        assert "destinations.tls" in named(check_destinations(config), "destination TPS", "fail").detail


def test_a_page_open_to_others_without_a_token_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    config = config_of(tmp_path, web={"host": "0.0.0.0", "port": 0})
    assert "token" in named(check_ports(config), "status page", "fail").detail


def test_a_port_in_use_fails_unless_the_service_itself_runs(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        config = config_of(tmp_path, web={"port": holder.getsockname()[1]})
        named(check_ports(config), "status page", "fail")
        lock = Lock(config.state / "service.lock")
        lock.acquire()
        try:
            assert is_service_running(config)
            named(check_ports(config), "status page", "ok")
        finally:
            lock.release()
    assert not is_service_running(config)


def test_everything_is_looked_at_even_when_much_is_broken(tmp_path: Path) -> None:
    config = config_of(tmp_path, device="cuda:97", model=str(tmp_path / "no model"), destinations=[destination(1)])
    shutil.rmtree(config.inbox)
    failed = {finding.name for finding in examine(config) if finding.status == "fail"}
    assert failed >= {"device", "models", "inbox", "destination TPS"}
